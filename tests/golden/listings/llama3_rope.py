"""LlamaForCausalLM in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


class LlamaAttention(nn.Module):
    """LlamaAttention."""

    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(32, 32, bias=False)
        self.k_proj = nn.Linear(32, 16, bias=False)
        self.v_proj = nn.Linear(32, 16, bias=False)
        self.o_proj = nn.Linear(32, 32, bias=False)


class LlamaMLP(nn.Module):
    """LlamaMLP."""

    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(32, 48, bias=False)
        self.up_proj = nn.Linear(32, 48, bias=False)
        self.down_proj = nn.Linear(48, 32, bias=False)


class LlamaMLP2(nn.Module):
    """LlamaMLP (modeling_llama.py:152)."""

    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(32, 48, bias=False)
        self.up_proj = nn.Linear(32, 48, bias=False)
        self.down_proj = nn.Linear(48, 32, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(nn.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaRotaryEmbedding(nn.Module):
    """LlamaRotaryEmbedding."""

    def __init__(self):
        super().__init__()
        self.rope_freqs = mx.zeros((4,))
        self.freeze(keys=["rope_freqs"], recurse=False)


class LlamaDecoderLayer(nn.Module):
    """LlamaDecoderLayer."""

    def __init__(self):
        super().__init__()
        self.self_attn = LlamaAttention()
        self.mlp = LlamaMLP()
        self.input_layernorm = nn.RMSNorm(32, eps=1e-06)
        self.post_attention_layernorm = nn.RMSNorm(32, eps=1e-06)


class LlamaDecoderLayer2(nn.Module):
    """LlamaDecoderLayer."""

    def __init__(self):
        super().__init__()
        self.self_attn = LlamaAttention()
        self.mlp = LlamaMLP2()
        self.input_layernorm = nn.RMSNorm(32, eps=1e-06)
        self.post_attention_layernorm = nn.RMSNorm(32, eps=1e-06)


class LlamaModel(nn.Module):
    """LlamaModel (modeling_llama.py:336)."""

    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(50, 32)
        self.layers = [*[LlamaDecoderLayer() for _ in range(3)], LlamaDecoderLayer2()]
        self.norm = nn.RMSNorm(32, eps=1e-06)
        self.rotary_emb = LlamaRotaryEmbedding()

    def __call__(self, input_ids: mx.array) -> mx.array:
        B, T = input_ids.shape
        x = self.embed_tokens(input_ids)
        for layer in self.layers[:3]:
            input_layernorm = layer.input_layernorm(x)
            query = (
                layer.self_attn.q_proj(input_layernorm).reshape(B, T, -1, 8).transpose(0, 2, 1, 3)
            )
            query = mx.fast.rope(
                query,
                8,
                traditional=False,
                base=None,
                scale=1.0,
                offset=0,
                freqs=self.rotary_emb.rope_freqs,
            )
            key = layer.self_attn.k_proj(input_layernorm).reshape(B, T, -1, 8).transpose(0, 2, 1, 3)
            key = mx.fast.rope(
                key,
                8,
                traditional=False,
                base=None,
                scale=1.0,
                offset=0,
                freqs=self.rotary_emb.rope_freqs,
            )
            value = (
                layer.self_attn.v_proj(input_layernorm).reshape(B, T, -1, 8).transpose(0, 2, 1, 3)
            )
            out = mx.fast.scaled_dot_product_attention(
                query, key, value, scale=0.3535533905932738, mask="causal"
            )
            attn_output = layer.self_attn.o_proj(out.transpose(0, 2, 1, 3).reshape(B, T, -1))
            x = x + attn_output
            post_attention_layernorm = layer.post_attention_layernorm(x)
            down_proj = nn.silu(layer.mlp.gate_proj(post_attention_layernorm)) * layer.mlp.up_proj(
                post_attention_layernorm
            )
            x = x + layer.mlp.down_proj(down_proj)
        input_layernorm = self.layers[3].input_layernorm(x)
        query = (
            self.layers[3]
            .self_attn.q_proj(input_layernorm)
            .reshape(B, T, -1, 8)
            .transpose(0, 2, 1, 3)
        )
        query = mx.fast.rope(
            query,
            8,
            traditional=False,
            base=None,
            scale=1.0,
            offset=0,
            freqs=self.rotary_emb.rope_freqs,
        )
        key = (
            self.layers[3]
            .self_attn.k_proj(input_layernorm)
            .reshape(B, T, -1, 8)
            .transpose(0, 2, 1, 3)
        )
        key = mx.fast.rope(
            key,
            8,
            traditional=False,
            base=None,
            scale=1.0,
            offset=0,
            freqs=self.rotary_emb.rope_freqs,
        )
        value = (
            self.layers[3]
            .self_attn.v_proj(input_layernorm)
            .reshape(B, T, -1, 8)
            .transpose(0, 2, 1, 3)
        )
        out = mx.fast.scaled_dot_product_attention(
            query, key, value, scale=0.3535533905932738, mask="causal"
        )
        attn_output = self.layers[3].self_attn.o_proj(out.transpose(0, 2, 1, 3).reshape(B, T, -1))
        x = x + attn_output
        return self.norm(x + self.layers[3].mlp(self.layers[3].post_attention_layernorm(x)))


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
