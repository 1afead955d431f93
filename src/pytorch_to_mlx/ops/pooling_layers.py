"""Pooling layers that are faster than the ones of ``mlx.nn``."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn


class MaxPool(nn.Module):
    """The maximum over windows of x [N, ..., C] that lie side by side, one size a spatial axis.

    It is that of strided slices. (``nn.MaxPool2d`` reduces a view of all windows, which takes
    longer.)
    """

    def __init__(self, kernel_size: tuple[int, ...]):
        super().__init__()
        self.kernel_size = kernel_size

    def __call__(self, x: mx.array) -> mx.array:
        for axis, kernel in enumerate(self.kernel_size, start=1):
            before = (slice(None),) * axis
            end = x.shape[axis] // kernel * kernel
            y = x[before + (slice(0, end, kernel),)]
            for tap in range(1, kernel):
                y = mx.maximum(y, x[before + (slice(tap, end, kernel),)])
            x = y
        return x
