"""How far a trace reaches: branches on sizes, guards that bind and those that are idle."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytorch_to_mlx.capture.dims import Symbol, widen
from pytorch_to_mlx.capture.export import capture_module
from pytorch_to_mlx.capture.sizes import Example
from pytorch_to_mlx.capture.structure import bind_arguments


def entry(module: nn.Module, x: torch.Tensor, where: str) -> dict[str, Any]:
    """What is said of one dim."""
    captured = capture_module(module.eval(), (x,))
    found = [e for e in captured.dims["symbols"].values() if where in e["where"]]
    assert len(found) == 1, captured.dims
    return found[0]


class Windows(nn.Module):
    """Sums windows of four, after padding what is no multiple."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = x.shape[1]
        lacking = (4 - size % 4) % 4
        if lacking > 0:
            x = F.pad(x, (0, lacking))
        return x.reshape(x.shape[0], x.shape[1] // 4, 4).sum(-1)


def test_padding_is_traced_where_there_is_some() -> None:
    """At a multiple of four the branch is not taken; taken, it holds at every size."""
    found = entry(Windows(), torch.randn(2, 12), "x:1")
    assert (found["multiple_of"], found["max"], found["bounded"]) == (1, None, False)


class Scaled(nn.Module):
    """Long sequences are scaled."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] > 8:
            x = x * 3
        return x.cumsum(1)


def test_a_branch_on_the_size_is_a_limit() -> None:
    found = entry(Scaled(), torch.randn(2, 12), "x:1")
    assert (found["min"], found["max"], found["bounded"]) == (9, None, True)
    found = entry(Scaled(), torch.randn(2, 7), "x:1")
    assert (found["max"], found["bounded"]) == (8, False)


class Idle(nn.Module):
    """Asks whether there is more than one step, which makes no difference."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = x.shape[1] > 1
        return (x.cumsum(1) if step else x) + 1


def test_a_branch_without_difference_is_none() -> None:
    found = entry(Idle(), torch.randn(2, 12), "x:1")
    assert (found["min"], found["bounded"], found["multiple_of"]) == (1, False, 1)


class Even(nn.Module):
    """Pads as is usual elsewhere: by another amount at odd sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pad = 1 if x.shape[2] % 2 == 0 else 2
        return self.conv(F.pad(x, (pad // 2, pad - pad // 2)))


def test_what_only_a_multiple_allows() -> None:
    found = entry(Even(), torch.randn(2, 2, 16), "x:2")
    assert found["multiple_of"] == 2


class Wide(nn.Module):
    """Turns images that are higher than wide."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] > x.shape[2]:
            x = x.flip(1)
        return x * 2


def test_a_condition_of_two_sizes() -> None:
    captured = capture_module(Wide(), (torch.randn(2, 5, 9),))
    conditions = captured.dims["conditions"]
    assert len(conditions) == 1
    assert "if x.shape[1] > x.shape[2]" in conditions[0]["asked"]


class Remembers(nn.Module):
    """A number made on the way from a size, which no guard tells."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.ones(12) if x.shape[1] == 12 else torch.zeros(x.shape[1])
        return x * weights.sum()


def test_the_original_is_untouched_and_still_right() -> None:
    module = Remembers()
    before = module(torch.ones(2, 12))
    captured = capture_module(module, (torch.randn(2, 12),))
    assert captured.dims["static"][0]["where"] == "x:1"
    assert torch.equal(before, module(torch.ones(2, 12)))


@pytest.mark.parametrize("size", [8, 12])
def test_views_that_demand_a_multiple(size: int) -> None:
    class Folded(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(x.shape[0], x.shape[1] // 4, 4).sum(1)

    assert entry(Folded(), torch.randn(2, size), "x:1")["multiple_of"] == 4


def test_dropout_that_is_off_is_no_chance() -> None:
    """Where a model draws numbers, only shapes are compared; dropout in eval mode draws none."""
    module = nn.Sequential(Scaled(), nn.Dropout(0.5))
    found = entry(module, torch.randn(2, 12), "input:1")
    assert (found["min"], found["bounded"]) == (9, True)


class Table(nn.Module):
    """Positions for five steps, resized for any other number."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 3, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table = self.table
        if x.shape[2] != 5:
            table = F.interpolate(table, size=x.shape[2], mode="linear")
        return x + table


def test_a_table_of_the_examples_size_leaves_it_dynamic() -> None:
    found = entry(Table(), torch.randn(2, 3, 5), "x:2")
    assert (found["size"], found["multiple_of"], found["max"]) == (5, 1, None)


class Marked(nn.Module):
    """Does something else at five steps than at any other number."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1 if x.shape[1] == 5 else x * 2


def test_another_way_at_the_examples_size_fixes_it() -> None:
    captured = capture_module(Marked(), (torch.randn(2, 5),))
    fixed = {s["where"]: s["reason"] for s in captured.dims["static"]}
    assert fixed["x:1"].startswith("torch.export fixes it")


class Pieces(nn.Module):
    """Sums pieces of four, the last of which may be shorter."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([piece.sum(1) for piece in x.split(4, dim=1)]).sum(0)


def test_a_number_of_pieces_is_a_window_of_sizes() -> None:
    found = entry(Pieces(), torch.randn(2, 12), "x:1")
    assert (found["min"], found["max"], found["bounded"]) == (9, 12, True)


class Tail(nn.Module):
    """Sound beside frames of 12 samples, the first four of which have none."""

    def forward(self, sound: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        return torch.stack([sound, frames[:, 4:].repeat_interleave(12, dim=1)])


def test_a_size_that_follows_from_another_is_not_tried_below_0() -> None:
    captured = capture_module(Tail(), (torch.randn(2, 36), torch.randn(2, 7)))
    (found,) = (e for e in captured.dims["symbols"].values() if "frames:1" in e["where"])
    assert (found["min"], found["max"]) == (4, None)


def test_a_wider_trace_keeps_the_sizes_of_the_first() -> None:
    symbol = Symbol("s", 8001, [(0, 1)], lower=4000, upper=9000, bounded=True)
    example = Example(bind_arguments(nn.Identity(), (torch.zeros(2, 500),), {}))
    widen([symbol], example, [{}, {(0, 1): 250}, {(0, 1): 16000}])
    assert (symbol.lower, symbol.upper) == (250, 16000)
