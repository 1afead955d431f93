"""Lists of rows of modules (``nn.ModuleList([nn.ModuleList([attn, ff]), ...])``) as written."""

from __future__ import annotations

import pytest
import torch
from mlx.utils import tree_flatten
from torch import nn

import pytorch_to_mlx as p2m
from pytorch_to_mlx.converted import Converted
from tests.golden.compare import assert_same, run_torch


class Mix(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.join = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.join(self.norm(x) * x.mean(1, keepdim=True))


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class Unpacked(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        rows = [nn.ModuleList([Mix(), FeedForward()]) for _ in range(depth)]
        self.layers = nn.ModuleList(rows)
        self.norm = nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for attn, ff in self.layers:
            x = attn(x) + x
            x = ff(x) + x
        return self.norm(x)


class Indexed(Unpacked):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer[0](x) + x
            x = layer[1](x) + x
        return self.norm(x)


class Ragged(nn.Module):
    """The last row has one element fewer."""

    def __init__(self) -> None:
        super().__init__()
        parts = [[Mix(), FeedForward(), nn.Linear(4, 4)] for _ in range(3)]
        parts[2][2] = nn.Identity()
        self.downs = nn.ModuleList(nn.ModuleList(p) for p in parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for mix, ff, down in self.downs:
            x = mix(x) + x
            x = down(ff(x))
        return x


class Cross(nn.Module):
    """What comes in is read by every iteration, too."""

    def __init__(self) -> None:
        super().__init__()
        rows = [nn.ModuleList([Mix(), nn.Bilinear(4, 4, 4)]) for _ in range(2)]
        self.layers = nn.ModuleList(rows)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        context = x
        for mix, cross in self.layers:
            x = mix(x) + x
            x = cross(x, context) + x
        return x


class Kept(nn.Module):
    """Each loop uses one element of every row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.ModuleList(nn.ModuleList([Mix(), Mix()]) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for row in self.rows:
            x = row[0](x) - x
        for row in self.rows:
            x = row[1](x) - x
        return x


class Dicts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        rows = [nn.ModuleDict({"mix": Mix(), "ff": FeedForward()}) for _ in range(2)]
        self.layers = nn.ModuleList(rows)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer["mix"](x) + x
            x = layer["ff"](x) + x
        return x


class All(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.long, self.short, self.indexed = Unpacked(3), Unpacked(2), Indexed(2)
        self.ragged, self.kept, self.dicts = Ragged(), Kept(), Dicts()
        self.cross = Cross()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.indexed(self.short(self.long(x)))
        return self.cross(self.dicts(self.kept(self.ragged(x))))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """What is saved, loaded again; it equals torch, and its weights keep their names."""
    torch.manual_seed(0)
    model, x = All().eval(), torch.randn(2, 3, 4)
    folder = tmp_path_factory.mktemp("rows")
    made = p2m.load(p2m.convert(model, (x,)).save(folder / "made"))
    assert_same(made(x), run_torch(model, x))
    given = {name.replace(".net.", ".net.layers.") for name in model.state_dict()}
    assert {name for name, _ in tree_flatten(made.module.parameters())} == given
    return made


def body(made: Converted, cls: str) -> str:
    """A class of the emitted file."""
    return made.code.partition(f"class {cls}(nn.Module)")[2].partition("\nclass ")[0]


def test_a_loop_has_the_sources_variables(made: Converted) -> None:
    """Stacks of two and of three rows share a class."""
    code = body(made, "Unpacked")
    assert "self.layers = [[Mix(), FeedForward()] for _ in range(num_layers)]" in code
    assert "for attn, ff in self.layers:\n            x = attn(x) + x" in code
    assert "            x = ff(x) + x\n        return self.norm(x)" in code
    assert "self.long = Unpacked(3)" in made.code
    assert "self.short = Unpacked(2)" in made.code


def test_else_they_are_called_after_the_classes(made: Converted) -> None:
    code = body(made, "Indexed")
    assert "for mix, feed_forward in self.layers:\n            x = mix(x) + x" in code


def test_rows_of_other_lengths_are_told_apart(made: Converted) -> None:
    code = body(made, "Ragged")
    assert "for mix, ff, down in self.downs[:2]:" in code
    assert "x = self.downs[2][0](x) + x" in code


def test_a_loop_over_a_part_of_the_rows_takes_it_by_its_place(made: Converted) -> None:
    code = body(made, "Kept")
    assert "self.rows = [[Mix() for _ in range(2)] for _ in range(2)]" in code
    assert "for row in self.rows:\n            x = row[0](x) - x" in code


def test_a_row_with_names_is_called_after_its_list(made: Converted) -> None:
    code = body(made, "Dicts")
    assert "self.layers = [Layer() for _ in range(2)]" in code
    assert "for layer in self.layers:" in code


def test_what_all_iterations_read_keeps_its_name(made: Converted) -> None:
    code = body(made, "Cross")
    assert "for mix, cross in self.layers:\n            h = mix(h) + h" in code
    assert "h = cross(h, x) + h" in code
