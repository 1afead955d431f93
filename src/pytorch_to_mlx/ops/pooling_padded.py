"""Pooling with a low and a high padding an axis, as ONNX has it; channels-last [N, *space, C]."""

from __future__ import annotations

import math

import mlx.core as mx


def window_count(
    size: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int], ceil_mode: bool
) -> int:
    """Number of windows along an axis; the last must not start in the high padding."""
    low, high = pads
    reach = size + low + high - dilation * (kernel - 1) - 1
    count = (-(-reach // stride) if ceil_mode else reach // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + low:
        count -= 1
    return count


def window_taps(
    x: mx.array,
    axis: int,
    kernel: int,
    stride: int,
    dilation: int,
    pads: tuple[int, int],
    ceil_mode: bool,
    fill: float,
) -> list[mx.array]:
    """For each kernel tap the elements it sees in every window along an axis."""
    size = x.shape[axis]
    count = window_count(size, kernel, stride, dilation, pads, ceil_mode)
    high = max((count - 1) * stride + dilation * (kernel - 1) + 1 - size - pads[0], 0)
    widths = [(0, 0)] * x.ndim
    widths[axis] = (pads[0], high)
    x = mx.pad(x, widths, constant_values=mx.array(fill, dtype=x.dtype))
    span = (count - 1) * stride + 1
    before = (slice(None),) * axis
    return [
        x[before + (slice(tap * dilation, tap * dilation + span, stride),)] for tap in range(kernel)
    ]


def max_pool_padded(
    x: mx.array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    ceil_mode: bool = False,
) -> mx.array:
    """The largest value of each window. Source: ONNX ``MaxPool``."""
    floating = mx.issubdtype(x.dtype, mx.floating)
    fill = -math.inf if floating else mx.iinfo(x.dtype).min
    settings = zip(kernel, stride, dilation, pads, strict=True)
    for axis, (k, s, d, p) in enumerate(settings, start=1):
        taps = window_taps(x, axis, k, s, d, p, ceil_mode, fill)
        x = taps[0]
        for tap in taps[1:]:
            x = mx.maximum(x, tap)
    return x


def sum_pool_padded(
    x: mx.array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    ceil_mode: bool = False,
) -> mx.array:
    """The sum of each window."""
    settings = zip(kernel, stride, dilation, pads, strict=True)
    for axis, (k, s, d, p) in enumerate(settings, start=1):
        taps = window_taps(x, axis, k, s, d, p, ceil_mode, 0)
        x = taps[0]
        for tap in taps[1:]:
            x = x + tap
    return x


def avg_pool_padded(
    x: mx.array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> mx.array:
    """The mean of each window, over what lies inside the input (and, with ``count_include_pad``,
    the padding). Source: ONNX ``AveragePool``.
    """
    total = sum_pool_padded(x, kernel, stride, pads, dilation, ceil_mode)
    ones = mx.ones((1, *x.shape[1:-1], 1), dtype=x.dtype)
    widths = [(0, 0), *pads, (0, 0)]
    if count_include_pad:
        whole = mx.pad(ones, widths, constant_values=1)
        none = tuple((0, 0) for _ in pads)
        count = sum_pool_padded(whole, kernel, stride, none, dilation, ceil_mode)
        # A last window that starts in the padding is counted here, but not made.
        return total / count[(slice(None),) + tuple(slice(n) for n in total.shape[1:-1])]
    return total / sum_pool_padded(ones, kernel, stride, pads, dilation, ceil_mode)


def lp_pool_padded(
    x: mx.array,
    p: int,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    ceil_mode: bool = False,
) -> mx.array:
    """The p-norm of each window. Source: ONNX ``LpPool``."""
    powers = mx.power(mx.abs(x), p)
    return mx.power(sum_pool_padded(powers, kernel, stride, pads, dilation, ceil_mode), 1 / p)
