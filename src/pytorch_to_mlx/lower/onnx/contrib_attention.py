"""Attention as ONNX Runtime's own ops have it (com.microsoft)."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dims import dims_equal, free_symbols, is_static
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._common import call_as, cast, fresh, getitem, ints
from pytorch_to_mlx.ops.attention_caches import (
    capped_attention,
    causal_rows_mask,
    rotate_pairs,
    write_rows,
)

MICROSOFT = "com.microsoft"
ALL = slice(None)


def split_heads(x: Value, heads: int) -> Value:
    """[B, T, H * D] as [B, H, T, D]."""
    batch, length, features = x.dims
    return x.reshape(batch, length, heads, features // heads).transpose(0, 2, 1, 3)


def join_heads(x: Value) -> Value:
    """[B, H, T, D] as [B, T, H * D]."""
    batch, heads, length, features = x.dims
    return x.transpose(0, 2, 1, 3).reshape(batch, length, heads * features)


def default_scale(features: Any) -> float:
    """Raises: Unsupported where only the running model knows how many features a head has."""
    if not is_static(features):
        raise Unsupported("heads of a size that the model does not state")
    return int(features) ** -0.5


def one_each(lengths: Any, batch: Any) -> bool:
    """Whether there is one length for each row, as far as sizes tell: other forms hold more."""
    size = lengths.dims[0]
    both = free_symbols(size) == free_symbols(batch)
    return dims_equal(size, batch) or not both


def key_mask(mask: Value, keys: Any, queries: Any, hidden: float) -> Value:
    """What a mask of lengths [B], keys [B, S], or queries and keys ([B, T, S], [B, 1, M, M]) adds
    to the scores [B, H, T, S].

    Raises:
        Unsupported: lengths with starts.
    """
    if mask.ndim == 1:
        places = call(mx.arange, keys, dtype=DType("int32"))
        seen = call(mx.less, places, mask.reshape(-1, 1, 1, 1))
    else:
        seen = call(mx.greater, mask, 0)
        if mask.ndim == 4:
            rows = slice(keys - queries, keys)
            seen = getitem(seen, ALL, ALL, rows, slice(None, keys))
        else:
            seen = seen.reshape(mask.dims[0], 1, *((1,) if mask.ndim == 2 else ()), *mask.dims[1:])
    return call(mx.where, seen, 0.0, hidden)


def attend(
    q: Value, k: Value, v: Value, scale: float | None, added: Value | None, causal: bool
) -> Value:
    """Attention of [B, H, T, D] arrays; ``added`` goes to the scores. Queries are the last keys."""
    given: dict[str, Any] = {}
    if added is not None:
        given["mask"] = cast(added, str(q.dtype))
    if causal:
        given["mask"] = _causal(q, k, given.get("mask"))
    factor = scale or default_scale(q.dims[-1])
    out: Value = call(mx.fast.scaled_dot_product_attention, q, k, v, scale=factor, **given)
    return out


def _causal(q: Value, k: Value, added: Value | None) -> Any:
    if added is None:
        return "causal"
    lengths = q.dims[-2], k.dims[-2]
    seen = call(mx.tri, *lengths, k=lengths[1] - lengths[0], dtype=DType("bool"))
    return call(mx.where, seen, added, -float("inf"))


def _sum(*parts: Value | None) -> Value | None:
    total: Value | None = None
    for part in parts:
        if part is not None:
            total = part if total is None else total + part
    return total


def _after(past: Value | None, new: Value) -> Value:
    return new if past is None else call(mx.concatenate, (past, new), axis=2)


@lowers("Attention", domain=MICROSOFT)
def attention(
    input: Value,
    weights: Value,
    bias: Value | None = None,
    mask_index: Value | None = None,
    past: Value | None = None,
    attention_bias: Value | None = None,
    past_sequence_length: Value | None = None,
    *,
    num_heads: int,
    qkv_hidden_sizes: tuple[int, ...] = (),
    scale: float = 0.0,
    unidirectional: int = 0,
    mask_filter_value: float = -10000.0,
    do_rotary: int = 0,
    rotary_embedding_dim: int = 0,
    past_present_share_buffer: int = 0,
) -> tuple[Any, ...]:
    """com.microsoft.Attention -> (output, present); one product makes queries, keys and values."""
    if do_rotary or past_present_share_buffer or past_sequence_length is not None:
        raise Unsupported("Attention with rotary positions or a shared buffer")
    joined = call(mx.matmul, input, weights)
    joined = joined if bias is None else joined + bias
    return attend_joined(
        joined, mask_index, past, attention_bias, num_heads, qkv_hidden_sizes,
        scale, bool(unidirectional), mask_filter_value,
    )  # fmt: skip


def attend_joined(
    joined: Value,
    mask_index: Value | None,
    past: Value | None,
    attention_bias: Value | None,
    heads: int,
    sizes: tuple[int, ...],
    scale: float,
    causal: bool,
    hidden: float,
) -> tuple[Any, ...]:
    """Attention of queries, keys and values that lie side by side in [B, T, features]."""
    ends = mask_index is not None and mask_index.ndim == 1
    if ends and not one_each(mask_index, joined.dims[0]):
        raise Unsupported("a mask of ends and starts")
    each = joined.dims[-1] // 3
    q, k, v = (split_heads(p, heads) for p in parts(joined, *(sizes or (each, each, each))))
    if past is not None:
        k, v = (_after(getitem(past, i), new) for i, new in enumerate((k, v)))
    mask = None
    if mask_index is not None:
        mask = key_mask(mask_index, k.dims[2], q.dims[2], hidden)
    out = join_heads(attend(q, k, v, scale, _sum(mask, attention_bias), causal))
    return out, call(mx.stack, (k, v))


def parts(x: Value, *sizes: Any) -> list[Value]:
    """Consecutive pieces of the last axis."""
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    lead = (ALL,) * (x.ndim - 1)
    return [
        getitem(x, *lead, slice(end - size or None, end))
        for size, end in zip(sizes, ends, strict=True)
    ]


@lowers("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(
    query: Value,
    key: Value | None = None,
    value: Value | None = None,
    bias: Value | None = None,
    key_padding_mask: Value | None = None,
    attention_bias: Value | None = None,
    past_key: Value | None = None,
    past_value: Value | None = None,
    past_sequence_length: Value | None = None,
    cache_indirection: Value | None = None,
    *,
    num_heads: int,
    scale: float = 0.0,
    unidirectional: int = 0,
    mask_filter_value: float = -10000.0,
) -> tuple[Any, ...]:
    """com.microsoft.MultiHeadAttention -> (output, present_key, present_value)"""
    if past_sequence_length is not None or cache_indirection is not None:
        raise Unsupported("MultiHeadAttention with a shared buffer")
    q, k, v = _three(query, key, value, bias, num_heads)
    k, v = _after(past_key, k), _after(past_value, v)
    mask = None
    if key_padding_mask is not None:
        if key_padding_mask.ndim == 1 and not one_each(key_padding_mask, query.dims[0]):
            raise Unsupported("a padding mask of cumulated lengths")
        mask = key_mask(key_padding_mask, k.dims[2], q.dims[2], mask_filter_value)
    out = attend(q, k, v, scale, _sum(mask, attention_bias), bool(unidirectional))
    return join_heads(out), k, v


def _three(
    query: Value, key: Value | None, value: Value | None, bias: Value | None, heads: int
) -> list[Value]:
    """Queries, keys and values as [B, H, T, D], from any of the forms they may come in.

    Keys and values that come by head, from a cache, have their bias already.
    """
    if query.ndim == 5:  # [B, T, H, 3, D]
        given = [_joined(getitem(query, ALL, ALL, ALL, i)) for i in range(3)]
    elif key is not None and key.ndim == 5:  # [B, S, H, 2, D]
        given = [query, *(_joined(getitem(key, ALL, ALL, ALL, i)) for i in range(2))]
    elif key is not None and value is not None:
        given = [query, key, value]
    else:
        raise Unsupported("MultiHeadAttention without keys or values")
    if bias is not None:
        each = given[0].dims[-1]
        added = parts(bias, each, each, bias.dims[0] - 2 * each)
        both = zip(given, added, strict=True)
        given = [x + b if x.ndim == 3 else x for x, b in both]
    return [split_heads(x, heads) if x.ndim == 3 else x for x in given]


def _joined(x: Value) -> Value:
    batch, length, heads, features = x.dims
    return x.reshape(batch, length, heads * features)


@lowers("RotaryEmbedding", domain=MICROSOFT)
def rotary_embedding(
    input: Value,
    position_ids: Value,
    cos_cache: Value,
    sin_cache: Value,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    is_packed_batching: int = 0,
    scale: float = 1.0,
) -> Value:
    """com.microsoft.RotaryEmbedding(T input, int64 position_ids, T cos_cache, T sin_cache)"""
    if is_packed_batching:
        raise Unsupported("RotaryEmbedding of packed batches")
    if input.ndim == 4:
        return rotated(input, position_ids, cos_cache, sin_cache, bool(interleaved))
    heads = num_heads or input.dims[-1] // (2 * cos_cache.dims[-1])
    x = split_heads(input, heads)
    return join_heads(rotated(x, position_ids, cos_cache, sin_cache, bool(interleaved)))


def rotated(x: Value, positions: Value, cos: Value, sin: Value, interleaved: bool) -> Value:
    """``x`` [B, H, T, D] turned by the angles of positions [B, T], or [1]: the first one."""
    if positions.ndim == 1:
        places = call(mx.arange, x.dims[2], dtype=DType("int32"))
        positions = (positions + places).reshape(1, x.dims[2])
    angles = [call(mx.expand_dims, call(mx.take, c, positions, axis=0), 1) for c in (cos, sin)]
    extra = (True,) if interleaved else ()
    out: Value = call_as(rotate_pairs, [(x.dims, str(x.dtype))], x, *angles, *extra)
    return out


@lowers("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(
    query: Value,
    key: Value | None,
    value: Value | None,
    past_key: Value | None,
    past_value: Value | None,
    seqlens_k: Value,
    total_sequence_length: Any,
    cos_cache: Value | None = None,
    sin_cache: Value | None = None,
    position_ids: Value | None = None,
    attention_bias: Value | None = None,
    head_sink: Value | None = None,
    *,
    num_heads: int,
    kv_num_heads: int,
    scale: float = 0.0,
    softcap: float = 0.0,
    do_rotary: int = 0,
    rotary_interleaved: int = 0,
    local_window_size: int = -1,
    smooth_softmax: int = 0,
    k_quant_type: str = "NONE",
    v_quant_type: str = "NONE",
    kv_cache_bit_width: int = 0,
    qk_output: int = 0,
    causal: int = 1,
) -> tuple[Any, ...]:
    """com.microsoft.GroupQueryAttention -> (output, present_key, present_value); row ``b`` holds
    ``seqlens_k[b] + 1`` keys after the call."""
    if smooth_softmax > 0 or qk_output or (k_quant_type, v_quant_type) != ("NONE", "NONE"):
        raise Unsupported("smooth softmax, scores as an output, or quantized caches")
    if not causal or (head_sink is not None and softcap):
        raise Unsupported("attention that is not causal, or head sinks beside a softcap")
    if key is None or value is None:
        each = query.dims[-1] // (num_heads + 2 * kv_num_heads)
        sizes = (num_heads * each, kv_num_heads * each, kv_num_heads * each)
        query, key, value = parts(query, *sizes)
    q, k = split_heads(query, num_heads), split_heads(key, kv_num_heads)
    v = split_heads(value, kv_num_heads)
    length = q.dims[2]
    start = call(mx.maximum, cast(seqlens_k, "int32").reshape(-1) + (1 - length), 0)
    if do_rotary and cos_cache is not None and sin_cache is not None:
        if position_ids is None:
            places = call(mx.arange, length, dtype=DType("int32"))
            position_ids = start.reshape(-1, 1) + places
        turn = (position_ids, cos_cache, sin_cache, bool(rotary_interleaved))
        q, k = rotated(q, *turn), rotated(k, *turn)
    (total,) = ints(total_sequence_length)
    keys = _cached_length(past_key, total)
    cached = (*k.dims[:2], keys, k.dims[3])
    present = [
        call_as(write_rows, [(cached, str(new.dtype))], past, new, start, total)
        for past, new in ((past_key, k), (past_value, v))
    ]
    window = (local_window_size,) if local_window_size > 0 else ()
    seen_dims = (start.dims[0], 1, length, keys)
    mask = call_as(causal_rows_mask, [(seen_dims, "bool")], start, length, present[0], *window)
    if attention_bias is not None:
        mask = call(mx.where, mask, attention_bias, -float("inf"))
    factor = scale or default_scale(q.dims[-1])
    if softcap:
        result = (q.dims, str(q.dtype))
        out = call_as(capped_attention, [result], q, *present, factor, mask, softcap)
    else:
        how, sinks = mx.fast.scaled_dot_product_attention, {}
        if head_sink is not None:
            sinks["sinks"] = cast(head_sink, str(q.dtype))
        out = call(how, q, *present, scale=factor, mask=mask, **sinks)
    return join_heads(out), *present


def _cached_length(past: Value | None, total: Any) -> Any:
    """How long a cache is after the call: it only grows."""
    if past is None:
        return total
    if is_static(total) and is_static(past.dims[2]):
        return max(int(total), int(past.dims[2]))
    return fresh("keys")
