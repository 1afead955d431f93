"""A file that hands ``int`` to torch as a dtype keeps its own ``int`` while it is traced."""

from __future__ import annotations

import torch
from torch import nn

from pytorch_to_mlx.capture.export import capture_module


class Counted(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.zeros(x.shape[1], dtype=int)  # type: ignore[call-overload,no-any-return]


def test_sizes_stay_dynamic() -> None:
    captured = capture_module(Counted(), (torch.randn(3, 5),))
    where = [e["where"] for e in captured.dims["symbols"].values()]
    assert where == [["x:0"], ["x:1"]]
