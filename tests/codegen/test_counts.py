"""Numbers that one module reads out of the data and another needs."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
import torch
from torch import nn

import pytorch_to_mlx as p2m


class Gate(nn.Module):
    """An expert for each token, and how many tokens each expert gets."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
        expert = self.layer(x).argmax(-1)
        counts = nn.functional.one_hot(expert, 3).sum(0)
        return torch.argsort(expert, stable=True), counts.tolist()


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: torch.Tensor, counts: list[int]) -> torch.Tensor:
        parts = zip(self.experts, x.split(counts), strict=True)
        return torch.cat([expert(part) for expert, part in parts])


class Mixture(nn.Module):
    """Tokens are sorted by expert, and each expert takes its own."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()
        self.experts = Experts()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        order, counts = self.gate(x)
        return self.experts(x[order], counts)


@pytest.mark.parametrize("tokens", [1, 2, 7, 30])
def test_counts_of_another_module(tokens: int, mixture: tuple[nn.Module, p2m.Converted]) -> None:
    module, converted = mixture
    x = torch.randn(tokens, 4, generator=torch.Generator().manual_seed(tokens))
    want = module(x).detach().numpy()
    got = np.array(converted(mx.array(x.numpy())))
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_returned_counts_are_annotated(mixture: tuple[nn.Module, p2m.Converted]) -> None:
    assert "-> tuple[mx.array, int, int]:" in mixture[1].code
    assert "def __call__(self, x: mx.array) -> mx.array:" in mixture[1].code


@pytest.fixture(scope="module")
def mixture() -> tuple[nn.Module, p2m.Converted]:
    torch.manual_seed(0)
    module = Mixture().eval()
    return module, p2m.convert(module, (torch.randn(9, 4),))
