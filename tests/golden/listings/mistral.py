"""MistralForCausalLM in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


def sliding_window_mask(length: int, window: int) -> mx.array:
    """Bool [length, length]: each query sees itself and the ``window - 1`` keys before it."""
    distance = mx.arange(length)[:, None] - mx.arange(length)[None]
    return (distance >= 0) & (distance < window)


class MistralAttention(nn.Module):
    """MistralAttention (modeling_mistral.py:121)."""

    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(32, 32, bias=False)
        self.k_proj = nn.Linear(32, 16, bias=False)
        self.v_proj = nn.Linear(32, 16, bias=False)
        self.o_proj = nn.Linear(32, 32, bias=False)
        self.rope = nn.RoPE(8)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        B, T, _ = x.shape
        out = mx.fast.scaled_dot_product_attention(
            self.rope(self.q_proj(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3)),
            self.rope(self.k_proj(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3)),
            self.v_proj(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            scale=8**-0.5,
            mask=mask,
        )
        return self.o_proj(out.transpose(0, 2, 1, 3).reshape(B, T, -1))


class MistralMLP(nn.Module):
    """MistralMLP (modeling_mistral.py:34)."""

    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(32, 48, bias=False)
        self.up_proj = nn.Linear(32, 48, bias=False)
        self.down_proj = nn.Linear(48, 32, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(nn.silu(self.gate_proj(x)) * self.up_proj(x))


class MistralDecoderLayer(nn.Module):
    """MistralDecoderLayer (modeling_mistral.py:201)."""

    def __init__(self):
        super().__init__()
        self.self_attn = MistralAttention()
        self.mlp = MistralMLP()
        self.input_layernorm = nn.RMSNorm(32, eps=1e-06)
        self.post_attention_layernorm = nn.RMSNorm(32, eps=1e-06)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        x = x + self.self_attn(self.input_layernorm(x), mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class MistralModel(nn.Module):
    """MistralModel (modeling_mistral.py:309)."""

    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(50, 32)
        self.layers = [MistralDecoderLayer() for _ in range(4)]
        self.norm = nn.RMSNorm(32, eps=1e-06)

    def __call__(self, input_ids: mx.array) -> mx.array:
        T = input_ids.shape[1]
        x = self.embed_tokens(input_ids)
        mask = sliding_window_mask(T, 5)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class MistralForCausalLM(nn.Module):
    """MistralForCausalLM (modeling_mistral.py:383)."""

    def __init__(self):
        super().__init__()
        self.model = MistralModel()
        self.lm_head = nn.Linear(32, 50, bias=False)

    def __call__(self, input_ids: mx.array) -> dict[str, mx.array]:
        """input_ids: int64[B, T] -> float32[B, T, 50]"""
        return {"logits": self.lm_head(self.model(input_ids))}


def load(path: str | Path = Path(__file__).parent) -> MistralForCausalLM:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = MistralForCausalLM()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
