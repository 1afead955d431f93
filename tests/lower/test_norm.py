"""Normalisation layers against torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.lower.harness import check_op, targets

ROWS = torch.randn(2, 5, 6)
IMAGE = torch.randn(2, 4, 8, 7)
aten = torch.ops.aten


def used(module: Any) -> Any:
    """With weights, and statistics, that are not the initial ones."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5)
    return module


CASES: dict[str, tuple[Any, torch.Tensor]] = {
    "layer_norm": (used(nn.LayerNorm(6)), ROWS),
    "layer_norm two axes": (used(nn.LayerNorm((5, 6))), ROWS),
    "layer_norm no weights": (nn.LayerNorm(6, elementwise_affine=False), ROWS),
    "layer_norm no bias": (used(nn.LayerNorm(6, bias=False, eps=1e-3)), ROWS),
    "native_layer_norm": (lambda x: aten.native_layer_norm(x, [6], None, None, 1e-5), ROWS),
    "rms_norm": (used(nn.RMSNorm(6, eps=1e-6)), ROWS),
    "rms_norm default eps": (nn.RMSNorm((5, 6), elementwise_affine=False), ROWS * 1e-3),
    "_fused_rms_norm": (
        lambda x: aten._fused_rms_norm(x, [6], torch.ones(6), 1e-5)[0],
        ROWS,
    ),
    "batch_norm 1d": (used(nn.BatchNorm1d(5)), ROWS),
    "batch_norm rows": (used(nn.BatchNorm1d(6)), ROWS[0]),
    "batch_norm 2d": (used(nn.BatchNorm2d(4)), IMAGE),
    "batch_norm 3d": (used(nn.BatchNorm3d(4)), IMAGE[:, :, None]),
    "batch_norm no weights": (used(nn.BatchNorm2d(4, affine=False)), IMAGE),
    "batch_norm batch statistics": (used(nn.BatchNorm2d(4, track_running_stats=False)), IMAGE),
    "group_norm": (used(nn.GroupNorm(2, 4)), IMAGE),
    "group_norm of rows": (nn.GroupNorm(1, 4, affine=False), IMAGE[:, :, 0, 0]),
    "native_group_norm": (
        lambda x: aten.native_group_norm(x, torch.ones(4), None, 2, 4, 56, 2, 1e-5),
        IMAGE,
    ),
    "instance_norm": (used(nn.InstanceNorm2d(4, affine=True)), IMAGE),
    "instance_norm eps": (lambda x: F.instance_norm(x, eps=0.5), IMAGE),
    "instance_norm statistics": (used(nn.InstanceNorm2d(4, track_running_stats=True)), IMAGE),
    "local_response_norm": (nn.LocalResponseNorm(3), IMAGE),
    "normalize": (lambda x: F.normalize(x, dim=1), IMAGE),
    "weight_norm": (nn.utils.parametrizations.weight_norm(nn.Conv1d(5, 4, 3)), ROWS),
    "_weight_norm_interface": (
        lambda v: aten._weight_norm_interface(v, torch.ones(2, 1, 1), 0),
        ROWS,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_norm(name: str) -> None:
    fn, x = CASES[name]
    check_op(fn, x, atol=1e-5, dynamic=False)


@pytest.mark.parametrize("name", ["batch_norm 2d", "group_norm", "instance_norm"])
def test_at_another_size(name: str) -> None:
    fn, x = CASES[name]
    check_op(fn, x, atol=1e-5)


def test_last_axis_norms_are_one_call() -> None:
    assert targets(CASES["layer_norm"][0], ROWS, dynamic=False) == ["mx.fast.layer_norm"]
    assert targets(CASES["rms_norm"][0], ROWS, dynamic=False) == ["mx.fast.rms_norm"]


def test_weight_norm_over_everything() -> None:
    check_op(lambda v: torch._weight_norm(v, torch.ones(()), -1), ROWS, dynamic=False)
