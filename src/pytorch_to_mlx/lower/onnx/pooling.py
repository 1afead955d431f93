"""Pools."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dims import as_dim, product
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower._channels import spatial, to_first, to_last
from pytorch_to_mlx.lower._precision import in_single
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._common import call_as
from pytorch_to_mlx.lower.onnx._context import node
from pytorch_to_mlx.lower.onnx._windows import Windows, pooled, windows
from pytorch_to_mlx.ops.pooling_indices import max_pool_with_indices
from pytorch_to_mlx.ops.pooling_padded import avg_pool_padded, lp_pool_padded, max_pool_padded


def _pool(x: Value, given: Windows, ceil_mode: int, fn: Any, *args: Any, **options: Any) -> Value:
    dims = (x.dims[0], *pooled(x.dims[2:], given, bool(ceil_mode)), x.dims[1])
    extra = (given.kernel, given.stride, given.pads, given.dilation)
    ceil = {"ceil_mode": True} if ceil_mode else {}
    y = call_as(fn, [(dims, x.dtype)], to_last(x), *args, *extra, **ceil, **options)
    return to_first(y)


@lowers("MaxPool")
def max_pool(
    X: Value,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: tuple[int, ...] | None = None,
    kernel_shape: tuple[int, ...] = (),
    pads: tuple[int, ...] | None = None,
    storage_order: int = 0,
    strides: tuple[int, ...] | None = None,
) -> Any:
    """MaxPool(T X, string auto_pad, int ceil_mode=0, ints kernel_shape, ...) -> (T Y, I Indices)"""
    given = windows(X.dims[2:], kernel_shape, strides, dilations, pads, auto_pad)
    wanted = node().wanted
    if len(wanted) > 1 and wanted[1]:
        return _max_pool_places(X, given, bool(ceil_mode), storage_order)
    if given.symmetric:
        ceil = (True,) if ceil_mode else ()
        options = (given.kernel, given.stride, given.padding, given.dilation, *ceil)
        return spatial(X, X.ndim - 2, lambda v: call("ops.max_pool", v, *options))
    return _pool(X, given, ceil_mode, max_pool_padded)


def _max_pool_places(x: Value, given: Windows, ceil_mode: bool, storage_order: int) -> Any:
    """Values and their places in the whole flattened input."""
    if not given.symmetric:
        raise Unsupported("indices of a pool whose pads differ at the two ends")
    options = (given.kernel, given.stride, given.padding, given.dilation, ceil_mode)
    y, places = spatial(x, x.ndim - 2, lambda v: call(max_pool_with_indices, v, *options))
    space = x.dims[2:]
    if storage_order:
        flipped, scale = None, 1
        for axis, size in enumerate(space):
            after = product(space[axis + 1 :])
            part = call(mx.remainder, call(mx.floor_divide, places, after), size) * scale
            flipped = part if flipped is None else flipped + part
            scale = as_dim(scale * size)
        places = flipped
    rows = call(mx.arange, product(x.dims[:2]), dtype=DType("int64"))
    offsets = rows.reshape(*x.dims[:2], *(1,) * len(space)) * product(space)
    return y, places + offsets


@lowers("AveragePool")
def average_pool(
    X: Value,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: tuple[int, ...] | None = None,
    kernel_shape: tuple[int, ...] = (),
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    """AveragePool(T X, string auto_pad, int ceil_mode=0, int count_include_pad=0, ...) -> T Y"""
    given = windows(X.dims[2:], kernel_shape, strides, dilations, pads, auto_pad)
    plain = given.symmetric and not ceil_mode and all(d == 1 for d in given.dilation)
    if plain and (count_include_pad or not any(given.padding)):
        options = (given.kernel, given.stride, given.padding)
        out: Value = spatial(X, X.ndim - 2, lambda v: call("ops.avg_pool", v, *options))
        return out
    include = {"count_include_pad": True} if count_include_pad else {}
    return _pool(X, given, ceil_mode, avg_pool_padded, **include)


@lowers("LpPool")
def lp_pool(
    X: Value,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: tuple[int, ...] | None = None,
    kernel_shape: tuple[int, ...] = (),
    p: float = 2,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    """LpPool(T X, string auto_pad, ints kernel_shape, int p=2, ints pads, ints strides) -> T Y"""
    given = windows(X.dims[2:], kernel_shape, strides, dilations, pads, auto_pad)
    return _pool(X, given, ceil_mode, lp_pool_padded, int(p))


def _space_axes(x: Value) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@lowers("GlobalAveragePool")
def global_average_pool(X: Value) -> Value:
    """GlobalAveragePool(T X) -> T Y"""
    return in_single(X, lambda x: call(mx.mean, x, axis=_space_axes(X), keepdims=True))


@lowers("GlobalMaxPool")
def global_max_pool(X: Value) -> Value:
    """GlobalMaxPool(T X) -> T Y"""
    return call(mx.max, X, axis=_space_axes(X), keepdims=True)


@lowers("GlobalLpPool")
def global_lp_pool(X: Value, p: float = 2) -> Value:
    """GlobalLpPool(T X, int p=2) -> T Y"""
    total = call(mx.sum, call(mx.power, call(mx.abs, X), p), axis=_space_axes(X), keepdims=True)
    return call(mx.power, total, 1 / p)
