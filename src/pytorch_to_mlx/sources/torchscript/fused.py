"""Fused transformer kernels, which traces without gradients hold, as the ops they stand for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def native_multi_head_attention(
    query: Any,
    key: Any,
    value: Any,
    embed_dim: int,
    num_head: int,
    qkv_weight: Any,
    qkv_bias: Any,
    proj_weight: Any,
    proj_bias: Any,
    mask: Any = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Any, Any]:
    """``aten::_native_multi_head_attention``: [B, T, E] each; the output and the weights (or None).

    ``mask_type``: 0 is a mask [T, T] over positions, 1 one [B, T] over keys, 2 one for all heads.
    """
    import torch
    from torch.nn import functional

    weights = qkv_weight.chunk(3)
    biases = (None,) * 3 if qkv_bias is None else qkv_bias.chunk(3)
    size = embed_dim // num_head
    q, k, v = (
        functional.linear(x, w, b).unflatten(-1, (num_head, size)).transpose(1, 2)
        for x, w, b in zip((query, key, value), weights, biases, strict=True)
    )
    if mask is not None and mask_type == 1:
        mask = mask[:, None, None, :]
    if not need_weights:
        allowed = _additive(mask, q)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        scores = None
    else:
        logits = q @ k.transpose(-2, -1) / math.sqrt(size)
        if mask is not None:
            logits = logits + _additive(mask, q)
        scores = torch.softmax(logits, dim=-1)
        attended = scores @ v
        scores = scores.mean(dim=1) if average_attn_weights else scores
    return functional.linear(attended.transpose(1, 2).flatten(2), proj_weight, proj_bias), scores


def _additive(mask: Any, like: Any) -> Any:
    """A mask to add: bool ones (True: leave out) as minus infinity."""
    import torch

    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -math.inf)


def transformer_encoder_layer(
    src: Any,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Any,
    qkv_bias: Any,
    proj_weight: Any,
    proj_bias: Any,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Any,
    norm_bias_1: Any,
    norm_weight_2: Any,
    norm_bias_2: Any,
    ffn_weight_1: Any,
    ffn_bias_1: Any,
    ffn_weight_2: Any,
    ffn_bias_2: Any,
    mask: Any = None,
    mask_type: int | None = None,
) -> Any:
    """``aten::_transformer_encoder_layer_fwd``: [B, T, E] to the same."""
    from torch.nn import functional

    def attend(x: Any) -> Any:
        projections = (qkv_weight, qkv_bias, proj_weight, proj_bias)
        heads = (embed_dim, num_heads)
        out, _ = native_multi_head_attention(
            x, x, x, *heads, *projections, mask, need_weights=False, mask_type=mask_type
        )
        return out

    def feed(x: Any) -> Any:
        h = functional.linear(x, ffn_weight_1, ffn_bias_1)
        h = functional.gelu(h) if use_gelu else functional.relu(h)
        return functional.linear(h, ffn_weight_2, ffn_bias_2)

    def norm(x: Any, weight: Any, bias: Any) -> Any:
        return functional.layer_norm(x, (embed_dim,), weight, bias, eps)

    if norm_first:
        src = src + attend(norm(src, norm_weight_1, norm_bias_1))
        return src + feed(norm(src, norm_weight_2, norm_bias_2))
    src = norm(src + attend(src), norm_weight_1, norm_bias_1)
    return norm(src + feed(src), norm_weight_2, norm_bias_2)


#: By name of the ``aten`` op.
FUSED: dict[str, Callable[..., Any]] = {
    "_native_multi_head_attention": native_multi_head_attention,
    "_transformer_encoder_layer_fwd": transformer_encoder_layer,
}
