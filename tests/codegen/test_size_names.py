"""Sizes have one name each, in the code, the configuration, the report and error messages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim

import pytorch_to_mlx as p2m
from pytorch_to_mlx.converted import Converted
from pytorch_to_mlx.errors import InputError


class Frames(nn.Module):
    """Halves the frames of [batch, 4, frames] and pairs them with a table of vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        y = self.conv(x).transpose(1, 2)
        return y.reshape(y.shape[0] * y.shape[1], 6) @ table.T


def converted(shapes: Any) -> Converted:
    torch.manual_seed(0)
    inputs = (torch.randn(2, 4, 10), torch.randn(5, 6))
    return p2m.convert(Frames().eval(), inputs, dynamic_shapes=shapes)


@pytest.fixture(scope="module")
def named() -> Converted:
    return converted(
        {"x": {0: Dim("batch"), 2: Dim("frames", min=4, max=40)}, "table": {0: Dim("table")}}
    )


@pytest.fixture(scope="module")
def by_role() -> Converted:
    return converted("auto")


def shapes(made: Converted) -> list[list[Any]]:
    return [t["shape"] for t in (*made.config["inputs"], *made.config["outputs"])]


def test_the_users_names_are_kept(named: Converted) -> None:
    """A name that an input has already gets a suffix."""
    assert shapes(named) == [
        ["batch", 4, "frames"],
        ["table_size", 6],
        ["batch*((frames + 1) // 2)", "table_size"],
    ]
    assert list(named.config["dims"]["symbols"]) == ["batch", "frames", "table_size"]
    assert {"batch", "frames", "table_size"} <= set(named.report["dims"])
    assert "x: float32[batch, 4, frames]" in named.code


def test_without_names_sizes_have_roles(by_role: Converted) -> None:
    assert shapes(by_role) == [["B", 4, "T"], ["N", 6], ["B*((T + 1) // 2)", "N"]]
    assert list(by_role.config["dims"]["symbols"]) == ["B", "T", "N"]
    assert {"B", "T", "N"} <= set(by_role.report["dims"])
    assert "x: float32[B, 4, T]" in by_role.code


def test_cases_and_messages_use_the_names(named: Converted) -> None:
    report = p2m.validate(named, sizes=[{"frames": 7}])
    names = [case["name"] for case in report.to_dict()["cases"]]
    assert "sizes frames=7" in names
    assert any(name.startswith("sizes batch=1") for name in names)
    import mlx.core as mx

    with pytest.raises(InputError, match=r"dim 2 of 'x' \(frames\) must be from 4 to 40"):
        named(mx.zeros((1, 4, 41)), mx.zeros((5, 6)))


def test_computed_and_shared_dims() -> None:
    """A dim that is twice a ``Dim``, and one that two inputs share."""

    class Pairs(nn.Module):
        def forward(self, x: torch.Tensor, y: dict[str, torch.Tensor]) -> torch.Tensor:
            half = x.reshape(x.shape[0], -1, 2).sum(-1)
            return half * y["scale"]

    steps = Dim("steps", min=3)
    made = p2m.convert(
        Pairs(),
        (torch.randn(3, 8), {"scale": torch.randn(4)}),
        dynamic_shapes=({1: 2 * steps}, {"scale": {0: steps}}),
    )
    assert shapes(made) == [[3, "2*steps"], ["steps"], [3, "steps"]]


def test_what_the_data_decides_has_a_name() -> None:
    class Hits(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nonzero(x > 0)

    made = p2m.convert(Hits(), (torch.randn(4, 5),))
    assert shapes(made) == [["B", "T"], ["N", 2]]


def test_long_sizes_are_read_from_an_array() -> None:
    """Windows of a grid that convolutions made: no size is computed again from the image's."""

    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            B, C, H, W = (x := self.conv(x)).shape
            x = x.reshape(B, C, H // 4, 4, W // 4, 4).permute(0, 2, 4, 3, 5, 1).softmax(3)
            _, N, M, _, _, _ = x.shape
            x = x.permute(0, 5, 1, 3, 2, 4).reshape(B, C, 4 * N, 4 * M).relu()
            N, M = 4 * N // 4, 4 * M // 4
            x = x.reshape(B, C, 4, N, 4, M).permute(0, 3, 5, 2, 4, 1).softmax(3)
            _, N, M, _, _, _ = x.shape
            x = x.permute(0, 5, 3, 1, 4, 2).reshape(B, C, 4 * N, 4 * M)
            return x

    module = Windows().eval()
    made = p2m.convert(module, (torch.randn(2, 3, 64, 96),))
    x = torch.randn(1, 3, 32, 96)
    assert tuple(made(x).shape) == tuple(module(x).shape)
    assert made.code.count("//") < 12
    assert "-> float32[B, 3, _, _]" in made.code
