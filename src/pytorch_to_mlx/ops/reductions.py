"""Reductions with torch's dtypes, empty cases and NaN rules."""

from __future__ import annotations

import mlx.core as mx


def sum_of(
    x: mx.array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> mx.array:
    """``torch.sum``: integers and bools give int64."""
    return mx.sum(widen_integers(x), axis=axis, keepdims=keepdims)


def prod_of(x: mx.array, axis: int | None = None, keepdims: bool = False) -> mx.array:
    """``torch.prod``: integers and bools give int64."""
    return mx.prod(widen_integers(x), axis=axis, keepdims=keepdims)


def mean_of(
    x: mx.array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> mx.array:
    """``torch.mean``: half types in float32, since MLX's own sum of them can overflow."""
    if x.dtype in (mx.float16, mx.bfloat16):
        return mx.mean(x.astype(mx.float32), axis=axis, keepdims=keepdims).astype(x.dtype)
    return mx.mean(x, axis=axis, keepdims=keepdims)


def widen_integers(x: mx.array) -> mx.array:
    """int64 for integers and bools, as torch's sums, products and cumulative sums have it."""
    return x if mx.issubdtype(x.dtype, mx.inexact) else x.astype(mx.int64)


def max_with_indices(x: mx.array, axis: int, keepdims: bool = False) -> tuple[mx.array, mx.array]:
    """``torch.max(x, dim)``: values and int64 indices of the first largest; NaN wins."""
    if x.ndim == 0:
        return x, mx.array(0, dtype=mx.int64)
    indices = argmax(x, axis, keepdims=True)
    values = mx.take_along_axis(x, indices, axis=axis)
    if keepdims:
        return values, indices
    return mx.squeeze(values, axis), mx.squeeze(indices, axis)


def min_with_indices(x: mx.array, axis: int, keepdims: bool = False) -> tuple[mx.array, mx.array]:
    """``torch.min(x, dim)``: values and int64 indices of the first smallest; NaN wins."""
    if x.ndim == 0:
        return x, mx.array(0, dtype=mx.int64)
    indices = argmin(x, axis, keepdims=True)
    values = mx.take_along_axis(x, indices, axis=axis)
    if keepdims:
        return values, indices
    return mx.squeeze(values, axis), mx.squeeze(indices, axis)


def argmax(x: mx.array, axis: int | None = None, keepdims: bool = False) -> mx.array:
    """``torch.argmax``: int64 index of the first largest element, or of the first NaN."""
    if mx.issubdtype(x.dtype, mx.floating):
        nans = mx.isnan(x)
        x = mx.where(nans, mx.array(mx.inf, dtype=x.dtype), x)
        # An infinity ahead of a NaN must not shadow it.
        real = mx.argmax(x, axis=axis, keepdims=keepdims)
        first_nan = mx.argmax(nans, axis=axis, keepdims=keepdims)
        found = mx.any(nans, axis=axis, keepdims=keepdims)
        return mx.where(found, first_nan, real).astype(mx.int64)
    return mx.argmax(x, axis=axis, keepdims=keepdims).astype(mx.int64)


def argmin(x: mx.array, axis: int | None = None, keepdims: bool = False) -> mx.array:
    """``torch.argmin``: int64 index of the first smallest element, or of the first NaN."""
    if x.dtype == mx.bool_:
        return argmax(mx.logical_not(x), axis, keepdims)
    if mx.issubdtype(x.dtype, mx.floating):
        return argmax(-x, axis, keepdims)
    return mx.argmin(x, axis=axis, keepdims=keepdims).astype(mx.int64)


def amax(
    x: mx.array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> mx.array:
    """``torch.amax``: largest element over several axes; NaN wins (``()`` means all axes)."""
    return mx.max(x, axis=None if axis == () else axis, keepdims=keepdims)


def amin(
    x: mx.array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> mx.array:
    """``torch.amin``: smallest element over several axes; NaN wins (``()`` means all axes)."""
    return mx.min(x, axis=None if axis == () else axis, keepdims=keepdims)


def aminmax(
    x: mx.array, axis: int | None = None, keepdims: bool = False
) -> tuple[mx.array, mx.array]:
    """``torch.aminmax``: smallest and largest."""
    return mx.min(x, axis=axis, keepdims=keepdims), mx.max(x, axis=axis, keepdims=keepdims)


def variance(
    x: mx.array,
    axis: int | tuple[int, ...] | None = None,
    correction: float = 1,
    keepdims: bool = False,
) -> mx.array:
    """``torch.var``: squared deviations over ``max(0, n - correction)``, in float32 or better."""
    return var_mean(x, axis, correction, keepdims)[0]


def standard_deviation(
    x: mx.array,
    axis: int | tuple[int, ...] | None = None,
    correction: float = 1,
    keepdims: bool = False,
) -> mx.array:
    """``torch.std``: root of ``variance``."""
    wide = x if x.dtype == mx.complex64 else x.astype(mx.float32)
    dtype = mx.float32 if x.dtype == mx.complex64 else x.dtype
    return mx.sqrt(var_mean(wide, axis, correction, keepdims)[0]).astype(dtype)


def var_mean(
    x: mx.array,
    axis: int | tuple[int, ...] | None = None,
    correction: float = 1,
    keepdims: bool = False,
) -> tuple[mx.array, mx.array]:
    """``torch.var_mean``: variance (``correction`` degrees of freedom taken off) and mean."""
    wide = x if x.dtype == mx.complex64 else x.astype(mx.float32)
    mean = mx.mean(wide, axis=axis, keepdims=True)
    total = mx.sum(mx.square(mx.abs(wide - mean)), axis=axis, keepdims=keepdims)
    kept = mx.mean(wide, axis=axis, keepdims=keepdims)
    count = wide.size // kept.size if kept.size else 0
    freedom = max(0.0, count - correction)
    spread = total / mx.array(freedom, dtype=mx.float32)
    if x.dtype == mx.complex64:
        return spread, kept
    return spread.astype(x.dtype), kept.astype(x.dtype)


def nansum(
    x: mx.array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> mx.array:
    """``torch.nansum``: NaN counts as zero; integers give int64."""
    if mx.issubdtype(x.dtype, mx.inexact):
        x = mx.where(mx.isnan(x), mx.array(0, dtype=x.dtype), x)
    return sum_of(x, axis, keepdims)


def nanmean(
    x: mx.array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> mx.array:
    """``torch.nanmean``: mean of what is not NaN (NaN where nothing is left)."""
    count = mx.sum(mx.logical_not(mx.isnan(x)).astype(mx.float32), axis=axis, keepdims=keepdims)
    wide = x.astype(mx.float32)
    return (nansum(wide, axis, keepdims) / count).astype(x.dtype)


def logsumexp(x: mx.array, axis: int | tuple[int, ...], keepdims: bool = False) -> mx.array:
    """``torch.logsumexp``: integers count as float32; an empty axis gives ``-inf``."""
    x = x if mx.issubdtype(x.dtype, mx.inexact) else x.astype(mx.float32)
    if x.size == 0:
        return mx.log(mx.sum(mx.exp(x), axis=axis, keepdims=keepdims))
    return mx.logsumexp(x, axis=axis, keepdims=keepdims)


def vector_norm(
    x: mx.array,
    ord: float = 2,
    axis: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
) -> mx.array:
    """``torch.linalg.vector_norm`` for any ``ord``, also 0 (count), inf, -inf and negative ones."""
    dtype = mx.float32 if x.dtype == mx.complex64 else x.dtype
    size = mx.abs(x).astype(mx.float32)
    if ord == 0:
        return mx.sum((x != 0).astype(mx.float32), axis=axis, keepdims=keepdims).astype(dtype)
    if ord == float("inf"):
        return mx.max(size, axis=axis, keepdims=keepdims).astype(dtype)
    if ord == float("-inf"):
        return mx.min(size, axis=axis, keepdims=keepdims).astype(dtype)
    if ord == 1:
        return mx.sum(size, axis=axis, keepdims=keepdims).astype(dtype)
    if ord == 2:
        return mx.sqrt(mx.sum(mx.square(size), axis=axis, keepdims=keepdims)).astype(dtype)
    return mx.power(mx.sum(mx.power(size, ord), axis=axis, keepdims=keepdims), 1 / ord).astype(
        dtype
    )


def distance_norm(x: mx.array, y: mx.array, p: float = 2.0, eps: float = 1e-6) -> mx.array:
    """``torch.nn.functional.pairwise_distance`` (p-norm of ``x - y + eps`` on the last axis)."""
    return vector_norm(x - y + eps, p, -1)


def cosine_similarity(x: mx.array, y: mx.array, axis: int = 1, eps: float = 1e-8) -> mx.array:
    """``torch.cosine_similarity``: each norm is at least ``eps``; the operands broadcast."""
    x, y = mx.broadcast_arrays(x, y)
    if x.ndim == 0:
        x, y, axis = x[None], y[None], 0
    sizes = (vector_norm(x, 2, axis, True), vector_norm(y, 2, axis, True))
    x, y = (v / mx.maximum(size, eps) for v, size in zip((x, y), sizes, strict=True))
    return mx.sum(x * y, axis=axis)


def renorm(x: mx.array, p: float, axis: int, maxnorm: float) -> mx.array:
    """``torch.renorm``: shrink each slice along ``axis`` whose p-norm exceeds ``maxnorm``."""
    others = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    size = vector_norm(x if x.dtype == mx.complex64 else x.astype(mx.float32), p, others, True)
    return (x * mx.where(size > maxnorm, maxnorm / (size + 1e-7), 1.0)).astype(x.dtype)


def hash_tensor(x: mx.array, axis: tuple[int, ...] = (), keepdims: bool = False) -> mx.array:
    """``torch.hash_tensor``: uint64 xor of the bits of float64 or int64; ``()`` means all axes.

    Runs on the CPU stream, which alone has float64.
    """
    wide = mx.float64 if mx.issubdtype(x.dtype, mx.floating) else mx.int64
    bits = x.astype(wide, stream=mx.cpu).view(mx.uint64, stream=mx.cpu)
    if x.ndim == 0:
        return bits
    for a in sorted(i % x.ndim for i in (axis or range(x.ndim))):
        bits = mx.moveaxis(bits, a, 0)
        while bits.shape[0] != 1:
            if bits.shape[0] % 2 or bits.shape[0] == 0:
                bits = mx.concatenate([bits, mx.zeros((1, *bits.shape[1:]), dtype=mx.uint64)])
            half = bits.shape[0] // 2
            bits = bits if half == 0 else mx.bitwise_xor(bits[:half], bits[half:])
        bits = mx.moveaxis(bits, 0, a)
    return bits if keepdims else mx.squeeze(bits, tuple(axis) or tuple(range(x.ndim)))
