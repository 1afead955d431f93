"""UNet in MLX."""

from __future__ import annotations

from pathlib import Path

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


class DoubleConv(nn.Module):
    """DoubleConv (networks.py:10)."""

    def __init__(self, in_channels: int, out_channels: int, skip: bool = True):
        super().__init__()
        self.norm1 = nn.GroupNorm(4, in_channels, pytorch_compatible=True)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(4, out_channels, pytorch_compatible=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if skip else nn.Identity()

    def __call__(self, x: mx.array) -> mx.array:
        return self.conv2(nn.silu(self.norm2(self.conv1(nn.silu(self.norm1(x)))))) + self.skip(x)


class Down(nn.Module):
    """Down (networks.py:31)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.pool = nn.Conv2d(in_channels, in_channels, 3, stride=2, padding=1)
        self.block = DoubleConv(in_channels, out_channels)

    def __call__(self, x: mx.array) -> mx.array:
        return self.block(self.pool(x))


class Up(nn.Module):
    """Up (networks.py:43)."""

    def __init__(self):
        super().__init__()
        self.up = ConvTransposeTiles(32, 16, (2, 2))
        self.block = DoubleConv(32, 16)

    def __call__(self, x: mx.array, skip: mx.array) -> mx.array:
        return self.block(mx.concatenate([skip, self.up(x)], axis=-1))


class UpWithConv2d(nn.Module):
    """Up (networks.py:43)."""

    def __init__(self):
        super().__init__()
        self.up = nn.Conv2d(16, 8, 3, padding=1)
        self.block = DoubleConv(16, 8)

    def __call__(self, x: mx.array, skip: mx.array) -> mx.array:
        x = mx.concatenate([skip, self.up(mx.repeat(mx.repeat(x, 2, axis=1), 2, axis=2))], axis=-1)
        return self.block(x)


class UNet(nn.Module):
    """UNet (networks.py:63)."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.enter = DoubleConv(8, 8, skip=False)
        self.downs = [Down(8, 16), Down(16, 32)]
        self.middle = DoubleConv(32, 32, skip=False)
        self.ups = [Up(), UpWithConv2d()]
        self.norm = nn.GroupNorm(4, 8, pytorch_compatible=True)
        self.head = nn.Conv2d(8, 2, 1)

    def __call__(self, image: mx.array) -> mx.array:
        """image: float32[B, 3, H, W] -> float32[B, 2, H, W]"""
        x = self.enter(self.stem(image.transpose(0, 2, 3, 1)))
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for up in self.ups:
            x = up(x, skips.pop())
        return self.head(nn.silu(self.norm(x))).transpose(0, 3, 1, 2)


def load(path: str | Path = Path(__file__).parent) -> UNet:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = UNet()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
