"""Scaled dot-product attention in its several ATen spellings."""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx
import sympy

from pytorch_to_mlx.graph import Value, call, dims_equal, is_static
from pytorch_to_mlx.graph.dims import PyCall, product
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.rules import broadcast
from pytorch_to_mlx.lower._precision import softmax_along
from pytorch_to_mlx.lower.aten import lowers


@lowers("aten.scaled_dot_product_attention.default")
def scaled_dot_product_attention(
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    """scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None,
    float dropout_p=0., bool is_causal=False, *, float? scale=None, bool enable_gqa=False)
    -> Tensor
    """
    if dropout_p:
        return _dropped(query, key, value, attn_mask, dropout_p, is_causal, scale)
    lead = query.dims[:-2]
    if query.ndim != 4 or any(v.ndim != query.ndim for v in (key, value)):
        flat = _as_4d(query, key, value, attn_mask)
        out = _attend(*flat, is_causal, scale)
        full = broadcast(lead, key.dims[:-2], value.dims[:-2])
        return out.reshape(*full, query.dims[-2], value.dims[-1])
    return _attend(*_same_batch(query, key, value), attn_mask, is_causal, scale)


def _dropped(
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None,
    dropout: float,
    is_causal: bool,
    scale: float | None,
) -> Value:
    """Attention that drops some of its weights, which no kernel of MLX does."""
    scale = _default_scale(query.dims[-1]) if scale is None else scale
    if query.ndim == 4:
        key, value = _heads(key, query.dims[1]), _heads(value, query.dims[1])
    scores = (query * scale) @ call(mx.swapaxes, key, -1, -2)
    how = _mask(query, key, mask, is_causal)
    if isinstance(how, str):
        how = call(mx.tri, query.dims[-2], key.dims[-2], dtype=DType("bool"))
    if how is not None:
        hidden = how.dtype == "bool"
        scores = call(mx.where, how, scores, -math.inf) if hidden else scores + how
    chances = call("ops.dropout", softmax_along(scores, -1), dropout)
    out = chances @ value
    return out if mask is None else call("ops.zero_masked_rows", out, how)


def _as_4d(
    query: Value, key: Value, value: Value, mask: Value | None
) -> tuple[Value, Value, Value, Value | None]:
    """Everything as ``[batch, 1, length, features]``: leading axes merged, one head."""
    lead = broadcast(query.dims[:-2], key.dims[:-2], value.dims[:-2])

    def flat(x: Value) -> Value:
        tail = x.dims[-2:]
        if not _same_dims(x.dims[:-2], lead):
            x = call(mx.broadcast_to, x, (*lead, *tail))
        if len(lead) == 1:
            return call("getitem", x, (slice(None), None))
        return x.reshape(product(lead), 1, *tail)

    if mask is not None and mask.ndim > 2:
        mask = flat(mask)
    return flat(query), flat(key), flat(value), mask


def _same_dims(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    return len(a) == len(b) and all(dims_equal(x, y) for x, y in zip(a, b, strict=True))


def _same_batch(query: Value, key: Value, value: Value) -> tuple[Value, Value, Value]:
    """One batch size, and as many key heads as value heads (MLX repeats both for the queries)."""
    (batch,) = broadcast(query.dims[:1], key.dims[:1], value.dims[:1])
    heads = key.dims[1], value.dims[1]
    if not dims_equal(*heads):
        key, value = (_heads(v, query.dims[1]) for v in (key, value))
    if _single_headed(query) and not _single_headed(key):
        query = call(mx.broadcast_to, query, (query.dims[0], *key.dims[1:2], *query.dims[2:]))

    def batched(x: Value) -> Value:
        if dims_equal(x.dims[0], batch):
            return x
        return call(mx.broadcast_to, x, (batch, *x.dims[1:]))

    return batched(query), batched(key), batched(value)


def _single_headed(x: Value) -> bool:
    return is_static(x.dims[1]) and int(x.dims[1]) == 1


def _heads(x: Value, heads: Any) -> Value:
    return x if dims_equal(x.dims[1], heads) else call(mx.repeat, x, heads // x.dims[1], axis=1)


def _default_scale(features: Any) -> Any:
    if is_static(features):
        return int(features) ** -0.5 if features else 1.0
    return 1 / PyCall(sympy.Symbol("py:math.sqrt"), features)


def _mask(query: Value, key: Value, mask: Value | None, is_causal: bool) -> Any:
    """MLX's mask. torch aligns its causal mask at the top left, MLX at the bottom right."""
    if mask is None and is_causal:
        lengths = query.dims[-2], key.dims[-2]
        return "causal" if dims_equal(*lengths) else call(mx.tri, *lengths, dtype=DType("bool"))
    if mask is not None and mask.dtype != "bool":
        return mask.astype(DType(str(query.dtype)))
    return mask


def _attend(
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None,
    is_causal: bool,
    scale: float | None,
) -> Value:
    scale = _default_scale(query.dims[-1]) if scale is None else scale
    how = _mask(query, key, mask, is_causal)
    given = {} if how is None else {"mask": how}
    out = call(mx.fast.scaled_dot_product_attention, query, key, value, scale=scale, **given)
    # torch gives 0 for a query that may look at no key; MLX gives the mean of the values or NaN.
    return out if mask is None else call("ops.zero_masked_rows", out, how)


def _logsumexp(
    query: Value, key: Value, mask: Value | None, is_causal: bool, scale: float | None
) -> Value:
    """The log of each query's softmax denominator, float32: the second result of fused kernels."""
    scale = _default_scale(query.dims[-1]) if scale is None else scale
    key = _heads(key, query.dims[1])
    order = (*range(key.ndim - 2), key.ndim - 1, key.ndim - 2)
    scores = (query.astype(DType("float32")) * scale) @ key.astype(DType("float32")).transpose(
        *order
    )
    how = _mask(query, key, mask, is_causal)
    if how == "causal":
        how = call(mx.tri, query.dims[-2], key.dims[-2], dtype=DType("bool"))
    if how is not None:
        hidden = how.dtype == "bool"
        scores = call(mx.where, how, scores, -float("inf")) if hidden else scores + how
    return call(mx.logsumexp, scores, axis=-1)


@lowers("aten._scaled_dot_product_flash_attention_for_cpu.default")
def _scaled_dot_product_flash_attention_for_cpu(
    query: Value,
    key: Value,
    value: Value,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Value | None = None,
    scale: float | None = None,
) -> tuple[Value, Value]:
    """_scaled_dot_product_flash_attention_for_cpu(Tensor query, Tensor key, Tensor value, float
    dropout_p=0., bool is_causal=False, *, Tensor? attn_mask=None, float? scale=None) ->
    (Tensor output, Tensor logsumexp)
    """
    out = scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale
    )
    return out, _logsumexp(query, key, attn_mask, is_causal, scale)


@lowers("aten._scaled_dot_product_attention_math.default")
def _scaled_dot_product_attention_math(
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    dropout_mask: Value | None = None,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Value, Value]:
    """_scaled_dot_product_attention_math(Tensor query, Tensor key, Tensor value, Tensor?
    attn_mask=None, float dropout_p=0., bool is_causal=False, Tensor? dropout_mask=None, *,
    float? scale=None, bool enable_gqa=False) -> (Tensor, Tensor)
    """
    out = scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale
    )
    return out, _weights(query, key, attn_mask, is_causal, scale)


def _weights(
    query: Value, key: Value, mask: Value | None, is_causal: bool, scale: float | None
) -> Value:
    """The attention weights (the second result of unfused attention)."""
    scale = _default_scale(query.dims[-1]) if scale is None else scale
    key = _heads(key, query.dims[1]) if key.ndim == 4 else key
    order = (*range(key.ndim - 2), key.ndim - 1, key.ndim - 2)
    scores = (query * scale) @ key.transpose(*order)
    how = _mask(query, key, mask, is_causal)
    if how == "causal":
        how = call(mx.tri, query.dims[-2], key.dims[-2], dtype=DType("bool"))
    if how is None:
        return softmax_along(scores, -1)
    masked = call(mx.where, how, scores, -float("inf")) if how.dtype == "bool" else scores + how
    return call("ops.zero_masked_rows", softmax_along(masked, -1), how)
