"""Models without weights or children are modules too."""

from __future__ import annotations

import torch
from torch import nn

import pytorch_to_mlx as p2m
from tests.golden.compare import assert_same, run_torch


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


def test_a_model_without_children() -> None:
    converted = p2m.convert(Doubled(), (torch.randn(2, 3),))
    x = torch.randn(5, 4)
    assert_same(converted(x), run_torch(Doubled(), x))
