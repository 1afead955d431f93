"""Inference rules of the layer-like functions of ``ops``, whose sizes involve floor divisions."""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph.dims import Dim, FloorDiv, as_dim, is_static
from pytorch_to_mlx.graph.infer import rule
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.graph.rules import broadcast


def _each(setting: Any, axes: int) -> tuple[Any, ...]:
    values = setting if isinstance(setting, tuple) else (setting,)
    return values * axes if len(values) == 1 else values


def _floor_div(a: Any, b: Any) -> Dim:
    return int(a) // int(b) if is_static(a) and is_static(b) else as_dim(FloorDiv(a, b))


def _both_sides(padding: Any) -> Any:
    return sum(padding) if isinstance(padding, tuple) else 2 * padding


@rule("ops.linear")
def _linear(x: Value, weight: Value, bias: Value | None = None) -> Any:
    return (*x.dims[:-1], weight.dims[0]), x.dtype


@rule("ops.embedding")
def _embedding(weight: Value, ids: Value) -> Any:
    return (*ids.dims, *weight.dims[1:]), weight.dtype


@rule("ops.conv1d", "ops.conv2d", "ops.conv3d")
def _conv(
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    n = x.ndim - 2
    settings = zip(
        x.dims[1:-1],
        weight.dims[1:-1],
        _each(stride, n),
        _each(padding, n),
        _each(dilation, n),
        strict=True,
    )
    sizes = [_floor_div(i + _both_sides(p) - d * (k - 1) - 1, s) + 1 for i, k, s, p, d in settings]
    return (x.dims[0], *sizes, weight.dims[0]), x.dtype


@rule("ops.conv_transpose1d", "ops.conv_transpose2d", "ops.conv_transpose3d")
def _conv_transpose(
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    n = x.ndim - 2
    settings = zip(
        x.dims[1:-1],
        weight.dims[1:-1],
        _each(stride, n),
        _each(padding, n),
        _each(output_padding, n),
        _each(dilation, n),
        strict=True,
    )
    sizes = [(i - 1) * s - 2 * p + d * (k - 1) + o + 1 for i, k, s, p, o, d in settings]
    return (x.dims[0], *(as_dim(v) for v in sizes), weight.dims[0]), x.dtype


@rule("ops.batch_norm", "ops.group_norm", "ops.instance_norm")
def _same(x: Value, *_: Any, **__: Any) -> Any:
    return x.dims, x.dtype


@rule("ops.zero_masked_rows")
def _zero_masked_rows(out: Value, mask: Value) -> Any:
    return broadcast(out.dims, (*mask.dims[:-1], 1)), out.dtype


@rule("nn.prelu")
def _prelu(x: Value, alpha: Value) -> Any:
    return broadcast(x.dims, alpha.dims), x.dtype
