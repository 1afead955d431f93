"""Loops over experts take every turn, and every row where torch refuses a number that depends on
values.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytorch_to_mlx.capture.export import capture_module
from pytorch_to_mlx.capture.reference import agree, program_reference
from pytorch_to_mlx.errors import CaptureError


class Experts(nn.Module):
    """The loop over experts, as libraries spell it."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.spelling = spelling
        self.gate = nn.Linear(6, 4)
        self.experts = nn.ModuleDict({f"expert_{i}": nn.Linear(6, 6) for i in range(4)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        rows = x.reshape(-1, width)
        weights, chosen = self.gate(rows).softmax(-1).topk(2, dim=-1)
        out = torch.zeros_like(rows)
        mask = nn.functional.one_hot(chosen, 4).permute(2, 1, 0)
        hit = torch.greater(mask.sum(dim=(-1, -2)), 0).nonzero()
        if self.spelling == "hit":
            for expert in hit:
                which, token = torch.where(mask[expert].squeeze(0))
                y = self.experts[f"expert_{expert[0]}"](rows[token])
                out.index_add_(0, token, y * weights[token, which, None])
        elif self.spelling == "skipped":
            for i, expert in enumerate(self.experts.values()):
                which, token = torch.where(mask[i])
                if token.shape[0] == 0:
                    continue
                y = expert(rows[None, token].reshape(-1, width)) * weights[token, which, None]
                out.index_add_(0, token, y.to(rows.dtype))
        else:
            for i, expert in enumerate(self.experts.values()):
                taken = (chosen == i).any(-1)
                weight = (weights * (chosen == i)).sum(-1, keepdim=True)
                if self.spelling == "mask":
                    some = rows[taken]
                    if some.shape[0] > 0:
                        out[taken] = out[taken] + expert(some) * weight[taken]
                else:
                    token = taken.nonzero().squeeze(-1)
                    if token.numel() > 0:
                        out[token] = out[token] + expert(rows[token]) * weight[token]
        return out.reshape(batch, length, width)


@pytest.mark.parametrize("spelling", ["hit", "skipped", "mask", "places"])
def test_loops_over_experts(spelling: str) -> None:
    torch.manual_seed(0)
    module = Experts(spelling).eval()
    captured = capture_module(module, (torch.randn(2, 5, 6),))
    assert {e["size"] for e in captured.dims["symbols"].values()} == {2, 5}
    said = [w for w in captured.warnings if "runs for all that it could find" in w]
    assert ["every row" in w for w in said] == [spelling != "hit"]
    leaves = [torch.randn(3, 4, 6)]
    ours = program_reference(captured.program, leaves, ["x"], captured.output_names)(None)()
    theirs = module(leaves[0]).detach().numpy()
    assert agree(ours[0], ours[0].__class__("y", theirs, "float32"))


class Mean(nn.Module):
    """The mean of the selected rows: they do know of each other."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x[x[:, 0] > 0]
        if rows.shape[0] == 0:
            return x.sum(0)
        return rows.mean(0)


def test_rows_that_know_of_each_other_stay_refused() -> None:
    with pytest.raises(CaptureError, match=r"torch\.export refuses"):
        capture_module(Mean(), (torch.randn(6, 3),))
