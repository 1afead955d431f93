"""ResNetForImageClassification in MLX."""

from __future__ import annotations

import math
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


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


class ResNetConvLayer(nn.Module):
    """ResNetConvLayer (modeling_resnet.py:39)."""

    def __init__(self):
        super().__init__()
        self.conv2d = nn.Conv2d(3, 8, 7, stride=2, padding=3)

    def __call__(self, x: mx.array) -> mx.array:
        return nn.relu(self.conv2d(x.transpose(0, 2, 3, 1)))


class ResNetConvLayer2(nn.Module):
    """ResNetConvLayer (modeling_resnet.py:39)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int
    ):
        super().__init__()
        self.conv2d = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride=stride, padding=padding
        )

    def __call__(self, x: mx.array) -> mx.array:
        return nn.relu(self.conv2d(x))


class ResNetConvLayer3(nn.Module):
    """ResNetConvLayer (modeling_resnet.py:39)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv2d = nn.Conv2d(in_channels, out_channels, 1)

    def __call__(self, x: mx.array) -> mx.array:
        return self.conv2d(x)


class ResNetShortCut(nn.Module):
    """ResNetShortCut (modeling_resnet.py:96)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv2d = nn.Conv2d(in_channels, out_channels, 1, stride=stride)

    def __call__(self, x: mx.array) -> mx.array:
        return self.conv2d(x)


class ResNetEmbeddings(nn.Module):
    """ResNetEmbeddings (modeling_resnet.py:72)."""

    def __init__(self):
        super().__init__()
        self.embedder = ResNetConvLayer()

    def __call__(self, pixel_values: mx.array) -> mx.array:
        return max_pool(self.embedder(pixel_values), (3, 3), (2, 2), (1, 1), (1, 1))


class ResNetBottleNeckLayer(nn.Module):
    """ResNetBottleNeckLayer (modeling_resnet.py:139)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, in_channels_2: int):
        super().__init__()
        self.shortcut = ResNetShortCut(in_channels, out_channels, stride)
        self.layer = [
            ResNetConvLayer2(
                in_channels=in_channels,
                out_channels=in_channels_2,
                kernel_size=1,
                stride=1,
                padding=0,
            ),
            ResNetConvLayer2(
                in_channels=in_channels_2,
                out_channels=in_channels_2,
                kernel_size=3,
                stride=stride,
                padding=1,
            ),
            ResNetConvLayer3(in_channels_2, out_channels),
        ]

    def __call__(self, x: mx.array) -> mx.array:
        h = x
        for layer in self.layer:
            h = layer(h)
        return nn.relu(h + self.shortcut(x))


class ResNetBottleNeckLayerWithoutShortcut(nn.Module):
    """ResNetBottleNeckLayer (modeling_resnet.py:139)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.layer = [
            ResNetConvLayer2(
                in_channels=out_channels,
                out_channels=in_channels,
                kernel_size=1,
                stride=1,
                padding=0,
            ),
            ResNetConvLayer2(
                in_channels=in_channels,
                out_channels=in_channels,
                kernel_size=3,
                stride=1,
                padding=1,
            ),
            ResNetConvLayer3(in_channels, out_channels),
        ]

    def __call__(self, x: mx.array) -> mx.array:
        h = x
        for layer in self.layer:
            h = layer(h)
        return nn.relu(h + x)


class ResNetStage(nn.Module):
    """ResNetStage (modeling_resnet.py:181)."""

    def __init__(self, in_channels: int, out_channels: int, in_channels_2: int, stride: int):
        super().__init__()
        self.layers = [
            ResNetBottleNeckLayer(
                in_channels=in_channels_2,
                out_channels=out_channels,
                stride=stride,
                in_channels_2=in_channels,
            ),
            ResNetBottleNeckLayerWithoutShortcut(in_channels, out_channels),
        ]

    def __call__(self, x: mx.array) -> mx.array:
        for layer in self.layers:
            x = layer(x)
        return x


class ResNetStage2(nn.Module):
    """ResNetStage (modeling_resnet.py:181)."""

    def __init__(self):
        super().__init__()
        self.layers = [
            ResNetBottleNeckLayer(in_channels=32, out_channels=40, stride=2, in_channels_2=10)
        ]

    def __call__(self, x: mx.array) -> mx.array:
        x = self.layers[0](x)
        return x


class ResNetEncoder(nn.Module):
    """ResNetEncoder (modeling_resnet.py:219)."""

    def __init__(self):
        super().__init__()
        self.stages = [
            ResNetStage(in_channels=4, out_channels=16, in_channels_2=8, stride=1),
            ResNetStage(in_channels=8, out_channels=32, in_channels_2=16, stride=2),
            ResNetStage2(),
        ]

    def __call__(self, x: mx.array) -> mx.array:
        for stage in self.stages:
            x = stage(x)
        return x


class ResNetModel(nn.Module):
    """ResNetModel (modeling_resnet.py:291)."""

    def __init__(self):
        super().__init__()
        self.embedder = ResNetEmbeddings()
        self.encoder = ResNetEncoder()

    def __call__(self, pixel_values: mx.array) -> mx.array:
        return mx.mean(self.encoder(self.embedder(pixel_values)), axis=(1, 2), keepdims=True)


class ResNetForImageClassification(nn.Module):
    """ResNetForImageClassification (modeling_resnet.py:340)."""

    def __init__(self):
        super().__init__()
        self.resnet = ResNetModel()
        self.classifier = [nn.Linear(40, 6)]

    def __call__(self, pixel_values: mx.array) -> dict[str, mx.array]:
        """pixel_values: float32[B, 3, T, S] -> float32[B, 6]"""
        B = pixel_values.shape[0]
        x = self.resnet(pixel_values).reshape(B, -1)
        x = self.classifier[0](x)
        return {"logits": x}


def load(path: str | Path = Path(__file__).parent) -> ResNetForImageClassification:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = ResNetForImageClassification()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
