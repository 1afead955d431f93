"""ViTForImageClassification in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


class ViTPatchEmbeddings(nn.Module):
    """ViTPatchEmbeddings (modeling_vit.py:42)."""

    def __init__(self):
        super().__init__()
        self.projection = nn.Conv2d(3, 32, 8, stride=8)

    def __call__(self, pixel_values: mx.array) -> mx.array:
        B = pixel_values.shape[0]
        return self.projection(pixel_values).reshape(B, 9, 32)


class ViTAttention(nn.Module):
    """ViTAttention (modeling_vit.py:192)."""

    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(32, 32)
        self.k_proj = nn.Linear(32, 32)
        self.v_proj = nn.Linear(32, 32)
        self.o_proj = nn.Linear(32, 32)

    def __call__(self, x: mx.array) -> mx.array:
        B, T, _ = x.shape
        out = mx.fast.scaled_dot_product_attention(
            self.q_proj(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            self.k_proj(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            self.v_proj(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            scale=8**-0.5,
        )
        return self.o_proj(out.transpose(0, 2, 1, 3).reshape(B, T, -1))


class ViTMLP(nn.Module):
    """ViTMLP (modeling_vit.py:241)."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(32, 48)
        self.fc2 = nn.Linear(48, 32)

    def __call__(self, x: mx.array) -> mx.array:
        return self.fc2(nn.gelu(self.fc1(x)))


class ViTEmbeddings(nn.Module):
    """ViTEmbeddings (modeling_vit.py:72)."""

    def __init__(self):
        super().__init__()
        self.patch_embeddings = ViTPatchEmbeddings()
        self.cls_token = mx.zeros((1, 1, 32))
        self.position_embeddings = mx.zeros((1, 10, 32))

    def __call__(self, pixel_values: mx.array) -> mx.array:
        B = pixel_values.shape[0]
        x = mx.concatenate(
            [mx.broadcast_to(self.cls_token, (B, 1, 32)), self.patch_embeddings(pixel_values)],
            axis=1,
        )
        return x + self.position_embeddings


class ViTLayer(nn.Module):
    """ViTLayer (modeling_vit.py:257)."""

    def __init__(self):
        super().__init__()
        self.attention = ViTAttention()
        self.layernorm_before = nn.LayerNorm(32, eps=1e-12)
        self.layernorm_after = nn.LayerNorm(32, eps=1e-12)
        self.mlp = ViTMLP()

    def __call__(self, x: mx.array) -> mx.array:
        x = self.attention(self.layernorm_before(x)) + x
        return self.mlp(self.layernorm_after(x)) + x


class ViTModel(nn.Module):
    """ViTModel (modeling_vit.py:336)."""

    def __init__(self):
        super().__init__()
        self.embeddings = ViTEmbeddings()
        self.layers = [ViTLayer() for _ in range(3)]
        self.layernorm = nn.LayerNorm(32, eps=1e-12)

    def __call__(self, pixel_values: mx.array) -> mx.array:
        x = self.embeddings(pixel_values)
        for layer in self.layers:
            x = layer(x)
        return self.layernorm(x)


class ViTForImageClassification(nn.Module):
    """ViTForImageClassification (modeling_vit.py:515)."""

    def __init__(self):
        super().__init__()
        self.vit = ViTModel()
        self.classifier = nn.Linear(32, 6)

    def __call__(self, pixel_values: mx.array) -> dict[str, mx.array]:
        """pixel_values: float32[B, 3, 24, 24] -> float32[B, 6]"""
        return {"logits": self.classifier(self.vit(pixel_values.transpose(0, 2, 3, 1))[:, 0])}


def load(path: str | Path = Path(__file__).parent) -> ViTForImageClassification:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = ViTForImageClassification()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
