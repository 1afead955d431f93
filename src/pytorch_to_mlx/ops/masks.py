"""Attention masks that depend on the length alone."""

from __future__ import annotations

import mlx.core as mx


def sliding_window_mask(length: int, window: int) -> mx.array:
    """Bool [length, length]: each query sees itself and the ``window - 1`` keys before it."""
    distance = mx.arange(length)[:, None] - mx.arange(length)[None]
    return (distance >= 0) & (distance < window)


def local_attention_mask(length: int, radius: int) -> mx.array:
    """Bool [length, length]: each query sees the keys at most ``radius`` before and after it."""
    distance = mx.arange(length)[:, None] - mx.arange(length)[None]
    return mx.abs(distance) <= radius
