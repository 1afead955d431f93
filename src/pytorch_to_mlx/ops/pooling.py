"""Max, average and p-norm pooling with torch's arguments; channels-last.

Inputs are [N, L, C], [N, H, W, C] or [N, D, H, W, C], or the same without N. ``kernel``,
``stride``, ``padding`` and ``dilation`` have one entry a spatial axis. Pooling goes axis by axis:
a maximum or a sum over a box is one over its columns of one over its rows.
"""

from __future__ import annotations

import math

import mlx.core as mx


def pooled_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> int:
    """Number of windows along an axis, by torch's rule: with ``ceil_mode`` the last one must start
    inside the input or its low padding."""
    reach = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-reach // stride) if ceil_mode else reach // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    return count


def slice_axis(x: mx.array, axis: int, start: int, stop: int, step: int = 1) -> mx.array:
    """``x[..., start:stop:step, ...]`` on a non-negative ``axis``."""
    return x[(slice(None),) * axis + (slice(start, stop, step),)]


def pad_axis(x: mx.array, axis: int, low: int, high: int, value: float) -> mx.array:
    """Constant padding of one non-negative axis, in the dtype of ``x``."""
    if low <= 0 and high <= 0:
        return x
    pads = [(0, 0)] * x.ndim
    pads[axis] = (max(low, 0), max(high, 0))
    return mx.pad(x, pads, constant_values=mx.array(value, dtype=x.dtype))


def strided_taps(
    x: mx.array, axis: int, kernel: int, stride: int, dilation: int, count: int
) -> list[mx.array]:
    """For each kernel tap the elements it sees in ``count`` windows: ``kernel`` strided slices."""
    span = (count - 1) * stride + 1
    return [
        slice_axis(x, axis, tap * dilation, tap * dilation + span, stride) for tap in range(kernel)
    ]


def adaptive_windows(size: int, count: int) -> list[tuple[int, int]]:
    """torch's adaptive windows (start, stop): they cover the axis evenly and may overlap."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def adaptive_taps(x: mx.array, axis: int, count: int) -> list[mx.array]:
    """Taps of the adaptive windows; a window with fewer taps than the longest repeats its last."""
    size = x.shape[axis]
    if count > 0 and size % count == 0:
        return strided_taps(x, axis, size // count, size // count, 1, count)
    windows = adaptive_windows(size, count)
    longest = max((stop - start for start, stop in windows), default=0)
    return [
        mx.take(x, mx.array([min(start + tap, stop - 1) for start, stop in windows]), axis=axis)
        for tap in range(longest)
    ]


def lowest(dtype: mx.Dtype) -> float:
    """The identity of ``max`` in a dtype."""
    return -math.inf if mx.issubdtype(dtype, mx.floating) else mx.iinfo(dtype).min


def max_pool(
    x: mx.array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    ceil_mode: bool = False,
) -> mx.array:
    """``max_pool{1,2,3}d``; NaN wins, as in torch."""
    first = x.ndim - 1 - len(kernel)
    for axis, (k, s, p, d) in enumerate(
        zip(kernel, stride, padding, dilation, strict=True), start=first
    ):
        size = x.shape[axis]
        count = pooled_size(size, k, s, p, d, ceil_mode)
        high = (count - 1) * s + d * (k - 1) + 1 - size - p
        x = pad_axis(x, axis, p, high, lowest(x.dtype))
        if count == 1 and d == 1:
            x = mx.max(slice_axis(x, axis, 0, k), axis=axis, keepdims=True)
            continue
        taps = strided_taps(x, axis, k, s, d, count)
        x = taps[0]
        for tap in taps[1:]:
            x = mx.maximum(x, tap)
    return x


def adaptive_max_pool(x: mx.array, output_size: tuple[int | None, ...]) -> mx.array:
    """``adaptive_max_pool{1,2,3}d``; ``None`` keeps the size of an axis."""
    first = x.ndim - 1 - len(output_size)
    for axis, count in enumerate(output_size, start=first):
        if count is None or count == x.shape[axis]:
            continue
        if count == 1:
            x = mx.max(x, axis=axis, keepdims=True)
            continue
        taps = adaptive_taps(x, axis, count)
        x = taps[0] if taps else slice_axis(x, axis, 0, 0)
        for tap in taps[1:]:
            x = mx.maximum(x, tap)
    return x


def sum_pool(
    x: mx.array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    ceil_mode: bool = False,
) -> mx.array:
    """Sum over pooling windows, zeros outside the input; same dtype."""
    first = x.ndim - 1 - len(kernel)
    for axis, (k, s, p) in enumerate(zip(kernel, stride, padding, strict=True), start=first):
        size = x.shape[axis]
        count = pooled_size(size, k, s, p, 1, ceil_mode)
        x = pad_axis(x, axis, p, (count - 1) * s + k - size - p, 0)
        if count == 1:
            x = mx.sum(slice_axis(x, axis, 0, k), axis=axis, keepdims=True)
            continue
        taps = strided_taps(x, axis, k, s, 1, count)
        x = taps[0]
        for tap in taps[1:]:
            x = x + tap
    return x


def window_lengths(
    size: int, kernel: int, stride: int, padding: int, ceil_mode: bool, include_pad: bool
) -> list[int]:
    """What each average is divided by: window elements inside the (padded) input, at least one."""
    lengths = []
    for i in range(pooled_size(size, kernel, stride, padding, 1, ceil_mode)):
        start = i * stride - padding
        stop = min(start + kernel, size + padding)
        if not include_pad:
            start, stop = max(start, 0), min(stop, size)
        lengths.append(max(stop - start, 1))
    return lengths


def avg_pool(
    x: mx.array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> mx.array:
    """``avg_pool{1,2,3}d``, summed in float32 for half types; integers divide towards zero."""
    dtype = x.dtype
    half = dtype in (mx.float16, mx.bfloat16)
    total = sum_pool(x.astype(mx.float32) if half else x, kernel, stride, padding, ceil_mode)
    ragged = ceil_mode or (not count_include_pad and any(padding))
    divisor: int | mx.array = divisor_override or math.prod(kernel)
    if ragged and divisor_override is None:
        divisor = mx.array(1)
        first = x.ndim - 1 - len(kernel)
        for axis, (k, s, p) in enumerate(zip(kernel, stride, padding, strict=True), start=first):
            lengths = window_lengths(x.shape[axis], k, s, p, ceil_mode, count_include_pad)
            divisor = divisor * mx.array(lengths).reshape(-1, *(1,) * (x.ndim - 1 - axis))
    if not mx.issubdtype(dtype, mx.floating):
        divisor = mx.array(divisor, dtype=total.dtype)
        quotient = mx.abs(total) // mx.abs(divisor)
        return (quotient * mx.sign(total) * mx.sign(divisor)).astype(dtype)
    return (total / divisor).astype(dtype)


def adaptive_avg_pool(x: mx.array, output_size: tuple[int | None, ...]) -> mx.array:
    """``adaptive_avg_pool{1,2,3}d``, summed in float32 for half types; ``None`` keeps an axis."""
    dtype = x.dtype
    if dtype in (mx.float16, mx.bfloat16):
        x = x.astype(mx.float32)
    first = x.ndim - 1 - len(output_size)
    if all(count == 1 for count in output_size):
        axes = tuple(range(first, x.ndim - 1))
        return mx.mean(x, axis=axes, keepdims=True).astype(dtype)
    for axis, count in enumerate(output_size, start=first):
        size = x.shape[axis]
        if count is None or count == size:
            continue
        lengths = [stop - start for start, stop in adaptive_windows(size, count)]
        taps = adaptive_taps(x, axis, count)
        shape = (-1,) + (1,) * (x.ndim - 1 - axis)
        x = taps[0] if taps else slice_axis(x, axis, 0, 0)
        for i, tap in enumerate(taps[1:], start=1):
            if i < min(lengths):
                x = x + tap
            else:  # only the longer windows have this tap
                mask = mx.array([i < length for length in lengths]).reshape(shape)
                x = x + mx.where(mask, tap, 0)
        even = min(lengths, default=1) == max(lengths, default=1)
        x = x / (lengths[0] if even else mx.array(lengths, dtype=x.dtype).reshape(shape))
    return x.astype(dtype)


def lp_pool(
    x: mx.array,
    norm_type: float,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    ceil_mode: bool = False,
) -> mx.array:
    """``lp_pool{1,2,3}d``: (sum of x^p over the window)^(1/p)."""
    zeros = (0,) * len(kernel)
    mean = avg_pool(mx.power(x, norm_type), kernel, stride, zeros, ceil_mode)
    return mx.power(mean * math.prod(kernel), 1.0 / norm_type).astype(x.dtype)
