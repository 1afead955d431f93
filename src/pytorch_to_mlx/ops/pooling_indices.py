"""Pooling that reports or takes positions: max pooling with indices, its inverse, fractional max.

Channels-last, like ``pooling``. Indices are torch's: int64, flat over the input's spatial axes.
"""

from __future__ import annotations

import math

import mlx.core as mx

from pytorch_to_mlx.ops.pooling import (
    adaptive_taps,
    lowest,
    pad_axis,
    pooled_size,
    strided_taps,
)


def first_maximum(values: list[mx.array], places: list[mx.array]) -> tuple[mx.array, mx.array]:
    """Elementwise largest of ``values`` and its place; the first of equals, but the last NaN.

    A place of -1 marks padding, which loses to anything. That is the scan order of torch's kernels.
    """
    best, found = values[0], places[0]
    for value, place in zip(values[1:], places[1:], strict=True):
        better = (value > best) | (value != value) | ((found < 0) & (place >= 0))
        best, found = mx.where(better, value, best), mx.where(better, place, found)
    return best, found


def places_along(found: mx.array | None, x: mx.array, axis: int, scale: int) -> mx.array:
    """Flat int32 index of each element of ``x``, where ``found`` is that over later axes."""
    steps = mx.arange(x.shape[axis], dtype=mx.int32) * scale
    steps = steps.reshape(-1, *(1,) * (x.ndim - 1 - axis))
    if found is None:
        return mx.broadcast_to(steps, x.shape)
    return found + steps


def max_pool_with_indices(
    x: mx.array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    ceil_mode: bool = False,
) -> tuple[mx.array, mx.array]:
    """``max_pool{1,2,3}d_with_indices``: values and int64 flat indices of the same shape."""
    first = x.ndim - 1 - len(kernel)
    found: mx.array | None = None
    scale = 1
    for i in reversed(range(len(kernel))):
        axis, k, s, p, d = first + i, kernel[i], stride[i], padding[i], dilation[i]
        size = x.shape[axis]
        count = pooled_size(size, k, s, p, d, ceil_mode)
        high = (count - 1) * s + d * (k - 1) + 1 - size - p
        places = pad_axis(places_along(found, x, axis, scale), axis, p, high, -1)
        x = pad_axis(x, axis, p, high, lowest(x.dtype))
        x, found = first_maximum(
            strided_taps(x, axis, k, s, d, count), strided_taps(places, axis, k, s, d, count)
        )
        scale *= size
    assert found is not None
    return x, found.astype(mx.int64)


def adaptive_max_pool_with_indices(
    x: mx.array, output_size: tuple[int | None, ...]
) -> tuple[mx.array, mx.array]:
    """``adaptive_max_pool{1,2,3}d`` with its int64 flat indices; ``None`` keeps an axis."""
    first = x.ndim - 1 - len(output_size)
    found: mx.array | None = None
    scale = 1
    for i in reversed(range(len(output_size))):
        axis = first + i
        size = x.shape[axis]
        count = output_size[i]
        places = places_along(found, x, axis, scale)
        x, found = first_maximum(
            adaptive_taps(x, axis, size if count is None else count),
            adaptive_taps(places, axis, size if count is None else count),
        )
        scale *= size
    assert found is not None
    return x, found.astype(mx.int64)


def max_unpool(x: mx.array, indices: mx.array, output_size: tuple[int, ...]) -> mx.array:
    """``max_unpool{1,2,3}d``: each value at its flat index of ``output_size``, zeros elsewhere."""
    lead = x.shape[: x.ndim - 1 - len(output_size)]
    channels = x.shape[-1]
    places = 1
    for size in output_size:
        places *= size
    flat = mx.zeros((*lead, places, channels), dtype=x.dtype)
    inside = 1
    for size in x.shape[len(lead) : -1]:
        inside *= size
    shape = (*lead, inside, channels)
    flat = mx.put_along_axis(flat, indices.reshape(shape), x.reshape(shape), axis=len(lead))
    return flat.reshape(*lead, *output_size, channels)


def max_unpool_flat(
    x: mx.array,
    indices: mx.array,
    size: tuple[int, ...],
    output_size: tuple[int, ...] | None = None,
) -> mx.array:
    """Each value at its index into an array of ``size``, flattened as a whole; zeros elsewhere, and
    up to ``output_size``. Channels first [N, C, *space]. Source: ONNX ``MaxUnpool``."""
    flat = mx.zeros((math.prod(size),), dtype=x.dtype)
    y = mx.put_along_axis(flat, indices.reshape(-1), x.reshape(-1), axis=0).reshape(size)
    if output_size is None:
        return y
    return mx.pad(y, [(0, wide - n) for wide, n in zip(output_size, size, strict=True)])


def fractional_starts(samples: mx.array, size: int, kernel: int, count: int) -> mx.array:
    """Starts of fractional windows, int32 [count, N, C], from uniform ``samples`` [N, C]."""
    if count == 1:
        return mx.full((1, *samples.shape), size - kernel, dtype=mx.int32)
    alpha = mx.array((size - kernel) / (count - 1), dtype=samples.dtype)
    steps = mx.arange(count - 1).astype(samples.dtype).reshape(-1, 1, 1)
    first, places = samples * alpha, (steps + samples) * alpha
    starts = places.astype(mx.int32) - first.astype(mx.int32)
    last = mx.full((1, *samples.shape), size - kernel, dtype=mx.int32)
    return mx.concatenate([starts, last], axis=0)


def fractional_max_pool(
    x: mx.array, kernel: tuple[int, ...], output_size: tuple[int, ...], samples: mx.array
) -> tuple[mx.array, mx.array]:
    """``fractional_max_pool{2,3}d`` for given ``samples`` [N, C, 2 or 3]: values, int64 indices.

    ``x`` is batched. As in torch the samples of 2-D pooling are ordered W, H; those of 3-D D, H, W,
    and there may be samples for more than the batch.
    """
    axes = len(kernel)
    samples = samples[: x.shape[0]]
    found: mx.array | None = None
    scale = 1
    for i in reversed(range(axes)):
        axis = 1 + i
        size = x.shape[axis]
        sample = samples[:, :, axes - 1 - i if axes == 2 else i]
        starts = fractional_starts(sample, size, kernel[i], output_size[i])
        shape = [1] * x.ndim
        shape[0], shape[axis], shape[-1] = x.shape[0], output_size[i], x.shape[-1]
        starts = mx.moveaxis(starts, 0, 1).reshape(shape)
        places = places_along(found, x, axis, scale)
        taps = [starts + tap for tap in range(kernel[i])]
        x, found = first_maximum(
            [mx.take_along_axis(x, tap, axis=axis) for tap in taps],
            [mx.take_along_axis(places, tap, axis=axis) for tap in taps],
        )
        scale *= size
    assert found is not None
    return x, found.astype(mx.int64)
