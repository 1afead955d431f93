"""Linear layers, embeddings, dropout."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower._channels import weights
from pytorch_to_mlx.lower.aten import Unsupported, lowers
from pytorch_to_mlx.lower.aten._common import is_float
from pytorch_to_mlx.lower.aten.matmul import product
from pytorch_to_mlx.ops.indexing import embedding_bag as ops_embedding_bag
from pytorch_to_mlx.ops.indexing import embedding_renorm as ops_embedding_renorm
from pytorch_to_mlx.ops.indexing import one_hot as ops_one_hot

BAG_MODES = ("sum", "mean", "max")


@lowers("aten.linear.default")
def linear(x: Value, weight: Value, bias: Value | None = None) -> Value:
    """linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor"""
    integers = DType(str(weight.dtype)).is_integer
    if weight.ndim == 1 or integers:
        y = product(x, weight if weight.ndim == 1 else weight.transpose(1, 0))
        return y if bias is None else y + bias
    return call("ops.linear", x, weight, *weights(bias))


@lowers("aten.bilinear.default")
def bilinear(input1: Value, input2: Value, weight: Value, bias: Value | None = None) -> Value:
    """bilinear(Tensor input1, Tensor input2, Tensor weight, Tensor? bias=None) -> Tensor"""
    if is_float(input1):
        return call("ops.bilinear", input1, input2, weight, *weights(bias))
    outputs, first, second = weight.dims
    merged = weight.transpose(1, 0, 2).reshape(first, outputs * second)
    left = product(input1, merged).reshape(*input1.dims[:-1], outputs, second)
    made = call(mx.squeeze, product(left, call(mx.expand_dims, input2, -1)), -1)
    return made if bias is None else made + bias


@lowers("aten.embedding.default")
def embedding(
    weight: Value,
    indices: Value,
    padding_idx: Any = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Value:
    """embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1, bool
    scale_grad_by_freq=False, bool sparse=False) -> Tensor
    """
    return call("ops.embedding", weight, indices)


@lowers("aten.embedding_renorm")
def embedding_renorm(
    weight: Value, indices: Value, max_norm: float, norm_type: float = 2.0
) -> Value:
    """embedding_renorm(Tensor self, Tensor indices, float max_norm, float norm_type) -> Tensor"""
    return call(ops_embedding_renorm, weight, indices, max_norm, norm_type)


@lowers("aten.one_hot.default")
def one_hot(x: Value, num_classes: Any = -1) -> Value:
    """one_hot(Tensor self, int num_classes=-1) -> Tensor"""
    return call(ops_one_hot, x, num_classes)


def _bag(
    weight: Value,
    indices: Value,
    offsets: Value,
    mode: int,
    per_sample_weights: Value | None,
    include_last_offset: bool,
    padding_idx: int | None,
) -> tuple[Any, ...]:
    """The bags; torch's three other results serve the gradient only and are not computed."""
    given: dict[str, Any] = {"mode": BAG_MODES[mode]}
    if per_sample_weights is not None:
        given["per_sample_weights"] = per_sample_weights
    if include_last_offset:
        given["include_last_offset"] = True
    if padding_idx is not None and padding_idx != -1:
        given["padding_idx"] = padding_idx
    return call(ops_embedding_bag, weight, indices, offsets, **given), None, None, None


@lowers("aten.embedding_bag.default")
def embedding_bag(
    weight: Value,
    indices: Value,
    offsets: Value,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Value | None = None,
    include_last_offset: bool = False,
) -> tuple[Any, ...]:
    """embedding_bag(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq=False,
    int mode=0, bool sparse=False, Tensor? per_sample_weights=None, bool
    include_last_offset=False) -> (Tensor, Tensor, Tensor, Tensor)
    """
    return _bag(weight, indices, offsets, mode, per_sample_weights, include_last_offset, None)


@lowers("aten.embedding_bag.padding_idx")
def embedding_bag_padding_idx(
    weight: Value,
    indices: Value,
    offsets: Value,
    scale_grad_by_freq: bool,
    mode: int,
    sparse: bool,
    per_sample_weights: Value | None,
    include_last_offset: bool,
    padding_idx: int | None,
) -> tuple[Any, ...]:
    """embedding_bag.padding_idx(Tensor weight, Tensor indices, Tensor offsets, bool
    scale_grad_by_freq, int mode, bool sparse, Tensor? per_sample_weights, bool
    include_last_offset, int? padding_idx) -> (Tensor, Tensor, Tensor, Tensor)

    Here a negative ``padding_idx`` counts from the end.
    """
    if padding_idx is not None and padding_idx < 0:
        padding_idx = weight.dims[0] + padding_idx
    rest = per_sample_weights, include_last_offset, padding_idx
    return _bag(weight, indices, offsets, mode, *rest)


@lowers("aten._embedding_bag.default", "aten._embedding_bag_forward_only.default")
def _embedding_bag(
    weight: Value,
    indices: Value,
    offsets: Value,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Value | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> tuple[Any, ...]:
    """_embedding_bag(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq=False,
        int mode=0, bool sparse=False, Tensor? per_sample_weights=None, bool
        include_last_offset=False, int padding_idx=-1) -> (Tensor, Tensor, Tensor, Tensor)
    _embedding_bag_forward_only(Tensor weight, Tensor indices, Tensor offsets, bool
        scale_grad_by_freq=False, int mode=0, bool sparse=False, Tensor?
        per_sample_weights=None, bool include_last_offset=False, int padding_idx=-1) -> (Tensor,
        Tensor, Tensor, Tensor)
    """
    rest = per_sample_weights, include_last_offset, padding_idx
    return _bag(weight, indices, offsets, mode, *rest)


@lowers("aten.dropout.default")
def dropout(x: Value, p: float, train: bool) -> Value:
    """dropout(Tensor input, float p, bool train) -> Tensor"""
    return call("ops.dropout", x, p) if train and p > 0 else x


ACTIVE_DROPOUT = "a dropout of whole features or of SELU that is on at inference; call eval() first"


@lowers(
    "aten.feature_dropout.default",
    "aten.alpha_dropout.default",
    "aten.feature_alpha_dropout.default",
)
def special_dropout(x: Value, p: float, train: bool) -> Value:
    """feature_dropout(Tensor input, float p, bool train) -> Tensor
    alpha_dropout(Tensor input, float p, bool train) -> Tensor
    feature_alpha_dropout(Tensor input, float p, bool train) -> Tensor
    """
    if train and p > 0:
        raise Unsupported(ACTIVE_DROPOUT)
    return x


@lowers("aten.native_dropout.default")
def native_dropout(x: Value, p: float, train: bool | None) -> tuple[Value, Value]:
    """native_dropout(Tensor input, float p, bool? train) -> (Tensor, Tensor)"""
    kept = call(mx.ones_like, x).astype(DType("bool"))
    if train is False or p == 0:
        return x, kept
    kept = call(mx.random.bernoulli, 1.0 - p, tuple(x.dims))
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return call(mx.where, kept, x * scale, call(mx.zeros_like, x)), kept
