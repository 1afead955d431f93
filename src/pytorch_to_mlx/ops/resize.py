"""Resampling with ONNX's coordinate rules, along any axes; any layout.

Where each output lies and which elements it mixes depends on sizes alone, so it is worked out in
Python's floats: one row of places and weights for each output along an axis.
"""

from __future__ import annotations

import math

import mlx.core as mx


def source_coordinates(
    size: int,
    count: int,
    scale: float,
    coordinates: str,
    roi: tuple[float, float] = (0.0, 1.0),
) -> list[float]:
    """Fractional input position of each of ``count`` outputs.

    ``coordinates`` is ONNX's ``coordinate_transformation_mode``; ``roi`` holds the start and end of
    the crop, normalised, for ``"tf_crop_and_resize"``.
    """
    length = scale * size
    if coordinates == "align_corners":
        step = (size - 1) / (length - 1) if length != 1 else 0.0
        return [i * step if length != 1 else 0.0 for i in range(count)]
    if coordinates == "asymmetric":
        return [i / scale for i in range(count)]
    if coordinates == "tf_crop_and_resize":
        start, end = roi
        if length == 1:
            return [(start + end) * (size - 1) / 2] * count
        step = (end - start) * (size - 1) / (length - 1)
        return [start * (size - 1) + i * step for i in range(count)]
    if coordinates == "pytorch_half_pixel" and length == 1:
        return [-0.5] * count
    offset = -0.5
    if coordinates == "half_pixel_symmetric":
        offset += size / 2 * (1 - count / length)
    return [offset + (i + 0.5) / scale for i in range(count)]


def nearest_place(position: float, rounding: str) -> int:
    """A whole position by ONNX's ``nearest_mode``."""
    if rounding == "floor":
        return math.floor(position)
    if rounding == "ceil":
        return math.ceil(position)
    if rounding == "round_prefer_ceil":
        return math.floor(position + 0.5)
    return math.ceil(position - 0.5)


def filter_weight(distance: float, cubic_a: float | None) -> float:
    """Weight of an element at a distance: a triangle, or cubic convolution with ``cubic_a``."""
    d, a = abs(distance), cubic_a
    if a is None:
        return max(1 - d, 0.0)
    if d <= 1:
        return ((a + 2) * d - (a + 3)) * d * d + 1
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a if d < 2 else 0.0


def filter_taps(
    positions: list[float],
    size: int,
    scale: float,
    cubic_a: float | None,
    antialias: bool,
    exclude_outside: bool,
) -> tuple[list[list[int]], list[list[float]]]:
    """Places and weights, one row an output. Elements beyond the edges repeat them, or with
    ``exclude_outside`` weigh nothing. With ``antialias`` the filter widens when shrinking."""
    shrink = min(scale, 1.0) if antialias else 1.0
    first = math.floor(-(1 if cubic_a is None else 2) / shrink) + 1
    places, weights = [], []
    for position in positions:
        low = math.floor(position)
        near = [low + k for k in range(first, 2 - first)]
        row = [filter_weight((place - position) * shrink, cubic_a) for place in near]
        if exclude_outside:
            row = [w if 0 <= place < size else 0.0 for w, place in zip(row, near, strict=True)]
        total = sum(row) if antialias or exclude_outside else 1.0
        weights.append([w / (total or 1.0) for w in row])
        places.append([min(max(place, 0), size - 1) for place in near])
    return places, weights


def resized_sizes(
    shape: list[int],
    sizes: tuple[int, ...] | None,
    scales: tuple[float, ...] | None,
    policy: str = "stretch",
) -> tuple[list[int], list[float]]:
    """Output sizes and the scale of each axis, from either. ``policy`` keeps the aspect ratio:
    the result is ``"not_larger"`` or ``"not_smaller"`` than ``sizes``."""
    if sizes is None:
        given = list(scales or ())
        return [int(scale * size) for size, scale in zip(shape, given, strict=True)], given
    factors = [count / size for size, count in zip(shape, sizes, strict=True)]
    if policy == "stretch":
        return list(sizes), factors
    factor = min(factors) if policy == "not_larger" else max(factors)
    return [int(factor * size + 0.5) for size in shape], [factor] * len(shape)


def saturate_to(x: mx.array, dtype: mx.Dtype) -> mx.array:
    """``x`` in another dtype; whole numbers are rounded, halves to even, and held in its range."""
    if not mx.issubdtype(dtype, mx.integer):
        return x.astype(dtype)
    info = mx.iinfo(dtype)
    return mx.clip(mx.round(x), info.min, info.max).astype(dtype)


def resize(
    x: mx.array,
    axes: tuple[int, ...],
    sizes: tuple[int, ...] | None = None,
    scales: tuple[float, ...] | None = None,
    mode: str = "nearest",
    coordinates: str = "half_pixel",
    rounding: str = "round_prefer_floor",
    cubic_a: float = -0.75,
    antialias: bool = False,
    exclude_outside: bool = False,
    policy: str = "stretch",
    roi: tuple[float, ...] | None = None,
    outside: float = 0.0,
) -> mx.array:
    """``x`` resampled along ``axes`` to ``sizes``, or by ``scales``. ``mode`` is ``"nearest"``,
    ``"linear"`` or ``"cubic"``; ``roi`` holds the starts, then the ends, of the crop, beyond which
    the result is ``outside``. Smooth modes compute in float32 at least. Source: ONNX ``Resize``.
    """
    shape = [x.shape[axis] for axis in axes]
    counts, factors = resized_sizes(shape, sizes, scales, policy)
    dtype = x.dtype
    if mode != "nearest":
        x = x.astype(mx.float64 if dtype == mx.float64 else mx.float32)
    for i, (axis, size, count, scale) in enumerate(zip(axes, shape, counts, factors, strict=True)):
        crop = (roi[i], roi[i + len(axes)]) if roi else (0.0, 1.0)
        if count == size and scale == 1 and crop == (0.0, 1.0):
            continue
        positions = source_coordinates(size, count, scale, coordinates, crop)
        along = [1] * x.ndim
        along[axis] = count
        if mode == "nearest" or not count:
            nearest = [nearest_place(position, rounding) for position in positions]
            near = mx.array([min(max(place, 0), size - 1) for place in nearest], dtype=mx.int32)
            y = mx.take(x, near, axis=axis)
        else:
            a = cubic_a if mode == "cubic" else None
            places, rows = filter_taps(positions, size, scale, a, antialias, exclude_outside)
            y = mx.zeros((), dtype=x.dtype)
            for tap, weight in zip(zip(*places, strict=True), zip(*rows, strict=True), strict=True):
                part = mx.take(x, mx.array(tap, dtype=mx.int32), axis=axis)
                y = y + mx.array(weight, dtype=x.dtype).reshape(along) * part
        if coordinates == "tf_crop_and_resize":
            beyond = mx.array([not 0 <= position <= size - 1 for position in positions])
            y = mx.where(beyond.reshape(along), mx.array(outside, dtype=y.dtype), y)
        x = y
    return saturate_to(x, dtype) if x.dtype != dtype else x
