"""Branches of an ``if``: their modules are modules, their weights layers in MLX's layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import pytorch_to_mlx as p2m


class Head(nn.Module):
    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(4, channels, size)
        self.second = nn.Conv1d(channels, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x))).mean(-1)


class Switch(nn.Module):
    """Two heads of one kind, of which the data chooses one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(3, 4, 3)
        self.near, self.far = Head(5, 2), Head(6, 3)

    def forward(self, x: torch.Tensor) -> Any:
        x = torch.relu(self.stem(x))
        return torch.cond(x.mean() > 0.5, self.near, self.far, (x,))


def test_modules_in_branches() -> None:
    torch.manual_seed(0)
    model = Switch().eval()
    converted = p2m.convert(model, (torch.randn(2, 3, 12),))
    proof = p2m.validate(converted)
    assert proof.passed, proof.summary()
    body = converted.code.split("class Switch")[1]
    assert "transpose" in body.split("if ")[0]  # once, at the input
    assert "transpose" not in body.split("if ")[1]
    assert "= self.near(" in body
    assert "= self.far(" in body
    assert converted.code.count("class Head") == 1
    assert "nn.Conv1d(4, " in converted.code
    for scale in (0.1, 9.0):
        x = torch.randn(2, 3, 15) * scale
        with torch.no_grad():
            want = model(x).numpy()
        np.testing.assert_allclose(np.array(converted(x)), want, atol=1e-5)
