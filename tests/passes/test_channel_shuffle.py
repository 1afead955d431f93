"""A shuffle of channels stays channels-last: no transposes of whole images around it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import pytorch_to_mlx as p2m


class Shuffled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.second = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        B, C, H, W = x.shape
        x = x.view(B, 2, C // 2, H, W).transpose(1, 2).reshape(B, C, H, W)
        return self.second(x)


def test_channels_are_shuffled_where_they_lie() -> None:
    torch.manual_seed(0)
    model = Shuffled().eval()
    converted = p2m.convert(model, (torch.randn(2, 3, 9, 8),))
    assert converted.code.count("transpose(") == 3  # in, the shuffle, out
    assert "transpose(0, 1, 2, 4, 3)" in converted.code
    x = torch.randn(3, 3, 7, 12)
    with torch.no_grad():
        expected = model(x).numpy()
    np.testing.assert_allclose(np.array(converted(x)), expected, atol=1e-5)
