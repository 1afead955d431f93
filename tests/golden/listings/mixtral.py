"""MixtralForCausalLM in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


def argsort(x: mx.array, axis: int = -1, descending: bool = False, stable: bool = True) -> mx.array:
    """``torch.argsort``: int64; NaN is the largest; always stable."""
    if x.ndim == 0:
        return mx.array(0, dtype=mx.int64)
    if x.dtype == mx.bool_:
        x = x.astype(mx.uint8)
    if not descending:
        return mx.argsort(x, axis=axis).astype(mx.int64)
    # Sorting the mirrored array and mirroring back keeps equal elements in their order.
    last = x.shape[axis] - 1
    order = mx.argsort(reverse_axis(x, axis), axis=axis)
    return last - reverse_axis(order, axis).astype(mx.int64)


def reverse_axis(x: mx.array, axis: int) -> mx.array:
    """``x`` read backwards along ``axis``."""
    return x[(slice(None),) * (axis % x.ndim) + (slice(None, None, -1),)]


def first_along(x: mx.array, count: int, axis: int) -> mx.array:
    """The first ``count`` elements along ``axis``."""
    return x[(slice(None),) * (axis % x.ndim) + (slice(0, count),)]


def topk(
    x: mx.array, k: int, axis: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[mx.array, mx.array]:
    """``torch.topk``: the ``k`` largest (or smallest) and their int64 indices, best first."""
    if x.ndim == 0:
        return x, mx.array(0, dtype=mx.int64)
    indices = first_along(argsort(x, axis, descending=largest), k, axis)
    return mx.take_along_axis(x, indices, axis=axis), indices


class MixtralAttention(nn.Module):
    """MixtralAttention (modeling_mixtral.py:271)."""

    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(32, 32, bias=False)
        self.k_proj = nn.Linear(32, 16, bias=False)
        self.v_proj = nn.Linear(32, 16, bias=False)
        self.o_proj = nn.Linear(32, 32, bias=False)
        self.rope = nn.RoPE(8, base=1000000.0)

    def __call__(self, x: mx.array) -> mx.array:
        B, T, _ = x.shape
        out = mx.fast.scaled_dot_product_attention(
            self.rope(self.q_proj(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3)),
            self.rope(self.k_proj(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3)),
            self.v_proj(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            scale=8**-0.5,
            mask="causal",
        )
        return self.o_proj(out.transpose(0, 2, 1, 3).reshape(B, T, -1))


class MixtralExperts(nn.Module):
    """MixtralExperts (modeling_mixtral.py:56)."""

    def __init__(self):
        super().__init__()
        self.gate_up_proj = mx.zeros((4, 32, 96))
        self.down_proj = mx.zeros((4, 48, 32))

    def __call__(self, router_indices: mx.array, x: mx.array, top_k_weights: mx.array) -> mx.array:
        h = router_indices.reshape(-1)
        order = mx.argsort(h)
        experts = h[order]
        x = mx.gather_mm(
            x[order // 2][:, None], self.gate_up_proj, rhs_indices=experts, sorted_indices=True
        )
        x, h = mx.split(x.squeeze(1), 2, axis=-1)
        x = mx.gather_mm(
            (nn.silu(x) * h)[:, None], self.down_proj, rhs_indices=experts, sorted_indices=True
        )
        x = (x.squeeze(1) * top_k_weights.reshape(-1)[order][:, None])[mx.argsort(order)]
        return mx.sum(x.reshape(-1, 2, 32), axis=1)


class MixtralSparseMoeBlock(nn.Module):
    """MixtralSparseMoeBlock (modeling_mixtral.py:113)."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(32, 4, bias=False)
        self.experts = MixtralExperts()

    def __call__(self, x: mx.array) -> mx.array:
        B, T, _ = x.shape
        x = x.reshape(-1, 32)
        router_top_value, router_indices = topk(mx.softmax(self.gate(x), axis=-1), 2)
        return self.experts(
            router_indices, x, router_top_value / mx.sum(router_top_value, axis=-1, keepdims=True)
        ).reshape(B, T, 32)


class MixtralDecoderLayer(nn.Module):
    """MixtralDecoderLayer (modeling_mixtral.py:330)."""

    def __init__(self):
        super().__init__()
        self.self_attn = MixtralAttention()
        self.mlp = MixtralSparseMoeBlock()
        self.input_layernorm = nn.RMSNorm(32)
        self.post_attention_layernorm = nn.RMSNorm(32)

    def __call__(self, x: mx.array) -> mx.array:
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class MixtralModel(nn.Module):
    """MixtralModel (modeling_mixtral.py:399)."""

    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(50, 32)
        self.layers = [MixtralDecoderLayer() for _ in range(4)]
        self.norm = nn.RMSNorm(32)

    def __call__(self, input_ids: mx.array) -> mx.array:
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class MixtralForCausalLM(nn.Module):
    """MixtralForCausalLM (modeling_mixtral.py:547)."""

    def __init__(self):
        super().__init__()
        self.model = MixtralModel()
        self.lm_head = nn.Linear(32, 50, bias=False)

    def __call__(self, input_ids: mx.array) -> dict[str, mx.array]:
        """input_ids: int64[B, T] -> float32[B, T, 50]"""
        return {"logits": self.lm_head(self.model(input_ids))}


def load(path: str | Path = Path(__file__).parent) -> MixtralForCausalLM:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = MixtralForCausalLM()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
