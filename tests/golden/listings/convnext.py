"""ConvNextForImageClassification in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


class ConvNextEmbeddings(nn.Module):
    """ConvNextEmbeddings (modeling_convnext.py:65)."""

    def __init__(self):
        super().__init__()
        self.patch_embeddings = nn.Conv2d(3, 8, 4, stride=4)
        self.layernorm = nn.LayerNorm(8, eps=1e-06)

    def __call__(self, pixel_values: mx.array) -> mx.array:
        return self.layernorm(self.patch_embeddings(pixel_values))


class ConvNextLayer(nn.Module):
    """ConvNextLayer (modeling_convnext.py:114)."""

    def __init__(self, dim: int, hidden_dim: int):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.layernorm = nn.LayerNorm(dim, eps=1e-06)
        self.pwconv1 = nn.Linear(dim, hidden_dim)
        self.pwconv2 = nn.Linear(hidden_dim, dim)
        self.layer_scale_parameter = mx.zeros((dim,))

    def __call__(self, features: mx.array) -> mx.array:
        x = self.layer_scale_parameter * self.pwconv2(
            nn.gelu(self.pwconv1(self.layernorm(self.dwconv(features))))
        )
        return features + x


class ConvNextStage(nn.Module):
    """ConvNextStage (modeling_convnext.py:157)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_dim: int,
        num_layers: int,
        downsampling_layer: bool = True,
    ):
        super().__init__()
        self.downsampling_layer = (
            [
                nn.LayerNorm(in_channels, eps=1e-06),
                nn.Conv2d(in_channels, out_channels, 2, stride=2),
            ]
            if downsampling_layer
            else []
        )
        self.layers = [ConvNextLayer(out_channels, hidden_dim) for _ in range(num_layers)]

    def __call__(self, features: mx.array) -> mx.array:
        for layer in self.downsampling_layer:
            features = layer(features)
        for layer in self.layers:
            features = layer(features)
        return features


class ConvNextEncoder(nn.Module):
    """ConvNextEncoder (modeling_convnext.py:210)."""

    def __init__(self):
        super().__init__()
        self.stages = [
            ConvNextStage(
                in_channels=8, out_channels=8, hidden_dim=32, num_layers=2, downsampling_layer=False
            ),
            ConvNextStage(in_channels=8, out_channels=16, hidden_dim=64, num_layers=2),
            ConvNextStage(in_channels=16, out_channels=24, hidden_dim=96, num_layers=1),
        ]

    def __call__(self, x: mx.array) -> mx.array:
        for stage in self.stages:
            x = stage(x)
        return x


class ConvNextModel(nn.Module):
    """ConvNextModel (modeling_convnext.py:251)."""

    def __init__(self):
        super().__init__()
        self.embeddings = ConvNextEmbeddings()
        self.encoder = ConvNextEncoder()
        self.layernorm = nn.LayerNorm(24, eps=1e-12)

    def __call__(self, pixel_values: mx.array) -> mx.array:
        return self.layernorm(mx.mean(self.encoder(self.embeddings(pixel_values)), axis=(1, 2)))


class ConvNextForImageClassification(nn.Module):
    """ConvNextForImageClassification (modeling_convnext.py:293)."""

    def __init__(self):
        super().__init__()
        self.convnext = ConvNextModel()
        self.classifier = nn.Linear(24, 6)

    def __call__(self, pixel_values: mx.array) -> dict[str, mx.array]:
        """pixel_values: float32[B, 3, H, W] -> float32[B, 6]"""
        return {"logits": self.classifier(self.convnext(pixel_values.transpose(0, 2, 3, 1)))}


def load(path: str | Path = Path(__file__).parent) -> ConvNextForImageClassification:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = ConvNextForImageClassification()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
