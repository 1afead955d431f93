"""Cumulative sums, products and extremes with torch's dtypes and tie rules."""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.ops.reductions import widen_integers


def cumsum(x: mx.array, axis: int) -> mx.array:
    """``torch.cumsum``: integers and bools give int64; half types are summed in float32."""
    if x.ndim == 0:
        return widen_integers(x)
    if x.dtype in (mx.float16, mx.bfloat16):
        return mx.cumsum(x.astype(mx.float32), axis=axis).astype(x.dtype)
    return mx.cumsum(widen_integers(x), axis=axis)


def cumprod(x: mx.array, axis: int) -> mx.array:
    """``torch.cumprod``: integers and bools give int64; half types are multiplied in float32."""
    if x.ndim == 0:
        return widen_integers(x)
    if x.dtype in (mx.float16, mx.bfloat16):
        return mx.cumprod(x.astype(mx.float32), axis=axis).astype(x.dtype)
    return mx.cumprod(widen_integers(x), axis=axis)


def cummax(x: mx.array, axis: int) -> tuple[mx.array, mx.array]:
    """``torch.cummax``: running maximum and int64 index of its latest occurrence; NaN stays."""
    if x.ndim == 0:
        return x, mx.array(0, dtype=mx.int64)
    whole = x.astype(mx.uint8) if x.dtype == mx.bool_ else x
    values = mx.cummax(whole, axis=axis)
    return values.astype(x.dtype), latest_reached(whole, values, axis)


def cummin(x: mx.array, axis: int) -> tuple[mx.array, mx.array]:
    """``torch.cummin``: running minimum and int64 index of its latest occurrence; NaN stays."""
    if x.ndim == 0:
        return x, mx.array(0, dtype=mx.int64)
    whole = x.astype(mx.uint8) if x.dtype == mx.bool_ else x
    values = mx.cummin(whole, axis=axis)
    return values.astype(x.dtype), latest_reached(whole, values, axis)


def latest_reached(x: mx.array, running: mx.array, axis: int) -> mx.array:
    """int64 index of the latest element, up to each place, that equals the running extreme."""
    axis = axis % x.ndim
    shape = (1,) * axis + (x.shape[axis],) + (1,) * (x.ndim - 1 - axis)
    place = mx.arange(x.shape[axis], dtype=mx.int32).reshape(shape)
    reached = (x == running) | (x != x)
    return mx.cummax(mx.where(reached, place, 0), axis=axis).astype(mx.int64)


def logcumsumexp(x: mx.array, axis: int) -> mx.array:
    """``torch.logcumsumexp``."""
    if x.ndim == 0:
        return x
    if x.dtype in (mx.float16, mx.bfloat16):
        return mx.logcumsumexp(x.astype(mx.float32), axis=axis).astype(x.dtype)
    return mx.logcumsumexp(x, axis=axis)


def trapezoid(y: mx.array, x: mx.array | None = None, dx: float = 1.0, axis: int = -1) -> mx.array:
    """``torch.trapezoid``: area under ``y`` along ``axis``, at places ``x`` or steps ``dx``."""
    return mx.sum(trapezoid_pieces(y, x, dx, axis), axis=-1)


def cumulative_trapezoid(
    y: mx.array, x: mx.array | None = None, dx: float = 1.0, axis: int = -1
) -> mx.array:
    """``torch.cumulative_trapezoid``: running area, one element shorter along ``axis``."""
    pieces = trapezoid_pieces(y, x, dx, axis)
    return mx.moveaxis(cumsum(pieces, -1), -1, axis)


def trapezoid_pieces(y: mx.array, x: mx.array | None, dx: float, axis: int) -> mx.array:
    """Areas between neighbours, with ``axis`` moved last."""
    y = mx.moveaxis(y, axis, -1)
    both = y[..., 1:] + y[..., :-1]
    if x is None:
        return both * dx / 2
    x = x if x.ndim == 1 else mx.moveaxis(x, axis, -1)
    return both * (x[..., 1:] - x[..., :-1]) / 2
