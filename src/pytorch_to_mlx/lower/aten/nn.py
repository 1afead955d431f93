"""Linear layers, embeddings, dropout, distances between features."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.lower.aten import Unsupported, lowers
from pytorch_to_mlx.lower.aten._channels import weights


@lowers("aten.linear.default")
def linear(x: Value, weight: Value, bias: Value | None = None) -> Value:
    if weight.ndim == 1:
        y = call(mx.matmul, x, weight)
        return y if bias is None else y + bias
    return call("ops.linear", x, weight, *weights(bias))


@lowers("aten.embedding.default")
def embedding(
    weight: Value,
    indices: Value,
    padding_idx: Any = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Value:
    return call("ops.embedding", weight, indices)


@lowers(
    "aten.dropout.default",
    "aten.feature_dropout",
    "aten.alpha_dropout",
    "aten.feature_alpha_dropout",
)
def dropout(x: Value, p: float, train: bool) -> Value:
    if not train or p == 0:
        return x
    raise Unsupported("dropout that is on at inference; call eval() first, or pass training=False")
