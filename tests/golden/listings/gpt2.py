"""GPT2LMHeadModel in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


class GPT2Attention(nn.Module):
    """GPT2Attention (modeling_gpt2.py:75)."""

    def __init__(self):
        super().__init__()
        self.c_attn = nn.Linear(32, 96)
        self.c_proj = nn.Linear(32, 32)

    def __call__(self, x: mx.array) -> mx.array:
        B, T, _ = x.shape
        query, key, value = mx.split(self.c_attn(x), 3, axis=2)
        out = mx.fast.scaled_dot_product_attention(
            query.reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            key.reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            value.reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            scale=8**-0.5,
            mask="causal",
        )
        return self.c_proj(out.transpose(0, 2, 1, 3).reshape(B, T, -1))


class GPT2MLP(nn.Module):
    """GPT2MLP (modeling_gpt2.py:229)."""

    def __init__(self):
        super().__init__()
        self.c_fc = nn.Linear(32, 128)
        self.c_proj = nn.Linear(128, 32)

    def __call__(self, x: mx.array) -> mx.array:
        return self.c_proj(nn.gelu_approx(self.c_fc(x)))


class GPT2Block(nn.Module):
    """GPT2Block (modeling_gpt2.py:246)."""

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(32)
        self.attn = GPT2Attention()
        self.ln_2 = nn.LayerNorm(32)
        self.mlp = GPT2MLP()

    def __call__(self, x: mx.array) -> mx.array:
        x = self.attn(self.ln_1(x)) + x
        return x + self.mlp(self.ln_2(x))


class GPT2Model(nn.Module):
    """GPT2Model (modeling_gpt2.py:484)."""

    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(50, 32)
        self.wpe = nn.Embedding(64, 32)
        self.h = [GPT2Block() for _ in range(3)]
        self.ln_f = nn.LayerNorm(32)

    def __call__(self, input_ids: mx.array) -> mx.array:
        T = input_ids.shape[1]
        x = self.wte(input_ids) + self.wpe(mx.arange(T))
        for layer in self.h:
            x = layer(x)
        return self.ln_f(x)


class GPT2LMHeadModel(nn.Module):
    """GPT2LMHeadModel (modeling_gpt2.py:634)."""

    def __init__(self):
        super().__init__()
        self.transformer = GPT2Model()

    def __call__(self, input_ids: mx.array) -> dict[str, mx.array]:
        """input_ids: int64[B, T] -> float32[B, T, 50]"""
        return {"logits": self.transformer.wte.as_linear(self.transformer(input_ids))}


def load(path: str | Path = Path(__file__).parent) -> GPT2LMHeadModel:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = GPT2LMHeadModel()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
