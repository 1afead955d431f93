"""Pads."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dims import as_dim, is_static
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._common import Ints, axes_of, call_as, fresh, number
from pytorch_to_mlx.ops.rearrange import pad_at

MODES = ("constant", "reflect", "edge", "wrap")


@lowers("Pad", since=11)
def pad(
    data: Value,
    pads: Ints,
    constant_value: Any = None,
    axes: Ints | None = None,
    mode: str = "constant",
) -> Value:
    """Pad(T data, int64 pads, T? constant_value, Tind? axes, string mode="constant") -> T output"""
    if mode not in MODES:
        raise Unsupported(f"the padding mode {mode}")
    at = tuple(range(data.ndim)) if axes is None else axes
    count = len(pads) // 2
    pairs = list(zip(pads[:count], pads[count:], strict=True))
    value = 0 if constant_value is None else number(constant_value)
    if all(is_static(a) for a in at):
        moved = [(a, pair) for a, pair in zip(at, pairs, strict=True) if pair != (0, 0)]
        at, pairs = tuple(a for a, _ in moved), [pair for _, pair in moved]
    known = all(is_static(a) for a in at) and all(is_static(p) for pair in pairs for p in pair)
    if not known:
        return _pad_at(data, pairs, at, mode, value)
    widths = [(0, 0)] * data.ndim
    for axis, (low, high) in zip(axes_of(at, data.ndim), pairs, strict=True):
        widths[axis] = (int(low), int(high))
    if all(w == (0, 0) for w in widths):
        return data
    grows = all(w >= 0 for pair in widths for w in pair)
    if grows and mode == "constant":
        options = (
            {} if isinstance(value, (int, float)) and value == 0 else {"constant_values": value}
        )
        return call(mx.pad, data, tuple(widths), **options)
    if grows and mode == "edge":
        return call(mx.pad, data, tuple(widths), mode="edge")
    return _pad_at(data, pairs, at, mode, value)


def _pad_at(data: Value, pairs: list[Any], axes: tuple[Any, ...], mode: str, value: Any) -> Value:
    moving = not all(is_static(a) for a in axes)
    dims: list[Any] = [fresh() if moving else d for d in data.dims]
    if not moving:
        for axis, (low, high) in zip(axes_of(axes, data.ndim), pairs, strict=True):
            sure = is_static(low) and is_static(high)
            dims[axis] = as_dim(dims[axis] + low + high) if sure else fresh()
    extra: tuple[Any, ...] = () if mode == "constant" and _is_zero(value) else (mode,)
    extra = extra if _is_zero(value) else (mode, value)
    return call_as(pad_at, [(tuple(dims), data.dtype)], data, tuple(pairs), tuple(axes), *extra)


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == 0


@lowers("Pad")
def pad_2(
    data: Value,
    mode: str = "constant",
    pads: tuple[int, ...] = (),
    paddings: tuple[int, ...] = (),
    value: float = 0.0,
) -> Value:
    """Pad(T data, string mode="constant", ints pads, float value=0) -> T output"""
    from pytorch_to_mlx.lower.onnx._values import known

    constant = None if value == 0 else known(value, "float32")
    return pad(data, tuple(pads or paddings), constant, None, mode)
