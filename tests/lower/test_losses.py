"""Losses and distances against torch, with every reduction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.lower.harness import check_op

A, B = torch.randn(4, 6), torch.randn(4, 6)
SIGN = torch.tensor([1.0, -1.0, 1.0, -1.0])
CLASSES = torch.tensor([1, 5, -100, 0])
WEIGHT = torch.rand(6)
UNIT = torch.rand(4, 6)
aten = torch.ops.aten

LOSSES: dict[str, Callable[..., Any]] = {
    "mse": lambda a, b, r: F.mse_loss(a, b, reduction=r),
    "l1": lambda a, b, r: F.l1_loss(a, b, reduction=r),
    "smooth_l1": lambda a, b, r: F.smooth_l1_loss(a, b, reduction=r, beta=0.5),
    "huber": lambda a, b, r: F.huber_loss(a, b, reduction=r, delta=0.5),
    "kl_div": lambda a, b, r: F.kl_div(a, b, reduction=r, log_target=True),
    "kl_div of probabilities": lambda a, b, r: F.kl_div(a, b.abs(), reduction=r),
    "bce": lambda a, b, r: F.binary_cross_entropy(a.sigmoid(), b.sigmoid(), reduction=r),
    "bce logits": lambda a, b, r: F.binary_cross_entropy_with_logits(
        a, b.sigmoid(), pos_weight=WEIGHT, reduction=r
    ),
    "soft margin": lambda a, b, r: F.soft_margin_loss(a, b, reduction=r),
    "poisson": lambda a, b, r: F.poisson_nll_loss(a, b.abs() * 3, full=True, reduction=r),
    "hinge": lambda a, b, r: F.hinge_embedding_loss(a, b.sign(), 0.7, reduction=r),
    "ranking": lambda a, b, r: F.margin_ranking_loss(a, b, SIGN[:, None], 0.2, reduction=r),
    "cosine": lambda a, b, r: F.cosine_embedding_loss(a, b, SIGN, 0.2, reduction=r),
    "triplet": lambda a, b, r: F.triplet_margin_loss(a, b, a + 1, p=1.0, swap=True, reduction=r),
    "cross entropy": lambda a, b, r: F.cross_entropy(
        a, CLASSES, WEIGHT, label_smoothing=0.1, reduction=r
    ),
    "cross entropy of probabilities": lambda a, b, r: F.cross_entropy(a, b.softmax(1), reduction=r),
    "nll": lambda a, b, r: F.nll_loss(a, CLASSES, WEIGHT, reduction=r),
    "multi margin": lambda a, b, r: aten.multi_margin_loss(
        a, CLASSES.clamp(min=0), 2, 0.5, WEIGHT, ("none", "mean", "sum").index(r)
    ),
    "multilabel margin": lambda a, b, r: F.multilabel_margin_loss(
        a, torch.tensor([[1, 3, -1, 0, 2, 4]] * 4), reduction=r
    ),
    "multilabel soft margin": lambda a, b, r: F.multilabel_soft_margin_loss(
        a, b.sigmoid(), reduction=r
    ),
}


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss(name: str, reduction: str) -> None:
    loss = LOSSES[name]
    check_op(lambda a, b: loss(a, b, reduction), A, B, atol=1e-5, dynamic=False)


OTHERS: dict[str, Callable[..., Any]] = {
    "cross entropy of images": lambda a, b: F.cross_entropy(
        a.reshape(2, 3, 4), torch.tensor([[0, 1, 2, 0], [1, 1, 0, 2]])
    ),
    "nll of images": lambda a, b: F.nll_loss(
        a.reshape(2, 3, 2, 2), torch.tensor([[[0, 1], [2, 0]], [[1, 1], [0, 2]]])
    ),
    "nll_loss_forward": lambda a, b: aten.nll_loss_forward(a, CLASSES, WEIGHT, 1, -100),
    "cosine_similarity": lambda a, b: F.cosine_similarity(a, b, dim=0, eps=1e-3),
    "pairwise_distance": lambda a, b: F.pairwise_distance(a, b, keepdim=True),
    "pairwise_distance p": lambda a, b: F.pairwise_distance(a, b, p=1.0),
    "cdist": lambda a, b: torch.cdist(a, b),
    "cdist p": lambda a, b: torch.cdist(a, b, p=1.0),
    "pdist": lambda a, b: F.pdist(a),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other(name: str) -> None:
    check_op(OTHERS[name], A, B, atol=1e-5, dynamic=False)
