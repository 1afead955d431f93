"""Resampling with torch's coordinate rules; channels-last, any number of spatial axes.

Inputs are [N, L, C], [N, H, W, C] or [N, D, H, W, C]. ``size`` is that of the output. ``scales``
holds the scale factors where the caller named them: torch then steps by 1 / factor, not by the
ratio of the sizes. Area interpolation is ``adaptive_avg_pool``.
"""

from __future__ import annotations

import mlx.core as mx


def source_step(size: int, count: int, align_corners: bool, scale: float | None) -> float:
    """Input elements an output element advances by."""
    if align_corners:
        return (size - 1) / (count - 1) if count > 1 else 0.0
    if scale is not None and scale > 0:
        return 1.0 / scale
    return size / count


def whole_factor(size: int, count: int, scale: float | None) -> int:
    """The factor of an upsampling by a whole number, or 0. Up to 16, where torch's float32 steps of
    1 / factor fall into the same cells as exact ones."""
    if size == 0 or count % size or count // size > 16:
        return 0
    factor = count // size
    return factor if scale is None or scale <= 0 or scale == factor else 0


def source_positions(size: int, count: int, align_corners: bool, scale: float | None) -> mx.array:
    """Fractional input position, float32, of each of ``count`` outputs."""
    step = mx.array(source_step(size, count, align_corners, scale), dtype=mx.float32)
    places = mx.arange(count).astype(mx.float32)
    return step * places if align_corners else step * (places + 0.5) - 0.5


def along_axis(weights: mx.array, x: mx.array, axis: int) -> mx.array:
    """A vector shaped to broadcast over one axis of ``x``."""
    return weights.reshape(-1, *(1,) * (x.ndim - 1 - axis))


def interpolate_nearest(
    x: mx.array,
    size: tuple[int, ...],
    scales: tuple[float | None, ...] | None = None,
    exact: bool = False,
) -> mx.array:
    """``upsample_nearest{1,2,3}d``, if ``exact`` ``_upsample_nearest_exact{1,2,3}d``; any dtype."""
    scales = scales or (None,) * len(size)
    for axis, (count, scale) in enumerate(zip(size, scales, strict=True), start=1):
        length = x.shape[axis]
        factor = whole_factor(length, count, scale)
        if len(size) == 2 and not exact and count in (length, 2 * length):
            factor = count // length  # torch's 2-D kernel ignores the scale here
        if factor == 1:
            continue
        if factor:
            shape = list(x.shape)
            shape.insert(axis + 1, factor)
            x = mx.broadcast_to(mx.expand_dims(x, axis + 1), shape).flatten(axis, axis + 1)
            continue
        step = mx.array(source_step(length, count, False, scale), dtype=mx.float32)
        places = mx.floor((mx.arange(count).astype(mx.float32) + (0.5 if exact else 0.0)) * step)
        x = mx.take(x, mx.minimum(places.astype(mx.int32), length - 1), axis=axis)
    return x


def upsample_phases(x: mx.array, axis: int, phases: list[tuple[int, list[float]]]) -> mx.array:
    """Upsample an axis by ``len(phases)``: output ``i * factor + p`` is the sum of
    ``weights[k] * x[i + start + k]`` of phase ``p``, with the edges of ``x`` repeated."""
    size = x.shape[axis]
    before = (slice(None),) * axis
    first, final = x[before + (slice(0, 1),)], x[before + (slice(size - 1, size),)]
    x = mx.concatenate([first, first, x, final, final], axis=axis)
    outputs = []
    for start, weights in phases:
        taps = [
            weight * x[before + (slice(2 + start + k, 2 + start + k + size),)]
            for k, weight in enumerate(weights)
        ]
        total = taps[0]
        for tap in taps[1:]:
            total = total + tap
        outputs.append(total)
    return mx.stack(outputs, axis=axis + 1).flatten(axis, axis + 1)


def phase_position(phase: int, factor: int) -> tuple[int, float]:
    """Whole and fractional part of where output ``phase`` lies, relative to its input element."""
    position = (phase + 0.5) / factor - 0.5
    return (-1, position + 1) if position < 0 else (0, position)


def last_axis_first(
    size: tuple[int, ...], scales: tuple[float | None, ...] | None
) -> list[tuple[int, int, float | None]]:
    """(axis, output size, scale) of each spatial axis, in torch's order of work."""
    scales = scales or (None,) * len(size)
    return [(i + 1, size[i], scales[i]) for i in reversed(range(len(size)))]


def saturate(y: mx.array, dtype: mx.Dtype) -> mx.array:
    """Round (halves up) to what uint8 holds, as torch does after each axis; else pass."""
    return mx.clip(mx.floor(y + 0.5), 0, 255) if dtype == mx.uint8 else y


def interpolate_linear(
    x: mx.array,
    size: tuple[int, ...],
    align_corners: bool,
    scales: tuple[float | None, ...] | None = None,
) -> mx.array:
    """``upsample_linear1d``, ``_bilinear2d``, ``_trilinear3d``; computed in float32."""
    dtype = x.dtype
    x = x.astype(mx.float32)
    for axis, count, scale in last_axis_first(size, scales):
        length = x.shape[axis]
        if count == length:
            continue
        factor = 0 if align_corners else whole_factor(length, count, scale)
        if factor:
            starts = [phase_position(phase, factor) for phase in range(factor)]
            x = upsample_phases(x, axis, [(start, [1 - t, t]) for start, t in starts])
            x = saturate(x, dtype)
            continue
        position = mx.maximum(source_positions(length, count, align_corners, scale), 0)
        low = mx.minimum(mx.floor(position).astype(mx.int32), length - 1)
        high = mx.minimum(low + 1, length - 1)
        t = along_axis(mx.clip(position - low, 0, 1), x, axis)
        x = (1 - t) * mx.take(x, low, axis=axis) + t * mx.take(x, high, axis=axis)
        x = saturate(x, dtype)
    return x.astype(dtype)


def cubic_weights(t: mx.array) -> list[mx.array]:
    """Weights of the elements at -1, 0, 1, 2 for a fraction ``t``: cubic convolution, a = -0.75."""
    a = -0.75
    u = 1 - t
    return [
        ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a,
        ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * u - (a + 3)) * u * u + 1,
        ((a * (u + 1) - 5 * a) * (u + 1) + 8 * a) * (u + 1) - 4 * a,
    ]


def cubic_tap(distance: float) -> float:
    """Weight of an element at a distance (at most two): cubic convolution, a = -0.75."""
    a, d = -0.75, abs(distance)
    return (
        ((a + 2) * d - (a + 3)) * d * d + 1 if d <= 1 else ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    )


def interpolate_cubic(
    x: mx.array,
    size: tuple[int, ...],
    align_corners: bool,
    scales: tuple[float | None, ...] | None = None,
) -> mx.array:
    """``upsample_bicubic2d``; computed in float32."""
    dtype = x.dtype
    x = x.astype(mx.float32)
    for axis, count, scale in last_axis_first(size, scales):
        length = x.shape[axis]
        factor = 0 if align_corners else whole_factor(length, count, scale)
        if factor:
            starts = [phase_position(phase, factor) for phase in range(factor)]
            phases = [(start - 1, [cubic_tap(t + 1 - k) for k in range(4)]) for start, t in starts]
            x = upsample_phases(x, axis, phases)
            x = saturate(x, dtype)
            continue
        position = source_positions(length, count, align_corners, scale)
        start = mx.minimum(mx.floor(position).astype(mx.int32), length - 1)
        weights = cubic_weights(mx.clip(position - start, 0, 1))
        total = mx.zeros((), dtype=mx.float32)
        for k, weight in enumerate(weights):
            places = mx.clip(start + (k - 1), 0, length - 1)
            total = total + along_axis(weight, x, axis) * mx.take(x, places, axis=axis)
        x = saturate(total, dtype)
    return x.astype(dtype)


def triangle_filter(x: mx.array) -> mx.array:
    """1 - |x| within one of zero."""
    return mx.maximum(1 - mx.abs(x), 0)


def cubic_filter(x: mx.array) -> mx.array:
    """The cubic convolution kernel with a = -0.5, zero beyond two of the origin."""
    a = -0.5
    x = mx.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return mx.where(x < 1, near, mx.where(x < 2, far, 0))


def interpolate_antialias(
    x: mx.array,
    size: tuple[int, ...],
    align_corners: bool,
    scales: tuple[float | None, ...] | None = None,
    cubic: bool = False,
) -> mx.array:
    """``_upsample_bilinear2d_aa`` and, if ``cubic``, ``_upsample_bicubic2d_aa``; in float32.

    The filter widens with the step when shrinking, and its weights are normalised at the edges.
    """
    dtype = x.dtype
    x = x.astype(mx.float32)
    for axis, count, scale in last_axis_first(size, scales):
        length = x.shape[axis]
        if count == length:
            continue
        step = source_step(length, count, align_corners, scale)
        widen = max(step, 1.0)
        support = (2.0 if cubic else 1.0) * widen
        center = mx.array(step, dtype=mx.float32) * (mx.arange(count).astype(mx.float32) + 0.5)
        start = mx.maximum((center - support + 0.5).astype(mx.int32), 0)
        stop = mx.minimum((center + support + 0.5).astype(mx.int32), length)
        taps = range(min(int(2 * support) + 2, length))
        places = [start + k for k in taps]
        weights = []
        for place in places:
            offset = (place.astype(mx.float32) - center + 0.5) / widen
            weight = cubic_filter(offset) if cubic else triangle_filter(offset)
            weights.append(mx.where(place < stop, weight, 0))
        norm = mx.sum(mx.stack(weights), axis=0)
        total = mx.zeros((), dtype=mx.float32)
        for place, weight in zip(places, weights, strict=True):
            # Past the window a tap weighs nothing; where() keeps its NaN or infinity out too.
            inside = along_axis(place < stop, x, axis)
            part = mx.take(x, mx.minimum(place, length - 1), axis=axis)
            total = total + mx.where(inside, along_axis(weight / norm, x, axis) * part, 0)
        x = saturate(total, dtype)
    return x.astype(dtype)
