"""Losses, and distances between features."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower._channels import to_last
from pytorch_to_mlx.lower.aten import Unsupported, lowers
from pytorch_to_mlx.lower.aten._common import result_type
from pytorch_to_mlx.lower.aten.creation import filled
from pytorch_to_mlx.ops import losses as ops
from pytorch_to_mlx.ops.ctc import ctc_loss as ops_ctc_loss
from pytorch_to_mlx.ops.reductions import cosine_similarity as ops_cosine_similarity
from pytorch_to_mlx.ops.reductions import distance_norm

REDUCTIONS = ("none", "mean", "sum")
MEAN = 1


def _given(reduction: int, **options: Any) -> dict[str, Any]:
    """The options that are set, and the reduction unless it is the usual mean."""
    kept = {k: v for k, v in options.items() if v is not None}
    return kept if reduction == MEAN else {**kept, "reduction": REDUCTIONS[reduction]}


def _unless(value: Any, default: Any) -> Any:
    """``None`` for the target's own default, so that it is not written."""
    return None if value == default else value


@lowers("aten.mse_loss.default")
def mse_loss(x: Value, target: Value, reduction: int = MEAN) -> Value:
    """mse_loss(Tensor self, Tensor target, int reduction=1) -> Tensor"""
    return call(ops.mse_loss, x, target, **_given(reduction))


@lowers("aten.l1_loss.default")
def l1_loss(x: Value, target: Value, reduction: int = MEAN) -> Value:
    """l1_loss(Tensor self, Tensor target, int reduction=1) -> Tensor"""
    return call(ops.l1_loss, x, target, **_given(reduction))


@lowers("aten.smooth_l1_loss.default")
def smooth_l1_loss(x: Value, target: Value, reduction: int = MEAN, beta: float = 1.0) -> Value:
    """smooth_l1_loss(Tensor self, Tensor target, int reduction=1, float beta=1.) -> Tensor"""
    return call(ops.smooth_l1_loss, x, target, **_given(reduction, beta=_unless(beta, 1.0)))


@lowers("aten.huber_loss.default")
def huber_loss(x: Value, target: Value, reduction: int = MEAN, delta: float = 1.0) -> Value:
    """huber_loss(Tensor self, Tensor target, int reduction=1, float delta=1.) -> Tensor"""
    return call(ops.huber_loss, x, target, **_given(reduction, delta=_unless(delta, 1.0)))


@lowers("aten.kl_div.default")
def kl_div(x: Value, target: Value, reduction: int = MEAN, *, log_target: bool = False) -> Value:
    """kl_div(Tensor self, Tensor target, int reduction=1, *, bool log_target=False) -> Tensor"""
    return call(ops.kl_div, x, target, **_given(reduction, log_target=_unless(log_target, False)))


@lowers("aten.binary_cross_entropy.default")
def binary_cross_entropy(
    x: Value, target: Value, weight: Value | None = None, reduction: int = MEAN
) -> Value:
    """binary_cross_entropy(Tensor self, Tensor target, Tensor? weight=None, int reduction=1) ->
    Tensor
    """
    return call(ops.binary_cross_entropy, x, target, **_given(reduction, weight=weight))


@lowers("aten.binary_cross_entropy_with_logits.default")
def binary_cross_entropy_with_logits(
    x: Value,
    target: Value,
    weight: Value | None = None,
    pos_weight: Value | None = None,
    reduction: int = MEAN,
) -> Value:
    """binary_cross_entropy_with_logits(Tensor self, Tensor target, Tensor? weight=None, Tensor?
    pos_weight=None, int reduction=1) -> Tensor
    """
    given = _given(reduction, weight=weight, pos_weight=pos_weight)
    return call(ops.binary_cross_entropy_with_logits, x, target, **given)


@lowers("aten.soft_margin_loss.default")
def soft_margin_loss(x: Value, target: Value, reduction: int = MEAN) -> Value:
    """soft_margin_loss(Tensor self, Tensor target, int reduction=1) -> Tensor"""
    return call(ops.soft_margin_loss, x, target, **_given(reduction))


@lowers("aten.poisson_nll_loss.default")
def poisson_nll_loss(
    x: Value, target: Value, log_input: bool, full: bool, eps: float, reduction: int
) -> Value:
    """poisson_nll_loss(Tensor input, Tensor target, bool log_input, bool full, float eps, int
    reduction) -> Tensor
    """
    given = _given(
        reduction,
        log_input=_unless(log_input, True),
        full=_unless(full, False),
        eps=_unless(eps, 1e-8),
    )
    return call(ops.poisson_nll_loss, x, target, **given)


@lowers("aten.hinge_embedding_loss.default")
def hinge_embedding_loss(
    x: Value, target: Value, margin: float = 1.0, reduction: int = MEAN
) -> Value:
    """hinge_embedding_loss(Tensor self, Tensor target, float margin=1., int reduction=1) ->
    Tensor
    """
    return call(
        ops.hinge_embedding_loss, x, target, **_given(reduction, margin=_unless(margin, 1.0))
    )


@lowers("aten.margin_ranking_loss.default")
def margin_ranking_loss(
    input1: Value, input2: Value, target: Value, margin: float = 0.0, reduction: int = MEAN
) -> Value:
    """margin_ranking_loss(Tensor input1, Tensor input2, Tensor target, float margin=0., int
    reduction=1) -> Tensor
    """
    given = _given(reduction, margin=_unless(margin, 0.0))
    return call(ops.margin_ranking_loss, input1, input2, target, **given)


@lowers("aten.cosine_embedding_loss.default")
def cosine_embedding_loss(
    input1: Value, input2: Value, target: Value, margin: float = 0.0, reduction: int = MEAN
) -> Value:
    """cosine_embedding_loss(Tensor input1, Tensor input2, Tensor target, float margin=0., int
    reduction=1) -> Tensor
    """
    given = _given(reduction, margin=_unless(margin, 0.0))
    if target.dtype == "uint8":
        target = target.astype(DType("int8"))  # whose -1 is the 255 that torch compares with
    return call(ops.cosine_embedding_loss, input1, input2, target, **given)


@lowers("aten.triplet_margin_loss.default")
def triplet_margin_loss(
    anchor: Value,
    positive: Value,
    negative: Value,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: int = MEAN,
) -> Value:
    """triplet_margin_loss(Tensor anchor, Tensor positive, Tensor negative, float margin=1., float
    p=2., float eps=9.9999999999999995e-07, bool swap=False, int reduction=1) -> Tensor
    """
    given = _given(
        reduction,
        margin=_unless(margin, 1.0),
        p=_unless(p, 2.0),
        eps=_unless(eps, 1e-6),
        swap=_unless(swap, False),
    )
    return call(ops.triplet_margin_loss, anchor, positive, negative, **given)


@lowers("aten.multi_margin_loss.default")
def multi_margin_loss(
    x: Value,
    target: Value,
    p: Any = 1,
    margin: Any = 1,
    weight: Value | None = None,
    reduction: int = MEAN,
) -> Value:
    """multi_margin_loss(Tensor self, Tensor target, Scalar p=1, Scalar margin=1, Tensor?
    weight=None, int reduction=1) -> Tensor
    """
    given = _given(reduction, p=_unless(p, 1), margin=_unless(margin, 1), weight=weight)
    return call(ops.multi_margin_loss, x, target, **given)


@lowers("aten.multilabel_margin_loss.default")
def multilabel_margin_loss(x: Value, target: Value, reduction: int = MEAN) -> Value:
    """multilabel_margin_loss(Tensor self, Tensor target, int reduction=1) -> Tensor"""
    return call(ops.multilabel_margin_loss, x, target, **_given(reduction))


def _classes_last(x: Value) -> Value:
    """``[N, C, ...]`` as ``[N, ..., C]``; ``[C]`` as it is."""
    return x if x.ndim == 1 else to_last(x)


@lowers("aten.cross_entropy_loss.default")
def cross_entropy_loss(
    x: Value,
    target: Value,
    weight: Value | None = None,
    reduction: int = MEAN,
    ignore_index: Any = -100,
    label_smoothing: float = 0.0,
) -> Value:
    """cross_entropy_loss(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, SymInt
    ignore_index=-100, float label_smoothing=0.) -> Tensor
    """
    if DType(str(target.dtype)).is_floating:
        target = _classes_last(target)
    given = _given(
        reduction,
        weight=weight,
        ignore_index=_unless(ignore_index, -100),
        label_smoothing=_unless(label_smoothing, 0.0),
    )
    return call(ops.cross_entropy, _classes_last(x), target, **given)


@lowers("torch_nn._linear_cross_entropy_batch_chunked.default")
def linear_cross_entropy(
    input: Value,
    linear_weight: Value,
    target: Value,
    linear_bias: Value | None,
    weight: Value | None,
    reduction: str,
    ignore_index: int,
    label_smoothing: float,
    *chunking: Any,
) -> tuple[Value, ...]:
    """_linear_cross_entropy_batch_chunked(Tensor input, Tensor linear_weight, Tensor target,
    Tensor? linear_bias, Tensor? weight, str reduction, int ignore_index, float label_smoothing,
    int batch_chunk_size, str acc_policy, ScalarType acc_dtype, bool allow_retain_graph,
    bool compute_input_grad, bool compute_linear_weight_grad, bool compute_linear_bias_grad)
    -> (Tensor, Tensor, Tensor, Tensor)
    """
    if any(flag is True for flag in chunking[-3:]):
        raise Unsupported("a loss that computes gradients; convert under torch.no_grad()")
    logits = call("ops.linear", input, linear_weight, linear_bias)
    number = REDUCTIONS.index(reduction)
    loss = cross_entropy_loss(logits, target, weight, number, ignore_index, label_smoothing)
    dtype = str(input.dtype)
    return loss, filled((0, 0), 0, dtype), filled((0, 0), 0, dtype), filled((0,), 0, dtype)


@lowers("torch_nn._linear_cross_entropy_batch_chunked_no_reduction.default")
def linear_cross_entropy_each(
    input: Value,
    linear_weight: Value,
    target: Value,
    linear_bias: Value | None,
    weight: Value | None,
    ignore_index: int,
    *chunking: Any,
) -> Value:
    """_linear_cross_entropy_batch_chunked_no_reduction(Tensor input, Tensor linear_weight,
    Tensor target, Tensor? linear_bias, Tensor? weight, int ignore_index, int batch_chunk_size,
    str acc_policy, ScalarType acc_dtype) -> Tensor
    """
    logits = call("ops.linear", input, linear_weight, linear_bias)
    return cross_entropy_loss(logits, target, weight, 0, ignore_index)


@lowers("aten.nll_loss.default", "aten.nll_loss2d.default", "aten.nll_loss_nd.default")
def nll_loss(
    x: Value,
    target: Value,
    weight: Value | None = None,
    reduction: int = MEAN,
    ignore_index: Any = -100,
) -> Value:
    """nll_loss(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, SymInt
        ignore_index=-100) -> Tensor
    nll_loss2d(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, SymInt
        ignore_index=-100) -> Tensor
    nll_loss_nd(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, SymInt
        ignore_index=-100) -> Tensor
    """
    given = _given(reduction, weight=weight, ignore_index=_unless(ignore_index, -100))
    return call(ops.nll_loss, _classes_last(x), target, **given)


@lowers("aten.nll_loss_forward.default", "aten.nll_loss2d_forward.default")
def nll_loss_forward(
    x: Value, target: Value, weight: Value | None, reduction: int, ignore_index: Any
) -> tuple[Value, Value]:
    """nll_loss_forward(Tensor self, Tensor target, Tensor? weight, int reduction, SymInt
        ignore_index) -> (Tensor output, Tensor total_weight)
    nll_loss2d_forward(Tensor self, Tensor target, Tensor? weight, int reduction, SymInt
        ignore_index) -> (Tensor output, Tensor total_weight)
    """
    counted = call(mx.not_equal, target, ignore_index)
    if weight is not None:
        ids = call(mx.where, counted, target, 0)
        counted = call(mx.where, counted, call("getitem", weight, (ids,)), 0.0)
    total = call(mx.sum, counted).astype(DType(str(x.dtype)))
    total = total if reduction else total * 0
    return nll_loss(x, target, weight, reduction, ignore_index), total


def _lengths(lengths: Any) -> Value:
    return call(mx.array, tuple(lengths), dtype=DType("int64"))


@lowers("aten.ctc_loss.Tensor", "p2m.ctc_loss.Tensor")
def ctc_loss(
    log_probs: Value,
    targets: Value,
    input_lengths: Value,
    target_lengths: Value,
    blank: int = 0,
    reduction: int = MEAN,
    zero_infinity: bool = False,
) -> Value:
    """ctc_loss.Tensor(Tensor log_probs, Tensor targets, Tensor input_lengths, Tensor
    target_lengths, int blank=0, int reduction=1, bool zero_infinity=False) -> Tensor
    """
    given = _given(reduction, blank=_unless(blank, 0), zero_infinity=_unless(zero_infinity, False))
    return call(ops_ctc_loss, log_probs, targets, input_lengths, target_lengths, **given)


@lowers("aten.ctc_loss.IntList", "p2m.ctc_loss.IntList")
def ctc_loss_int_list(
    log_probs: Value,
    targets: Value,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: int = MEAN,
    zero_infinity: bool = False,
) -> Value:
    """ctc_loss.IntList(Tensor log_probs, Tensor targets, int[] input_lengths, int[]
    target_lengths, int blank=0, int reduction=1, bool zero_infinity=False) -> Tensor
    """
    lengths = _lengths(input_lengths), _lengths(target_lengths)
    return ctc_loss(log_probs, targets, *lengths, blank, reduction, zero_infinity)


@lowers("aten.cosine_similarity.default")
def cosine_similarity(x1: Value, x2: Value, dim: int = 1, eps: float = 1e-8) -> Value:
    """cosine_similarity(Tensor x1, Tensor x2, int dim=1, float eps=1e-08) -> Tensor"""
    given = {} if eps == 1e-8 else {"eps": eps}
    dtype = result_type(x1, x2)  # the norm of integers would be one
    return call(ops_cosine_similarity, x1.astype(dtype), x2.astype(dtype), axis=dim, **given)


@lowers("aten.pairwise_distance.default")
def pairwise_distance(
    x1: Value, x2: Value, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Value:
    """pairwise_distance(Tensor x1, Tensor x2, float p=2., float eps=9.9999999999999995e-07, bool
    keepdim=False) -> Tensor
    """
    given = {k: v for k, v, d in (("p", p, 2.0), ("eps", eps, 1e-6)) if v != d}
    distance = call(distance_norm, x1, x2, **given)
    return call(mx.expand_dims, distance, -1) if keepdim else distance


@lowers("aten.cdist.default")
def cdist(x1: Value, x2: Value, p: float = 2.0, compute_mode: int | None = None) -> Value:
    """cdist(Tensor x1, Tensor x2, float p=2., int? compute_mode=None) -> Tensor"""
    return call("ops.cdist", x1, x2, **({} if p == 2 else {"p": p}))


@lowers("aten._cdist_forward.default")
def _cdist_forward(x1: Value, x2: Value, p: float, compute_mode: int | None) -> Value:
    """_cdist_forward(Tensor x1, Tensor x2, float p, int? compute_mode) -> Tensor"""
    return cdist(x1, x2, p)


@lowers("aten._euclidean_dist.default")
def _euclidean_dist(x1: Value, x2: Value) -> Value:
    """_euclidean_dist(Tensor x1, Tensor x2) -> Tensor"""
    return cdist(x1, x2)


@lowers("aten.pdist.default", "aten._pdist_forward.default")
def pdist(x: Value, p: float = 2.0) -> Value:
    """pdist(Tensor self, float p=2.) -> Tensor
    _pdist_forward(Tensor self, float p=2.) -> Tensor
    """
    return call("ops.pdist", x, **({} if p == 2 else {"p": p}))
