"""Subscripts as they are written: what stands for what."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import pytorch_to_mlx as p2m


class Unpool(nn.Module):
    def forward(self, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return F.max_unpool1d(x, index, 3, 2, 1, (1, 2, 3))


def test_new_axis_before_the_last() -> None:
    """``x[:, :, None]`` of three axes is not ``x[..., None]``."""
    example = torch.randn(1, 2, 2), torch.tensor([[[0, 1], [1, 2]]])
    got = p2m.convert(Unpool(), example)(*(mx.array(x.numpy()) for x in example))
    np.testing.assert_allclose(np.array(got), Unpool()(*example).numpy())


class Count(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nonzero(x)


def test_count_of_a_scalar() -> None:
    """The rows of an array without columns are a number that only the op knows."""
    converted = p2m.convert(Count(), (torch.tensor(1.5),))
    assert converted(mx.array(2.0)).shape == (1, 0)
    assert converted(mx.array(0.0)).shape == (0, 0)
