"""Losses of ``torch.nn.functional``. Classes are the last axis (torch has them second)."""

from __future__ import annotations

import math

import mlx.core as mx

from pytorch_to_mlx.ops.activations import log_sigmoid, log_softmax
from pytorch_to_mlx.ops.elementwise import xlogy
from pytorch_to_mlx.ops.reductions import distance_norm, mean_of


def reduce_loss(loss: mx.array, reduction: str) -> mx.array:
    """``reduction`` is "none", "mean" or "sum"."""
    if reduction == "none":
        return loss
    return mean_of(loss) if reduction == "mean" else mx.sum(loss)


def nll_loss(
    log_probs: mx.array,
    target: mx.array,
    weight: mx.array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> mx.array:
    """``nll_loss`` and ``nll_loss2d``: ``log_probs`` [..., C], class ids [...]."""
    kept = target != ignore_index
    safe = mx.where(kept, target, 0)
    picked = -mx.take_along_axis(log_probs, mx.expand_dims(safe, -1), axis=-1)[..., 0]
    scale = kept.astype(log_probs.dtype) if weight is None else mx.where(kept, weight[safe], 0)
    loss = mx.where(kept, picked * scale, 0)
    if reduction == "mean":
        return mx.sum(loss) / mx.sum(scale)
    return reduce_loss(loss, reduction)


def cross_entropy(
    logits: mx.array,
    target: mx.array,
    weight: mx.array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> mx.array:
    """``cross_entropy``: ``logits`` [..., C]; target class ids [...] or probabilities [..., C]."""
    classes = logits.shape[-1]
    log_probs = log_softmax(logits, -1)
    if mx.issubdtype(target.dtype, mx.floating):
        target = target * (1 - label_smoothing) + label_smoothing / classes
        loss = -mx.sum(log_probs * (target if weight is None else target * weight), axis=-1)
        return reduce_loss(loss, reduction)
    hard = nll_loss(log_probs, target, weight, ignore_index, reduction)
    if label_smoothing == 0:
        return hard
    kept = target != ignore_index
    smooth = -mx.sum(log_probs if weight is None else log_probs * weight, axis=-1)
    smooth = mx.where(kept, smooth, 0)
    if reduction == "mean":
        scale = kept.astype(logits.dtype)
        if weight is not None:
            scale = mx.where(kept, weight[mx.where(kept, target, 0)], 0)
        smooth = mx.sum(smooth) / mx.sum(scale)
    else:
        smooth = reduce_loss(smooth, reduction)
    return (1 - label_smoothing) * hard + (label_smoothing / classes) * smooth


def mse_loss(x: mx.array, target: mx.array, reduction: str = "mean") -> mx.array:
    """Squared difference."""
    return reduce_loss(mx.square(x - target), reduction)


def l1_loss(x: mx.array, target: mx.array, reduction: str = "mean") -> mx.array:
    """Absolute difference."""
    return reduce_loss(mx.abs(x - target), reduction)


def huber_loss(
    x: mx.array, target: mx.array, reduction: str = "mean", delta: float = 1.0
) -> mx.array:
    """Half the squared difference up to ``delta``, linear beyond."""
    gap = mx.abs(x - target)
    loss = mx.where(gap <= delta, 0.5 * mx.square(gap), delta * (gap - 0.5 * delta))
    return reduce_loss(loss, reduction)


def smooth_l1_loss(
    x: mx.array, target: mx.array, reduction: str = "mean", beta: float = 1.0
) -> mx.array:
    """Huber loss over ``beta``; the absolute difference for ``beta`` 0."""
    gap = mx.abs(x - target)
    if beta == 0:
        return reduce_loss(gap, reduction)
    loss = mx.where(gap < beta, 0.5 * mx.square(gap) / beta, gap - 0.5 * beta)
    return reduce_loss(loss, reduction)


def kl_div(
    x: mx.array, target: mx.array, reduction: str = "mean", log_target: bool = False
) -> mx.array:
    """``kl_div`` of log-probabilities ``x``; ``reduction`` may also be "batchmean"."""
    if log_target:
        loss = mx.exp(target) * (target - x)
    else:
        loss = xlogy(target, target) - target * x
    if reduction == "batchmean":
        return mx.sum(loss) / x.shape[0]
    return reduce_loss(loss, reduction)


def binary_cross_entropy(
    x: mx.array, target: mx.array, weight: mx.array | None = None, reduction: str = "mean"
) -> mx.array:
    """Of probabilities; the logarithms are held above -100, as torch does."""
    log_yes, log_no = mx.maximum(mx.log(x), -100), mx.maximum(mx.log1p(-x), -100)
    loss = (target - 1) * log_no - target * log_yes
    return reduce_loss(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(
    x: mx.array,
    target: mx.array,
    weight: mx.array | None = None,
    pos_weight: mx.array | None = None,
    reduction: str = "mean",
) -> mx.array:
    """Of logits; ``pos_weight`` scales the positive part."""
    scale = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    loss = (1 - target) * x - scale * log_sigmoid(x)
    return reduce_loss(loss if weight is None else loss * weight, reduction)


def poisson_nll_loss(
    x: mx.array,
    target: mx.array,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> mx.array:
    """Poisson negative log-likelihood; ``full`` adds Stirling's term."""
    loss = mx.exp(x) - target * x if log_input else x - target * mx.log(x + eps)
    if full:
        safe = mx.maximum(target, 1)
        stirling = safe * mx.log(safe) - safe + 0.5 * mx.log(2 * math.pi * safe)
        loss = loss + mx.where(target > 1, stirling, 0)
    return reduce_loss(loss, reduction)


def gaussian_nll_loss(
    x: mx.array,
    target: mx.array,
    var: mx.array,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> mx.array:
    """Gaussian negative log-likelihood; ``var`` has the shape of ``x`` or broadcasts to it."""
    var = mx.maximum(var, eps)
    loss = 0.5 * (mx.log(var) + mx.square(x - target) / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduce_loss(loss, reduction)


def hinge_embedding_loss(
    x: mx.array, target: mx.array, margin: float = 1.0, reduction: str = "mean"
) -> mx.array:
    """``x`` where the target is 1, ``max(0, margin - x)`` where it is -1."""
    loss = mx.where(target != 1, mx.maximum(margin - x, 0), 0)
    return reduce_loss(loss + mx.where(target != -1, x, 0), reduction)


def soft_margin_loss(x: mx.array, target: mx.array, reduction: str = "mean") -> mx.array:
    """``log(1 + exp(-target * x))``."""
    return reduce_loss(mx.log1p(mx.exp(-target * x)), reduction)


def margin_ranking_loss(
    x1: mx.array, x2: mx.array, target: mx.array, margin: float = 0.0, reduction: str = "mean"
) -> mx.array:
    """``max(0, -target * (x1 - x2) + margin)``."""
    return reduce_loss(mx.maximum(-target * (x1 - x2) + margin, 0), reduction)


def multi_margin_loss(
    x: mx.array,
    target: mx.array,
    p: int = 1,
    margin: float = 1.0,
    weight: mx.array | None = None,
    reduction: str = "mean",
) -> mx.array:
    """Multi-class hinge loss of ``x`` [..., C] and class ids [...]."""
    wanted = mx.take_along_axis(x, mx.expand_dims(target, -1), axis=-1)
    gap = mx.maximum(margin - wanted + x, 0)
    gap = mx.square(gap) if p == 2 else gap
    if weight is not None:
        gap = gap * mx.expand_dims(weight[target], -1)
    others = mx.arange(x.shape[-1]) != mx.expand_dims(target, -1)
    return reduce_loss(mx.sum(mx.where(others, gap, 0), axis=-1) / x.shape[-1], reduction)


def multilabel_margin_loss(x: mx.array, target: mx.array, reduction: str = "mean") -> mx.array:
    """Multi-label hinge loss: ``target`` [..., C] lists class ids up to the first -1."""
    x, target = (v if v.ndim else v[None] for v in (x, target))
    classes = x.shape[-1]
    listed = mx.cumsum((target < 0).astype(mx.int32), axis=-1) == 0
    safe = mx.where(listed, target, 0)
    ids = mx.arange(classes)
    hits = (mx.expand_dims(safe, -1) == ids) & mx.expand_dims(listed, -1)
    is_label = mx.any(hits, axis=-2)
    wanted = mx.take_along_axis(x, safe, axis=-1)
    gap = mx.maximum(1 - mx.expand_dims(wanted, -1) + mx.expand_dims(x, -2), 0)
    counted = mx.expand_dims(listed, -1) & mx.logical_not(mx.expand_dims(is_label, -2))
    loss = mx.sum(mx.where(counted, gap, 0), axis=(-1, -2)) / classes
    return reduce_loss(loss, reduction)


def multilabel_soft_margin_loss(
    x: mx.array, target: mx.array, weight: mx.array | None = None, reduction: str = "mean"
) -> mx.array:
    """Mean over the classes [..., C] of the logistic loss."""
    loss = -(target * log_sigmoid(x) + (1 - target) * log_sigmoid(-x))
    loss = loss if weight is None else loss * weight
    return reduce_loss(mean_of(loss, -1), reduction)


def cosine_embedding_loss(
    x1: mx.array, x2: mx.array, target: mx.array, margin: float = 0.0, reduction: str = "mean"
) -> mx.array:
    """``1 - cos`` where the target is 1, ``max(0, cos - margin)`` where it is -1."""
    # torch adds its epsilon to the squared norms here, unlike in cosine_similarity.
    products = mx.sum(x1 * x2, axis=-1)
    sizes = (mx.sum(mx.square(x1), axis=-1) + 1e-12) * (mx.sum(mx.square(x2), axis=-1) + 1e-12)
    cosine = products / mx.sqrt(sizes)
    apart = mx.where(target == -1, mx.maximum(cosine - margin, 0), 0)
    return reduce_loss(mx.where(target == 1, 1 - cosine, apart), reduction)


def triplet_margin_loss(
    anchor: mx.array,
    positive: mx.array,
    negative: mx.array,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> mx.array:
    """``max(0, |anchor - positive| - |anchor - negative| + margin)`` by p-norm distances."""
    near, far = distance_norm(anchor, positive, p, eps), distance_norm(anchor, negative, p, eps)
    if swap:
        far = mx.minimum(far, distance_norm(positive, negative, p, eps))
    return reduce_loss(mx.maximum(margin + near - far, 0), reduction)
