"""Pooling layers that are faster than the ones of ``mlx.nn``."""

from __future__ import annotations

import math

import mlx.core as mx
import mlx.nn as nn


class MaxPool(nn.Module):
    """The maximum over windows of x [N, ..., C], axis by axis, as that of strided slices.

    The settings have one entry a spatial axis. (``nn.MaxPool2d`` reduces a view of all windows,
    which takes longer.)
    """

    def __init__(
        self,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...] | None = None,
        padding: tuple[int, ...] | None = None,
    ):
        super().__init__()
        padding = padding or (0,) * len(kernel_size)
        self.axes = tuple(zip(kernel_size, stride or kernel_size, padding, strict=True))

    def __call__(self, x: mx.array) -> mx.array:
        for axis, (kernel, stride, padding) in enumerate(self.axes, start=1):
            before = (slice(None),) * axis
            if padding:
                pads = [(padding, padding) if i == axis else (0, 0) for i in range(x.ndim)]
                x = mx.pad(x, pads, constant_values=-math.inf)
            span = (x.shape[axis] - kernel) // stride * stride + 1
            y = x[before + (slice(0, span, stride),)]
            for tap in range(1, kernel):
                y = mx.maximum(y, x[before + (slice(tap, tap + span, stride),)])
            x = y
        return x
