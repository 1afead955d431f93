"""The proof of models whose control flow torch keeps in the graph."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._higher_order_ops import map as map_rows
from torch._higher_order_ops import scan, while_loop

import pytorch_to_mlx as p2m
from pytorch_to_mlx.validate.run import validate

torch.set_num_threads(1)


class Rounds(nn.Module):
    """Its counter begins as a constant, which counting must not change for the next call."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def body(i: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return i + 1, torch.tanh(self.linear(h))

        return while_loop(lambda i, h: i < 4, body, (torch.tensor(0), x))[1]


class Rows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return map_rows(lambda row: self.linear(row).topk(2).values, x)


class Steps(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def step(state: torch.Tensor, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return state * 0.5 + row, torch.tanh(state + row)

        return scan(step, torch.zeros_like(x[0]), x)[1]


class Either(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cond(
            x.sum() > 0,
            lambda y: y.topk(2, -1).values + 1,
            lambda y: y.sort(-1).values[:, :2] * 2,
            (x,),
        )


@pytest.mark.parametrize("dtype", [None, "float16"])
@pytest.mark.parametrize("model", [Rounds, Rows, Steps, Either])
def test_it_is_proven(model: type[nn.Module], dtype: str | None) -> None:
    torch.manual_seed(0)
    report = validate(p2m.convert(model().eval(), (torch.randn(4, 3),), dtype=dtype), quick=True)
    assert report.passed, report.bisect
