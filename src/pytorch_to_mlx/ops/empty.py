"""Reductions of arrays that may be empty, over the last axes."""

from __future__ import annotations

import mlx.core as mx


def max_of_any(x: mx.array, count: int, empty: float) -> mx.array:
    """The largest element over the last ``count`` axes, ``empty`` where there are none."""
    rest = x.shape[: x.ndim - count]
    if x.size == 0:
        return mx.full(rest, empty, dtype=x.dtype)
    return mx.max(x.reshape(*rest, -1), axis=-1)


def min_of_any(x: mx.array, count: int, empty: float) -> mx.array:
    """The smallest element over the last ``count`` axes, ``empty`` where there are none."""
    rest = x.shape[: x.ndim - count]
    if x.size == 0:
        return mx.full(rest, empty, dtype=x.dtype)
    return mx.min(x.reshape(*rest, -1), axis=-1)


def logsumexp_of_any(x: mx.array, count: int, empty: float) -> mx.array:
    """``logsumexp`` over the last ``count`` axes, ``empty`` where there are no elements."""
    rest = x.shape[: x.ndim - count]
    if x.size == 0:
        return mx.full(rest, empty, dtype=x.dtype)
    return mx.logsumexp(x.reshape(*rest, -1), axis=-1)
