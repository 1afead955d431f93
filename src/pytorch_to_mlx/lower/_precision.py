"""What is computed in float32 though its operands are half types."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dtypes import DType


def is_half(x: Value) -> bool:
    return x.dtype in ("float16", "bfloat16")


def in_single(x: Value, compute: Callable[[Value], Value]) -> Value:
    """``compute(x)``; of half types in float32, as torch does: MLX's own sums round, and overflow
    in float16.
    """
    if not is_half(x):
        return compute(x)
    return compute(x.astype(DType("float32"))).astype(DType(str(x.dtype)))


def softmax_along(x: Value, axis: int) -> Value:
    """``mx.softmax``, which accumulates half types in float32 only where it is told to."""
    return call(mx.softmax, x, axis=axis, **({"precise": True} if is_half(x) else {}))
