"""UNet in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


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


class DoubleConvWithoutSkip(nn.Module):
    """DoubleConv (networks.py:10)."""

    def __init__(self, dims: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(4, dims, pytorch_compatible=True)
        self.conv1 = nn.Conv2d(dims, dims, 3, padding=1)
        self.norm2 = nn.GroupNorm(4, dims, pytorch_compatible=True)
        self.conv2 = nn.Conv2d(dims, dims, 3, padding=1)

    def __call__(self, x: mx.array) -> mx.array:
        return self.conv2(nn.silu(self.norm2(self.conv1(nn.silu(self.norm1(x)))))) + x


class DoubleConv(nn.Module):
    """DoubleConv (networks.py:10)."""

    def __init__(self, dims: int, out_channels: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(4, dims, pytorch_compatible=True)
        self.conv1 = nn.Conv2d(dims, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(4, out_channels, pytorch_compatible=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(dims, out_channels, 1)

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
        self.up = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.block = DoubleConv(32, 16)

    def __call__(self, x: mx.array, skip: mx.array) -> mx.array:
        return self.block(mx.concatenate([skip, self.up(x)], axis=-1))


class Up2(nn.Module):
    """Up (networks.py:43)."""

    def __init__(self):
        super().__init__()
        self.up = nn.Conv2d(16, 8, 3, padding=1)
        self.block = DoubleConv(16, 8)

    def __call__(self, x: mx.array, skip: mx.array) -> mx.array:
        _, H, W, _ = x.shape
        x = mx.concatenate([skip, self.up(interpolate_nearest(x, (2 * H, 2 * W)))], axis=-1)
        return self.block(x)


class UNet(nn.Module):
    """UNet (networks.py:63)."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.enter = DoubleConvWithoutSkip(8)
        self.downs = [Down(8, 16), Down(16, 32)]
        self.middle = DoubleConvWithoutSkip(32)
        self.ups = [Up(), Up2()]
        self.norm = nn.GroupNorm(4, 8, pytorch_compatible=True)
        self.head = nn.Conv2d(8, 2, 1)

    def __call__(self, image: mx.array) -> mx.array:
        """image: float32[B, 3, T, S] -> float32[B, 2, T, S]"""
        _, _, T, S = image.shape
        x = self.enter(self.stem(image.transpose(0, 2, 3, 1)))
        h = self.downs[0](x)
        y = self.downs[1](h)
        y = self.middle(y)
        y = self.ups[0](y, h)
        y = self.ups[1](y, x)
        return self.head(nn.silu(self.norm(y))).transpose(0, 3, 1, 2)


def load(path: str | Path = Path(__file__).parent) -> UNet:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = UNet()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
