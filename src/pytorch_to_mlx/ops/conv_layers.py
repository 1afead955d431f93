"""Convolution layers that are faster than the ones of ``mlx.nn``; weights are laid out as there."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn


class ConvTransposeTiles(nn.Module):
    """A transposed convolution of x [N, ..., C] whose stride is its kernel.

    Every position becomes a tile of its own, and the tiles do not overlap: one matmul.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: tuple[int, ...], bias: bool = True
    ):
        super().__init__()
        self.weight = mx.zeros((out_channels, *kernel_size, in_channels))
        if bias:
            self.bias = mx.zeros((out_channels,))

    def __call__(self, x: mx.array) -> mx.array:
        N, *sizes, _ = x.shape
        O, *kernel, _ = self.weight.shape
        tiles = (x @ mx.flatten(self.weight, 0, -2).T).reshape(N, *sizes, O, *kernel)
        rank = len(kernel)
        # [N, H, W, O, kH, kW] to [N, H, kH, W, kW, O], which is [N, H * kH, W * kW, O].
        pairs = [axis for i in range(1, rank + 1) for axis in (i, rank + 1 + i)]
        y = tiles.transpose(0, *pairs, rank + 1)
        y = y.reshape(N, *(size * k for size, k in zip(sizes, kernel, strict=True)), O)
        return y + self.bias if "bias" in self else y
