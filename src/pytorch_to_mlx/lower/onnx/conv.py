"""Convolutions."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dims import as_dim, is_static
from pytorch_to_mlx.lower._channels import settings, spatial, weights
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._common import Weight, all_zero, array, cast, getitem, is_float
from pytorch_to_mlx.lower.onnx._windows import Windows, windows
from pytorch_to_mlx.ops.quantized import conv_of_codes

CONV = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
CONV_TRANSPOSE = {**CONV, "output_padding": 0}


def convolution(x: Value, w: Value, b: Value | None, given: Windows, group: int) -> Value:
    """``x`` [N, C, *space], ``w`` [O, C / group, *kernel] as ONNX has them."""
    n = x.ndim - 2
    last = w.transpose(0, *range(2, n + 2), 1)
    if not is_float(x):
        general = (given.stride, given.pads, given.dilation, group)
        y: Value = spatial(x, n, lambda v: call(conv_of_codes, v, last, *general))
        return y if b is None else y + b.reshape(-1, *(1,) * n)
    padding: Any = given.padding if given.symmetric else 0
    if not given.symmetric:
        x = call(mx.pad, x, ((0, 0), (0, 0), *given.pads))
    options = settings(
        CONV, stride=given.stride, padding=padding, dilation=given.dilation, groups=group
    )
    out: Value = spatial(x, n, lambda v: call(f"ops.conv{n}d", v, last, *weights(b), **options))
    return out


def _space(x: Value) -> int:
    if not 1 <= x.ndim - 2 <= 3:
        raise Unsupported(f"an input of rank {x.ndim}: one to three spatial axes are known")
    return x.ndim - 2


@lowers("Conv")
def conv(
    X: Value,
    W: Weight,
    B: Weight | None = None,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    """Conv(T X, T W, T? B, string auto_pad, ints dilations, int group=1, ints pads, ...) -> T Y"""
    _space(X)
    kernel = tuple(int(d) for d in W.dims[2:])
    given = windows(X.dims[2:], kernel, strides, dilations, pads, auto_pad)
    return convolution(X, W, B, given, group)


@lowers("ConvInteger")
def conv_integer_(
    x: Value,
    w: Value,
    x_zero_point: Value | None = None,
    w_zero_point: Any = None,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    """ConvInteger(T1 x, T2 w, T1? x_zero_point, T2? w_zero_point, ...) -> int32 y"""
    _space(x)
    wide, kernel = cast(x, "int32"), w
    if x_zero_point is not None:
        wide = wide - cast(x_zero_point, "int32")
    if w_zero_point is not None and not all_zero(w_zero_point):
        zero = cast(array(w_zero_point), "int32")
        kernel = cast(w, "int32") - (zero.reshape(-1, *(1,) * (w.ndim - 1)) if zero.ndim else zero)
    given = windows(
        x.dims[2:], tuple(int(d) for d in w.dims[2:]), strides, dilations, pads, auto_pad
    )
    return convolution(wide, kernel, None, given, group)


@lowers("ConvTranspose")
def conv_transpose(
    X: Value,
    W: Weight,
    B: Weight | None = None,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    output_padding: tuple[int, ...] | None = None,
    output_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    """ConvTranspose(T X, T W, T? B, ints output_padding, ints output_shape, ...) -> T Y"""
    n = _space(X)
    kernel = tuple(int(d) for d in W.dims[2:])
    plain = windows(X.dims[2:], kernel, strides, dilations, pads, "NOTSET")
    extra = tuple(output_padding or (0,) * n)
    cut = _cut(X.dims[2:], plain, extra, output_shape, auto_pad)
    even = all(is_static(a) and is_static(b) and a == b for a, b in cut)
    padding: Any = tuple(int(low) for low, _ in cut) if even else 0
    options = settings(
        CONV_TRANSPOSE,
        stride=plain.stride,
        padding=padding,
        dilation=plain.dilation,
        output_padding=extra,
        groups=group,
    )
    last = _transposed_weight(W, group)
    y: Value = spatial(
        X, n, lambda v: call(f"ops.conv_transpose{n}d", v, last, *weights(B), **options)
    )
    if even:
        return y
    if any((is_static(high) and int(high) < 0) or int(low) < 0 for low, high in cut):
        grow = tuple((max(-low, 0), max(-high, 0)) for low, high in cut)
        y = call(mx.pad, y, ((0, 0), (0, 0), *grow))
        cut = tuple((max(low, 0), max(high, 0)) for low, high in cut)
    key = [slice(None), slice(None)]
    for (low, high), size in zip(cut, y.dims[2:], strict=True):
        key.append(slice(low or None, as_dim(size - high) if high else None))
    return getitem(y, *key)


def _cut(
    sizes: tuple[Any, ...],
    w: Windows,
    extra: tuple[int, ...],
    output_shape: tuple[int, ...] | None,
    auto_pad: str,
) -> tuple[tuple[Any, Any], ...]:
    """What a full transposed convolution loses at each end of each axis."""
    if output_shape is None and auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        return w.pads if auto_pad != "VALID" else ((0, 0),) * len(w.kernel)
    cut = []
    for i, size in enumerate(sizes):
        full = w.stride[i] * (size - 1) + extra[i] + (w.kernel[i] - 1) * w.dilation[i] + 1
        wanted = output_shape[-len(sizes) :][i] if output_shape else size * w.stride[i]
        total = as_dim(full - wanted)
        if not is_static(total):
            raise Unsupported("an output shape for an input of dynamic size")
        if auto_pad == "SAME_UPPER":
            cut.append((total // 2, total - total // 2))
        else:
            cut.append((total - total // 2, total // 2))
    return tuple(cut)


def _transposed_weight(weight: Value, groups: int) -> Value:
    """ONNX's [I, O / groups, *kernel] as MLX's [O, *kernel, I / groups]."""
    n = weight.ndim - 2
    kernel = tuple(range(2, n + 2))
    if groups == 1:
        return weight.transpose(1, *kernel, 0)
    inputs, outputs, *sizes = weight.dims
    split = weight.reshape(groups, as_dim(inputs // groups), outputs, *sizes)
    order = (0, 2, *(k + 1 for k in kernel), 1)
    return split.transpose(*order).reshape(groups * outputs, *sizes, inputs // groups)
