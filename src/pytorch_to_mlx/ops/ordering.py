"""Ordering as ONNX defines it, and axes that only the running model knows."""

from __future__ import annotations

import mlx.core as mx


def sorted_first(
    x: mx.array, count: int, axis: int = -1, largest: bool = True
) -> tuple[mx.array, mx.array]:
    """The ``count`` largest (or smallest) values along an axis in order, and their places (int64);
    of equal values the one that comes first. Source: ONNX ``TopK``.
    """
    places = mx.arange(x.shape[axis])
    if largest:  # a stable ascending order of the reversed axis, read backwards
        flipped = mx.take(x, places[::-1], axis=axis)
        order = x.shape[axis] - 1 - mx.argsort(flipped, axis=axis).astype(mx.int64)
        order = mx.take(order, places[::-1], axis=axis)
    else:
        order = mx.argsort(x, axis=axis).astype(mx.int64)
    order = mx.take(order, places[:count], axis=axis)
    return mx.take_along_axis(x, order, axis=axis), order


def axes_last(x: mx.array, axes: tuple[int, ...]) -> mx.array:
    """``x`` with these axes moved to the end, in the order they have in ``x``."""
    at = sorted(a % x.ndim for a in axes)
    moved = x.transpose([i for i in range(x.ndim) if i not in at] + at)
    # MLX (0.32) on the CPU sums garbage, or for ever, over an empty axis of a transposed array.
    return moved if x.size else mx.contiguous(moved)
