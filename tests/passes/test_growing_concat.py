"""A dense block: every layer gets all arrays so far."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pytorch_to_mlx as p2m


class Layer(nn.Module):
    def __init__(self, channels: int, *, late: bool = False) -> None:
        super().__init__()
        self.late = late
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, parts: list[torch.Tensor]) -> torch.Tensor:
        if self.late:
            parts = [parts[0].tanh(), *parts[1:]]
        return self.conv(torch.cat(parts, 1).relu())


class Block(nn.Module):
    def __init__(self, *, late: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)
        self.layers = nn.ModuleList([Layer(3 + 4 * i, late=late) for i in range(4)])
        self.last = nn.Conv2d(19, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.first(x)]
        for layer in self.layers:
            parts.append(layer(parts))
        return self.last(torch.cat(parts, 1))


@pytest.mark.parametrize("late", [False, True])
def test_a_dense_block(late: bool) -> None:
    torch.manual_seed(0)
    model = Block(late=late).eval()
    converted = p2m.convert(model, (torch.randn(2, 3, 6, 5),))
    x = torch.randn(1, 3, 4, 7)
    with torch.no_grad():
        expected = model(x).numpy()
    np.testing.assert_allclose(np.array(converted(x)), expected, atol=1e-5)
    if not late:
        assert converted.code.count("class ") == 2
        assert "for layer in self.layers" in converted.code
