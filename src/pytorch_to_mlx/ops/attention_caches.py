"""Attention with rotary positions and caches whose rows have lengths of their own."""

from __future__ import annotations

import mlx.core as mx


def rotate_pairs(x: mx.array, cos: mx.array, sin: mx.array, interleaved: bool = False) -> mx.array:
    """Turns pairs among the first features of ``x`` [.., T, D] by angles [.., T, pairs].

    A pair is a feature and the one half the turned features on, or with ``interleaved`` the next.
    """
    count = 2 * cos.shape[-1]
    turned, rest = mx.split(x, [count], axis=-1)
    if interleaved:
        a, b = turned[..., 0::2], turned[..., 1::2]
    else:
        a, b = mx.split(turned, 2, axis=-1)
    pair = [a * cos - b * sin, b * cos + a * sin]
    if interleaved:
        turned = mx.stack(pair, axis=-1).reshape(turned.shape)
    else:
        turned = mx.concatenate(pair, axis=-1)
    return mx.concatenate([turned, rest], axis=-1) if rest.size else turned


def write_rows(cache: mx.array | None, new: mx.array, start: mx.array, length: int) -> mx.array:
    """A cache [B, H, P, D] grown to ``length``, with ``new`` [B, H, T, D] at each row's ``start``
    [B]."""
    batch, heads, count, features = new.shape
    if cache is None:
        cache = mx.zeros((batch, heads, 0, features), dtype=new.dtype)
    missing = max(length - cache.shape[2], 0)
    cache = mx.pad(cache, [(0, 0), (0, 0), (0, missing), (0, 0)])
    places = start.reshape(-1, 1, 1, 1) + mx.arange(count).reshape(1, 1, -1, 1)
    return mx.put_along_axis(cache, mx.broadcast_to(places, new.shape), new, axis=2)


def causal_rows_mask(start: mx.array, count: int, keys: mx.array, window: int = 0) -> mx.array:
    """Which of ``keys`` [B, H, S, D] the ``count`` queries from each row's ``start`` [B] on may
    look at: [B, 1, count, S] booleans; ``window`` limits them to the latest so many."""
    query = start.reshape(-1, 1, 1, 1) + mx.arange(count).reshape(1, 1, -1, 1)
    key = mx.arange(keys.shape[2])
    seen = key <= query
    return seen & (key > query - window) if window else seen


def capped_attention(
    q: mx.array, k: mx.array, v: mx.array, scale: float, mask: mx.array, softcap: float
) -> mx.array:
    """Attention whose scores are bounded by ``softcap`` through tanh; ``mask`` holds booleans, or
    numbers to add."""
    repeats = q.shape[1] // k.shape[1]
    k, v = mx.repeat(k, repeats, axis=1), mx.repeat(v, repeats, axis=1)
    scores = (q * scale) @ k.swapaxes(-1, -2)
    scores = mx.tanh(scores / softcap) * softcap
    scores = mx.where(mask, scores, -mx.inf) if mask.dtype == mx.bool_ else scores + mask
    return mx.softmax(scores, axis=-1, precise=True) @ v
