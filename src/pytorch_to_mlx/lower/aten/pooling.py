"""Max, average, adaptive, power-average and fractional pooling, and max unpooling."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dims import product
from pytorch_to_mlx.lower._channels import add_batch, per_axis, spatial, to_last
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten.creation import filled
from pytorch_to_mlx.ops.pooling import adaptive_avg_pool, adaptive_max_pool, avg_pool, max_pool
from pytorch_to_mlx.ops.pooling_indices import (
    adaptive_max_pool_with_indices,
    fractional_max_pool,
    max_pool_with_indices,
    max_unpool,
)


def _windows(axes: int, kernel_size: Any, stride: Any, *others: Any) -> tuple[Any, ...]:
    """Kernel, stride (the kernel where none is given) and further settings, one number an axis."""
    return tuple(per_axis(v, axes) for v in (kernel_size, stride or kernel_size, *others))


def _max_pool(
    axes: int, x: Value, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Value:
    window = _windows(axes, kernel_size, stride, padding, dilation)
    ceil = (True,) if ceil_mode else ()
    return spatial(x, axes, lambda v: call(max_pool, v, *window, *ceil))


def _max_pool_with_indices(
    axes: int, x: Value, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Value, Value]:
    window = _windows(axes, kernel_size, stride, padding, dilation)
    ceil = (True,) if ceil_mode else ()
    return spatial(x, axes, lambda v: call(max_pool_with_indices, v, *window, *ceil))


@lowers("aten.max_pool1d.default")
def max_pool1d(
    x: Value,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Value:
    """max_pool1d(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] padding=[0], int[1]
    dilation=[1], bool ceil_mode=False) -> Tensor
    """
    return _max_pool(1, x, kernel_size, stride, padding, dilation, ceil_mode)


@lowers("aten.max_pool2d.default")
def max_pool2d(
    x: Value,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Value:
    """max_pool2d(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, int[2]
    dilation=1, bool ceil_mode=False) -> Tensor
    """
    return _max_pool(2, x, kernel_size, stride, padding, dilation, ceil_mode)


@lowers("aten.max_pool3d.default")
def max_pool3d(
    x: Value,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Value:
    """max_pool3d(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0, int[3]
    dilation=1, bool ceil_mode=False) -> Tensor
    """
    return _max_pool(3, x, kernel_size, stride, padding, dilation, ceil_mode)


@lowers("aten.max_pool1d_with_indices.default")
def max_pool1d_with_indices(
    x: Value,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> tuple[Value, Value]:
    """max_pool1d_with_indices(Tensor self, int[1] kernel_size, int[1] stride=[], int[1]
    padding=[0], int[1] dilation=[1], bool ceil_mode=False) -> (Tensor, Tensor)
    """
    return _max_pool_with_indices(1, x, kernel_size, stride, padding, dilation, ceil_mode)


@lowers("aten.max_pool2d_with_indices.default")
def max_pool2d_with_indices(
    x: Value,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> tuple[Value, Value]:
    """max_pool2d_with_indices(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0,
    int[2] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)
    """
    return _max_pool_with_indices(2, x, kernel_size, stride, padding, dilation, ceil_mode)


@lowers("aten.max_pool2d_with_indices_backward.default")
def max_pool2d_with_indices_backward(
    grad_output: Value,
    x: Value,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    indices: Value,
) -> Value:
    """max_pool2d_with_indices_backward(Tensor grad_output, Tensor self, int[2] kernel_size,
    int[2] stride, int[2] padding, int[2] dilation, bool ceil_mode, Tensor indices) -> Tensor
    """
    *batch, height, width = x.dims
    rows = [v.reshape(*batch, product(v.dims[-2:])) for v in (grad_output, indices)]
    zeros = filled((*batch, height * width), 0, str(grad_output.dtype))
    summed = call("ops.scatter_add", zeros, len(batch), rows[1], rows[0])
    return summed.reshape(*batch, height, width)


@lowers("aten.max_pool3d_with_indices.default")
def max_pool3d_with_indices(
    x: Value,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> tuple[Value, Value]:
    """max_pool3d_with_indices(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0,
    int[3] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)
    """
    return _max_pool_with_indices(3, x, kernel_size, stride, padding, dilation, ceil_mode)


def _avg_pool(
    axes: int,
    x: Value,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Value:
    window = _windows(axes, kernel_size, stride, padding)
    given: dict[str, Any] = {}
    if ceil_mode:
        given["ceil_mode"] = True
    if not count_include_pad and any(window[2]):
        given["count_include_pad"] = False
    if divisor_override is not None:
        given["divisor_override"] = divisor_override
    return spatial(x, axes, lambda v: call(avg_pool, v, *window, **given))


@lowers("aten.avg_pool1d.default")
def avg_pool1d(
    x: Value,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Value:
    """avg_pool1d(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] padding=[0], bool
    ceil_mode=False, bool count_include_pad=True) -> Tensor
    """
    return _avg_pool(1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@lowers("aten.avg_pool2d.default")
def avg_pool2d(
    x: Value,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    """avg_pool2d(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, bool
    ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor
    """
    return _avg_pool(
        2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@lowers("aten.avg_pool3d.default")
def avg_pool3d(
    x: Value,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    """avg_pool3d(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0, bool
    ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor
    """
    return _avg_pool(
        3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _adaptive_avg_pool(axes: int, x: Value, output_size: Any) -> Value:
    sizes = per_axis(output_size, axes)
    if x.dtype == "float32" and all(s == 1 for s in sizes):
        # Global average: a mean, in whatever layout the array has.
        space = tuple(range(x.ndim - axes, x.ndim))
        return call(mx.mean, x, axis=space, keepdims=True)
    return spatial(x, axes, lambda v: call(adaptive_avg_pool, v, sizes))


@lowers("aten.adaptive_avg_pool1d.default")
def adaptive_avg_pool1d(x: Value, output_size: Any) -> Value:
    """adaptive_avg_pool1d(Tensor self, int[1] output_size) -> Tensor"""
    return _adaptive_avg_pool(1, x, output_size)


@lowers("aten.adaptive_avg_pool2d.default", "aten._adaptive_avg_pool2d.default")
def adaptive_avg_pool2d(x: Value, output_size: Any) -> Value:
    """adaptive_avg_pool2d(Tensor self, SymInt[2] output_size) -> Tensor
    _adaptive_avg_pool2d(Tensor self, SymInt[2] output_size) -> Tensor
    """
    return _adaptive_avg_pool(2, x, output_size)


@lowers("aten.adaptive_avg_pool3d.default", "aten._adaptive_avg_pool3d.default")
def adaptive_avg_pool3d(x: Value, output_size: Any) -> Value:
    """adaptive_avg_pool3d(Tensor self, SymInt[3] output_size) -> Tensor
    _adaptive_avg_pool3d(Tensor self, SymInt[3] output_size) -> Tensor
    """
    return _adaptive_avg_pool(3, x, output_size)


def _adaptive_max_pool(axes: int, x: Value, output_size: Any) -> tuple[Value, Value]:
    sizes = per_axis(output_size, axes)
    values = spatial(x, axes, lambda v: call(adaptive_max_pool, v, sizes))
    # The indices are a second computation, so that a model that does not read them stays simple.
    indices = spatial(x, axes, lambda v: call(adaptive_max_pool_with_indices, v, sizes)[1])
    return values, indices


@lowers("aten.adaptive_max_pool1d.default")
def adaptive_max_pool1d(x: Value, output_size: Any) -> tuple[Value, Value]:
    """adaptive_max_pool1d(Tensor self, int[1] output_size) -> (Tensor, Tensor)"""
    return _adaptive_max_pool(1, x, output_size)


@lowers("aten.adaptive_max_pool2d.default")
def adaptive_max_pool2d(x: Value, output_size: Any) -> tuple[Value, Value]:
    """adaptive_max_pool2d(Tensor self, int[2] output_size) -> (Tensor, Tensor)"""
    return _adaptive_max_pool(2, x, output_size)


@lowers("aten.adaptive_max_pool3d.default")
def adaptive_max_pool3d(x: Value, output_size: Any) -> tuple[Value, Value]:
    """adaptive_max_pool3d(Tensor self, int[3] output_size) -> (Tensor, Tensor)"""
    return _adaptive_max_pool(3, x, output_size)


def _max_unpool(axes: int, x: Value, indices: Value, output_size: Any) -> Value:
    batched = x.ndim == axes + 2
    places = to_last(indices if batched else add_batch(indices))
    return spatial(x, axes, lambda v: call(max_unpool, v, places, per_axis(output_size, axes)))


@lowers("aten.max_unpool2d.default")
def max_unpool2d(x: Value, indices: Value, output_size: Any) -> Value:
    """max_unpool2d(Tensor self, Tensor indices, SymInt[2] output_size) -> Tensor"""
    return _max_unpool(2, x, indices, output_size)


@lowers("aten.max_unpool3d.default")
def max_unpool3d(x: Value, indices: Value, output_size: Any, stride: Any, padding: Any) -> Value:
    """max_unpool3d(Tensor self, Tensor indices, SymInt[3] output_size, int[3] stride, int[3]
    padding) -> Tensor
    """
    return _max_unpool(3, x, indices, output_size)


def _fractional(
    axes: int, x: Value, kernel_size: Any, output_size: Any, random_samples: Value
) -> tuple[Value, Value]:
    sizes = per_axis(kernel_size, axes), per_axis(output_size, axes)
    return spatial(x, axes, lambda v: call(fractional_max_pool, v, *sizes, random_samples))


@lowers("aten.fractional_max_pool2d.default")
def fractional_max_pool2d(
    x: Value, kernel_size: Any, output_size: Any, random_samples: Value
) -> tuple[Value, Value]:
    """fractional_max_pool2d(Tensor self, int[2] kernel_size, int[2] output_size, Tensor
    random_samples) -> (Tensor, Tensor)
    """
    return _fractional(2, x, kernel_size, output_size, random_samples)


@lowers("aten.fractional_max_pool3d.default")
def fractional_max_pool3d(
    x: Value, kernel_size: Any, output_size: Any, random_samples: Value
) -> tuple[Value, Value]:
    """fractional_max_pool3d(Tensor self, int[3] kernel_size, int[3] output_size, Tensor
    random_samples) -> (Tensor, Tensor)
    """
    return _fractional(3, x, kernel_size, output_size, random_samples)
