"""The ops of ``models.py`` in MLX, as a user would write them."""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx import implements

_SMALLEST = 1e-30


def _squash(x: mx.array, limit: float) -> mx.array:
    # one round of clipping
    return limit * mx.tanh(x / max(limit, _SMALLEST))


@implements("p2mtest::soft_clip")
def soft_clip(x: mx.array, limit: float = 2.0, rounds: int = 1) -> mx.array:
    """Clips smoothly."""
    for _ in range(rounds):
        x = _squash(x, limit)
    return x


@implements("p2mtest::split_pairs")
def split_pairs(x: mx.array) -> tuple[mx.array, mx.array]:
    """Sums and differences of neighbours."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return even + odd, even - odd
