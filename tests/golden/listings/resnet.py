"""ResNetForImageClassification in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


class ResNetConvLayer(nn.Module):
    """ResNetConvLayer (modeling_resnet.py:39)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        padding: int,
        activation: bool = True,
    ):
        super().__init__()
        self.convolution = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride=stride, padding=padding
        )
        self.activation = nn.relu if activation else nn.Identity()

    def __call__(self, x: mx.array) -> mx.array:
        return self.activation(self.convolution(x))


class ResNetShortCut(nn.Module):
    """ResNetShortCut (modeling_resnet.py:96)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, 1, stride=stride)

    def __call__(self, x: mx.array) -> mx.array:
        return self.convolution(x)


class ResNetEmbeddings(nn.Module):
    """ResNetEmbeddings (modeling_resnet.py:72)."""

    def __init__(self):
        super().__init__()
        self.embedder = ResNetConvLayer(
            in_channels=3, out_channels=8, kernel_size=7, stride=2, padding=3
        )
        self.pooler = nn.MaxPool2d(3, stride=2, padding=1)

    def __call__(self, pixel_values: mx.array) -> mx.array:
        return self.pooler(self.embedder(pixel_values))


class ResNetBottleNeckLayer(nn.Module):
    """ResNetBottleNeckLayer (modeling_resnet.py:139)."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        stride: int,
        out_channels: int,
        shortcut: bool = True,
    ):
        super().__init__()
        self.shortcut = (
            ResNetShortCut(in_channels, out_channels, stride) if shortcut else nn.Identity()
        )
        self.layer = nn.Sequential(
            ResNetConvLayer(
                in_channels=in_channels,
                out_channels=hidden_channels,
                kernel_size=1,
                stride=1,
                padding=0,
            ),
            ResNetConvLayer(
                in_channels=hidden_channels,
                out_channels=hidden_channels,
                kernel_size=3,
                stride=stride,
                padding=1,
            ),
            ResNetConvLayer(
                in_channels=hidden_channels,
                out_channels=out_channels,
                kernel_size=1,
                stride=1,
                padding=0,
                activation=False,
            ),
        )

    def __call__(self, x: mx.array) -> mx.array:
        return nn.relu(self.layer(x) + self.shortcut(x))


class ResNetStage(nn.Module):
    """ResNetStage (modeling_resnet.py:181)."""

    def __init__(self, in_channels: int, hidden_channels: int, stride: int, out_channels: int):
        super().__init__()
        self.layers = [
            ResNetBottleNeckLayer(
                in_channels=in_channels,
                hidden_channels=hidden_channels,
                stride=stride,
                out_channels=out_channels,
            ),
            ResNetBottleNeckLayer(
                in_channels=out_channels,
                hidden_channels=hidden_channels,
                stride=1,
                out_channels=out_channels,
                shortcut=False,
            ),
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
            ResNetBottleNeckLayer(in_channels=32, hidden_channels=10, stride=2, out_channels=40)
        ]

    def __call__(self, x: mx.array) -> mx.array:
        for layer in self.layers:
            x = layer(x)
        return x


class ResNetEncoder(nn.Module):
    """ResNetEncoder (modeling_resnet.py:219)."""

    def __init__(self):
        super().__init__()
        self.stages = [
            ResNetStage(in_channels=8, hidden_channels=4, stride=1, out_channels=16),
            ResNetStage(in_channels=16, hidden_channels=8, stride=2, out_channels=32),
            ResNetStage2(),
        ]

    def __call__(self, x: mx.array) -> mx.array:
        for stage in self.stages:
            x = stage(x)
        return x


class ResNetModel(nn.Module):
    """ResNetModel (modeling_resnet.py:290)."""

    def __init__(self):
        super().__init__()
        self.embedder = ResNetEmbeddings()
        self.encoder = ResNetEncoder()

    def __call__(self, pixel_values: mx.array) -> mx.array:
        return mx.mean(self.encoder(self.embedder(pixel_values)), axis=(1, 2), keepdims=True)


class ResNetForImageClassification(nn.Module):
    """ResNetForImageClassification (modeling_resnet.py:339)."""

    def __init__(self):
        super().__init__()
        self.resnet = ResNetModel()
        self.classifier = nn.Linear(40, 6)

    def __call__(self, pixel_values: mx.array) -> dict[str, mx.array]:
        """pixel_values: float32[B, 3, H, W] -> float32[B, 6]"""
        B = pixel_values.shape[0]
        return {
            "logits": self.classifier(
                self.resnet(pixel_values.transpose(0, 2, 3, 1)).reshape(B, -1)
            )
        }


def load(path: str | Path = Path(__file__).parent) -> ResNetForImageClassification:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = ResNetForImageClassification()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
