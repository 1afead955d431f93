"""LlamaForCausalLM in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


class LlamaAttention(nn.Module):
    """LlamaAttention (modeling_llama.py:206)."""

    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(32, 32, bias=False)
        self.k_proj = nn.Linear(32, 16, bias=False)
        self.v_proj = nn.Linear(32, 16, bias=False)
        self.o_proj = nn.Linear(32, 32, bias=False)

    def __call__(self, x: mx.array, rope_freqs: mx.array) -> mx.array:
        B, T, _ = x.shape
        query = mx.fast.rope(
            self.q_proj(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            8,
            traditional=False,
            base=None,
            scale=1.0,
            offset=0,
            freqs=rope_freqs,
        )
        key = mx.fast.rope(
            self.k_proj(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            8,
            traditional=False,
            base=None,
            scale=1.0,
            offset=0,
            freqs=rope_freqs,
        )
        out = mx.fast.scaled_dot_product_attention(
            query,
            key,
            self.v_proj(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            scale=8**-0.5,
            mask="causal",
        )
        return self.o_proj(out.transpose(0, 2, 1, 3).reshape(B, T, -1))


class LlamaMLP(nn.Module):
    """LlamaMLP (modeling_llama.py:152)."""

    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(32, 48, bias=False)
        self.up_proj = nn.Linear(32, 48, bias=False)
        self.down_proj = nn.Linear(48, 32, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(nn.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaDecoderLayer(nn.Module):
    """LlamaDecoderLayer (modeling_llama.py:273)."""

    def __init__(self):
        super().__init__()
        self.self_attn = LlamaAttention()
        self.mlp = LlamaMLP()
        self.input_layernorm = nn.RMSNorm(32, eps=1e-06)
        self.post_attention_layernorm = nn.RMSNorm(32, eps=1e-06)

    def __call__(self, x: mx.array, rope_freqs: mx.array) -> mx.array:
        x = x + self.self_attn(self.input_layernorm(x), rope_freqs)
        return x + self.mlp(self.post_attention_layernorm(x))


class LlamaModel(nn.Module):
    """LlamaModel (modeling_llama.py:336)."""

    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(50, 32)
        self.layers = [LlamaDecoderLayer() for _ in range(4)]
        self.norm = nn.RMSNorm(32, eps=1e-06)
        self.rope_freqs = mx.zeros((4,))
        self.freeze(keys=["rope_freqs"], recurse=False)

    def __call__(self, input_ids: mx.array) -> mx.array:
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x, self.rope_freqs)
        return self.norm(x)


class LlamaForCausalLM(nn.Module):
    """LlamaForCausalLM (modeling_llama.py:410)."""

    def __init__(self):
        super().__init__()
        self.model = LlamaModel()
        self.lm_head = nn.Linear(32, 50, bias=False)

    def __call__(self, input_ids: mx.array) -> dict[str, mx.array]:
        """input_ids: int64[B, T] -> float32[B, T, 50]"""
        return {"logits": self.lm_head(self.model(input_ids))}


def load(path: str | Path = Path(__file__).parent) -> LlamaForCausalLM:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = LlamaForCausalLM()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
