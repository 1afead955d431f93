"""Sizes of slow models are tried on fake tensors, with what real calls would have found."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pytorch_to_mlx.capture import sizes
from pytorch_to_mlx.capture.export import capture_module


@pytest.fixture(autouse=True)
def _every_model_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "_SLOW", 0.0)


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 6)
        self.lstm = nn.LSTM(6, 4, bidirectional=True, batch_first=True)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        self.seen.add_(1)
        return self.lstm(self.embed(tokens))[0] + self.seen


class Grid(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(x.shape[0], x.shape[1] // 4, 4, -1).mean(2)


class Threshold(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float(torch.tensor(2.0).item()) if x.shape[1] == 3 else x @ x


def _calls(module: nn.Module, given: tuple[Any, ...], **options: Any) -> tuple[Any, int]:
    made = []
    module.register_forward_pre_hook(
        lambda _, args: made.append(type(args[0]).__name__) if args else None
    )
    captured = capture_module(module.eval(), given, **options)
    return captured, made.count("FakeTensor")


@pytest.mark.parametrize("budget", [0.0, 30.0])
def test_a_tagger_keeps_its_sizes(budget: float) -> None:
    given = (torch.randint(0, 20, (1, 7)),)
    captured, fakes = _calls(Tagger(), given, probe_seconds=budget)
    places = {w for d in captured.dims["symbols"].values() for w in d["where"]}
    assert places == {"tokens:0", "tokens:1"}
    assert fakes > 3
    assert not any("slow" in w for w in captured.warnings)
    assert torch.equal(captured.tensors["seen"], torch.zeros(1))


def test_what_shapes_refuse_is_found_without_data() -> None:
    given = (torch.randn(2, 8, 3),)
    captured, _ = _calls(Grid(), given, probe_seconds=0.0)
    by_place = {d["where"][0]: d for d in captured.dims["symbols"].values()}
    assert by_place["x:1"]["multiple_of"] == 4


def test_a_model_that_needs_values_is_called_with_data() -> None:
    given = (torch.randn(4, 3),)
    captured, _ = _calls(Threshold(), given)
    assert [d["where"] for d in captured.dims["symbols"].values()] == [["x:0"]]
