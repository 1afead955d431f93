"""Convolutions and transposed convolutions in one to three dimensions."""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower._channels import per_axis, settings, spatial, weights
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten.padding import pad_widths
from pytorch_to_mlx.ops.conv import (
    conv_complex,
    conv_integer,
    conv_transpose_complex,
    conv_transpose_integer,
)

CONV = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
CONV_TRANSPOSE = {**CONV, "output_padding": 0}


def _conv(
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Value:
    """``weight`` is torch's [O, I/groups, *kernel]; MLX wants [O, *kernel, I/groups]."""
    n = weight.ndim - 2
    last = weight.transpose(0, *range(2, n + 2), 1)
    if not DType(str(x.dtype)).is_floating:
        general = per_axis(stride, n), _pairs(padding, n), per_axis(dilation, n), groups
        target = conv_complex if x.dtype == "complex64" else conv_integer
        y = spatial(x, n, lambda v: call(target, v, last, *general))
        return y if bias is None else y + bias.reshape(-1, *(1,) * n)
    given = settings(CONV, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return spatial(x, n, lambda v: call(f"ops.conv{n}d", v, last, *weights(bias), **given))


def _pairs(padding: Any, axes: int) -> tuple[tuple[Any, Any], ...]:
    return tuple((p, p) for p in per_axis(padding, axes))


def _same_padding(weight: Value, padding: str, dilation: Any) -> Any:
    """torch's ``"same"``: the odd one of an uneven total goes to the end."""
    n = weight.ndim - 2
    if padding == "valid":
        return 0
    totals = [d * (k - 1) for d, k in zip(per_axis(dilation, n), weight.dims[2:], strict=True)]
    if all(t % 2 == 0 for t in totals):
        return tuple(t // 2 for t in totals)
    return tuple((t // 2, t - t // 2) for t in totals)


def _conv_padded(
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: str,
    dilation: Any,
    groups: Any,
) -> Value:
    n = weight.ndim - 2
    amounts = _same_padding(weight, padding, dilation)
    if isinstance(amounts, tuple) and isinstance(amounts[0], tuple):
        x = pad_widths(x, ((0, 0),) * (x.ndim - n) + amounts)
        amounts = 0
    return _conv(x, weight, bias, stride, amounts, dilation, groups)


@lowers("aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default")
def conv(
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
) -> Value:
    """conv1d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=[1], SymInt[1]
        padding=[0], SymInt[1] dilation=[1], SymInt groups=1) -> Tensor
    conv2d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=[1, 1], SymInt[2]
        padding=[0, 0], SymInt[2] dilation=[1, 1], SymInt groups=1) -> Tensor
    conv3d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[3] stride=[1, 1, 1], SymInt[3]
        padding=[0, 0, 0], SymInt[3] dilation=[1, 1, 1], SymInt groups=1) -> Tensor
    """
    return _conv(x, weight, bias, stride, padding, dilation, groups)


@lowers("aten.conv1d.padding", "aten.conv2d.padding", "aten.conv3d.padding")
def conv_padding(
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: str = "valid",
    dilation: Any = 1,
    groups: Any = 1,
) -> Value:
    """conv1d.padding(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=[1], str
        padding="valid", SymInt[1] dilation=[1], SymInt groups=1) -> Tensor
    conv2d.padding(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=[1, 1], str
        padding="valid", SymInt[2] dilation=[1, 1], SymInt groups=1) -> Tensor
    conv3d.padding(Tensor input, Tensor weight, Tensor? bias=None, SymInt[3] stride=[1, 1, 1],
        str padding="valid", SymInt[3] dilation=[1, 1, 1], SymInt groups=1) -> Tensor
    """
    return _conv_padded(x, weight, bias, stride, padding, dilation, groups)


@lowers("aten._convolution_mode.default")
def _convolution_mode(
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: str,
    dilation: Any,
    groups: Any,
) -> Value:
    """_convolution_mode(Tensor input, Tensor weight, Tensor? bias, SymInt[] stride, str padding,
    SymInt[] dilation, SymInt groups) -> Tensor
    """
    return _conv_padded(x, weight, bias, stride, padding, dilation, groups)


def _transposed_weight(weight: Value, groups: int) -> Value:
    """torch's [I, O/groups, *kernel] as MLX's [O, *kernel, I/groups]."""
    n = weight.ndim - 2
    kernel = tuple(range(2, n + 2))
    if groups == 1:
        return weight.transpose(1, *kernel, 0)
    inputs, outputs, *sizes = weight.dims
    split = weight.reshape(groups, inputs // groups, outputs, *sizes)
    order = (0, 2, *(k + 1 for k in kernel), 1)
    return split.transpose(*order).reshape(groups * outputs, *sizes, inputs // groups)


def _conv_transpose(
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
) -> Value:
    n = weight.ndim - 2
    given = settings(
        CONV_TRANSPOSE,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
    )
    last = _transposed_weight(weight, groups)
    if not DType(str(x.dtype)).is_floating:
        general = tuple(per_axis(v, n) for v in (stride, padding, dilation, output_padding))
        whole = conv_transpose_complex if x.dtype == "complex64" else conv_transpose_integer
        y = spatial(x, n, lambda v: call(whole, v, last, *general, groups))
        return y if bias is None else y + bias.reshape(-1, *(1,) * n)
    target = f"ops.conv_transpose{n}d"
    return spatial(x, n, lambda v: call(target, v, last, *weights(bias), **given))


@lowers(
    "aten.conv_transpose1d.default", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input"
)
def conv_transpose(
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: Any = 1,
    dilation: Any = 1,
) -> Value:
    """conv_transpose1d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=[1],
        SymInt[1] padding=[0], SymInt[1] output_padding=[0], SymInt groups=1, SymInt[1]
        dilation=[1]) -> Tensor
    conv_transpose2d.input(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=[1,
        1], SymInt[2] padding=[0, 0], SymInt[2] output_padding=[0, 0], SymInt groups=1,
        SymInt[2] dilation=[1, 1]) -> Tensor
    conv_transpose3d.input(Tensor input, Tensor weight, Tensor? bias=None, SymInt[3] stride=[1,
        1, 1], SymInt[3] padding=[0, 0, 0], SymInt[3] output_padding=[0, 0, 0], SymInt groups=1,
        SymInt[3] dilation=[1, 1, 1]) -> Tensor
    """
    return _conv_transpose(x, weight, bias, stride, padding, output_padding, groups, dilation)


@lowers("aten.convolution.default", "aten.convolution_overrideable.default")
def convolution(
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: Any,
) -> Value:
    """convolution(Tensor input, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding,
        SymInt[] dilation, bool transposed, SymInt[] output_padding, SymInt groups) -> Tensor
    convolution_overrideable(Tensor input, Tensor weight, Tensor? bias, SymInt[] stride,
        SymInt[] padding, SymInt[] dilation, bool transposed, SymInt[] output_padding, SymInt
        groups) -> Tensor
    """
    if transposed:
        return _conv_transpose(x, weight, bias, stride, padding, output_padding, groups, dilation)
    return _conv(x, weight, bias, stride, padding, dilation, groups)


@lowers("aten._convolution.default", "aten._convolution.deprecated")
def _convolution(
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: Any,
    *flags: bool,
    **named_flags: bool,
) -> Value:
    """_convolution(Tensor input, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding,
        SymInt[] dilation, bool transposed, SymInt[] output_padding, SymInt groups, bool
        benchmark, bool deterministic, bool cudnn_enabled, bool allow_tf32) -> Tensor
    _convolution.deprecated(Tensor input, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[]
        padding, SymInt[] dilation, bool transposed, int[] output_padding, SymInt groups, bool
        benchmark, bool deterministic, bool cudnn_enabled) -> Tensor
    """
    return convolution(
        x, weight, bias, stride, padding, dilation, transposed, output_padding, groups
    )


@lowers("aten.slow_conv3d.default", "aten.thnn_conv2d.default")
def slow_conv(
    x: Value,
    weight: Value,
    kernel_size: Any,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
) -> Value:
    """slow_conv3d(Tensor self, Tensor weight, SymInt[3] kernel_size, Tensor? bias=None, SymInt[3]
        stride=[1, 1, 1], SymInt[3] padding=[0, 0, 0]) -> Tensor
    thnn_conv2d(Tensor self, Tensor weight, SymInt[2] kernel_size, Tensor? bias=None, SymInt[2]
        stride=[1, 1], SymInt[2] padding=[0, 0]) -> Tensor
    """
    return _conv(x, weight, bias, stride, padding, 1, 1)


@lowers("aten.slow_conv_dilated2d.default", "aten.slow_conv_dilated3d.default")
def slow_conv_dilated(
    x: Value,
    weight: Value,
    kernel_size: Any,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
) -> Value:
    """slow_conv_dilated2d(Tensor self, Tensor weight, SymInt[2] kernel_size, Tensor? bias=None,
        SymInt[2] stride=[1, 1], SymInt[2] padding=[0, 0], SymInt[2] dilation=[1, 1]) -> Tensor
    slow_conv_dilated3d(Tensor self, Tensor weight, SymInt[3] kernel_size, Tensor? bias=None,
        SymInt[3] stride=[1, 1, 1], SymInt[3] padding=[0, 0, 0], SymInt[3] dilation=[1, 1, 1])
        -> Tensor
    """
    return _conv(x, weight, bias, stride, padding, dilation, 1)


@lowers("aten.conv_depthwise3d.default", "aten._conv_depthwise2d.default")
def conv_depthwise(
    x: Value,
    weight: Value,
    kernel_size: Any,
    bias: Value | None,
    stride: Any,
    padding: Any,
    dilation: Any,
) -> Value:
    """conv_depthwise3d(Tensor self, Tensor weight, SymInt[3] kernel_size, Tensor? bias, SymInt[3]
        stride, SymInt[3] padding, SymInt[3] dilation) -> Tensor
    _conv_depthwise2d(Tensor self, Tensor weight, SymInt[2] kernel_size, Tensor? bias, SymInt[2]
        stride, SymInt[2] padding, SymInt[2] dilation) -> Tensor
    """
    return _conv(x, weight, bias, stride, padding, dilation, weight.dims[0])


@lowers("aten.conv_tbc.default")
def conv_tbc(x: Value, weight: Value, bias: Value, pad: int = 0) -> Value:
    """conv_tbc(Tensor self, Tensor weight, Tensor bias, int pad=0) -> Tensor"""
    # x is [time, batch, channels], weight [kernel, in, out].
    given = settings(CONV, padding=pad)
    out = call("ops.conv1d", x.transpose(1, 0, 2), weight.transpose(2, 0, 1), bias, **given)
    return out.transpose(1, 0, 2)
