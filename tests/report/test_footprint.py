"""The estimate of memory: what is alive at once, at named sizes."""

from __future__ import annotations

import torch
from torch import nn

import pytorch_to_mlx as p2m

torch.set_num_threads(1)


class Wide(nn.Module):
    """A hidden layer much wider than what goes in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 64, bias=False), nn.Linear(64, 8, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(torch.relu(self.up(x)).transpose(1, 2).transpose(1, 2))


def test_what_is_alive_at_once() -> None:
    facts = p2m.analyze(Wide().eval(), (torch.randn(2, 5, 8),))
    memory = facts["memory"]
    assert memory["weights"] == 2 * 8 * 64 * 4
    (batch,) = [n for n, d in facts["dims"].items() if "x:0" in d["where"]]
    example, *doubled = memory["at"]
    assert example["sizes"][batch] == 2
    assert example["inputs"] == example["outputs"] == 2 * 5 * 8 * 4
    hidden = 2 * 5 * 64 * 4
    assert example["activations"] == 2 * hidden  # before and after relu; the input is gone by then
    assert [row["activations"] for row in doubled] == [4 * hidden] * len(doubled)
    assert memory["largest"][0] == {
        **memory["largest"][0],
        "bytes": hidden,
        "dtype": "float32",
    }
    assert memory["largest"][0]["dims"][0] == batch
    assert memory["largest"][0]["dims"][-1] == 64
    assert memory["unknown"] == 0


def test_sizes_that_the_data_decides_are_not_guessed() -> None:
    class Picked(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[x > 0] * 2

    memory = p2m.analyze(Picked().eval(), (torch.randn(6),))["memory"]
    assert memory["unknown"] >= 1
