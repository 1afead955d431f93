"""Pairwise distances and counting into bins."""

from __future__ import annotations

import math

import mlx.core as mx

from pytorch_to_mlx.ops.shape import row_run_indices


def vector_distance(difference: mx.array, p: float) -> mx.array:
    """p-norm over the last axis; p = 0 counts non-zeros, infinity takes the largest."""
    if difference.shape[-1] == 0:
        return mx.zeros(difference.shape[:-1], dtype=difference.dtype)
    size = mx.abs(difference)
    if p == 0:
        return mx.sum((size != 0).astype(size.dtype), axis=-1)
    if p == 1:
        return mx.sum(size, axis=-1)
    if p == 2:
        return mx.sqrt(mx.sum(size * size, axis=-1))
    if p == math.inf:
        return mx.max(size, axis=-1)
    return mx.power(mx.sum(mx.power(size, p), axis=-1), 1.0 / p)


def euclidean_by_matmul(a: mx.array, b: mx.array) -> mx.array:
    """[..., P, M] and [..., R, M] to distances [..., P, R], by |a|^2 - 2ab + |b|^2."""
    squares_a = mx.sum(a * a, axis=-1, keepdims=True)
    squares_b = mx.swapaxes(mx.sum(b * b, axis=-1, keepdims=True), -1, -2)
    squares = squares_a - 2 * (a @ mx.swapaxes(b, -1, -2)) + squares_b
    return mx.sqrt(mx.maximum(squares, 0))


def cdist(a: mx.array, b: mx.array, p: float = 2.0, compute_mode: int | None = None) -> mx.array:
    """``torch.cdist``: [..., P, M] and [..., R, M] to [..., P, R].

    ``compute_mode`` is torch's: 1 takes the matrix product for p = 2, 2 never, 0 or None for more
    than 25 rows (the product is fast, but inexact for points that nearly coincide).
    """
    product = compute_mode == 1
    if compute_mode in (None, 0):
        product = a.shape[-2] > 25 or b.shape[-2] > 25
    if p == 2 and product and a.shape[-1] > 0:
        return euclidean_by_matmul(a, b)
    return vector_distance(mx.expand_dims(a, -2) - mx.expand_dims(b, -3), p)


def pdist(x: mx.array, p: float = 2.0) -> mx.array:
    """``F.pdist``: distances of the pairs i < j of the rows of [N, M], N (N - 1) / 2 of them."""
    rows = x.shape[0]
    if rows < 2:
        return mx.zeros((0,), dtype=x.dtype)
    starts = [i + 1 for i in range(rows)]
    first, second = row_run_indices(starts, [rows - start for start in starts])
    return vector_distance(mx.take(x, first, axis=0) - mx.take(x, second, axis=0), p)


def bucketize(x: mx.array, boundaries: mx.array, right: bool = False) -> mx.array:
    """``torch.bucketize``: int64 index of the bin of each element; NaN goes past the last.

    ``right`` puts an element that equals a boundary into the upper bin.
    """
    places = mx.searchsorted(boundaries, x.reshape(-1), side="right" if right else "left")
    return places.reshape(x.shape).astype(mx.int64)


def histc(x: mx.array, bins: int = 100, low: float = 0, high: float = 0) -> mx.array:
    """``torch.histc``: counts, in the dtype of ``x``, of equal bins from ``low`` to ``high``.

    Equal limits mean the range of the data. Elements outside, and NaN, count nowhere.
    """
    flat = x.reshape(-1)
    start, stop = mx.array(low, dtype=x.dtype), mx.array(high, dtype=x.dtype)
    if low == high and flat.size > 0:
        start, stop = mx.min(flat), mx.max(flat)
    same = start == stop
    start, stop = mx.where(same, start - 1, start), mx.where(same, stop + 1, stop)
    inside = (flat >= start) & (flat <= stop)
    place = mx.where(inside, (flat - start) * bins / (stop - start), 0)
    place = mx.minimum(place.astype(mx.int32), bins - 1)
    return mx.zeros((bins,), dtype=x.dtype).at[place].add(inside.astype(x.dtype))


def bincount(x: mx.array, weights: mx.array | None = None, minlength: int = 0) -> mx.array:
    """``torch.bincount``: how often (int64), or with what total weight, each integer occurs.

    The length depends on the values, so this evaluates ``x``.
    """
    length = max(int(mx.max(x)) + 1, minlength) if x.size else minlength
    if weights is None:
        weights = mx.ones(x.shape, dtype=mx.int64)
    elif weights.dtype != mx.float32:
        weights = weights.astype(mx.float32)
    if x.size == 0:
        return mx.zeros((length,), dtype=mx.int64)
    return mx.zeros((length,), dtype=weights.dtype).at[x].add(weights)
