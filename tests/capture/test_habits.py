"""Sizes that a model's code turns into plain numbers, and tracing that does not come to an end."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
import torch
from torch import nn

import pytorch_to_mlx as p2m
from pytorch_to_mlx.capture import export
from pytorch_to_mlx.capture.timebox import TooSlowError, time_box
from tests.golden.compare import assert_same, run_torch

SIZES = {"tables": {5: 1.5, 7: 2.5}}


class Counted(nn.Module):
    """Plain numbers of sizes, in the ways that people ask for them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length = len(x), int(x.shape[1])
        half = int(length / 2)
        assert isinstance(length, int)
        assert int("7", base=10) == 7
        return torch.cat([x[:, :half], x.new_zeros(batch, length + half)], 1)


def test_a_size_stays_symbolic_through_int_and_len() -> None:
    module = Counted().eval()
    made = p2m.convert(module, (torch.randn(2, 5),))
    assert len(made.config["dims"]["symbols"]) == 2
    for shape in ((2, 5), (1, 8), (3, 1)):
        x = torch.randn(shape)
        assert_same(made(x), run_torch(module, x))
    assert "int" not in globals()
    assert "len" not in globals()


class Tabled(nn.Module):
    """Needs a number: a key of a table."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * SIZES["tables"].get(int(x.shape[1]), 1.0)


def test_a_size_that_must_be_a_number_is_fixed() -> None:
    captured = export.capture_module(Tabled().eval(), (torch.randn(3, 5),))
    assert [s["where"] for s in captured.dims["static"]] == ["x:1"]
    assert [s["where"] for s in captured.dims["symbols"].values()] == [["x:0"]]


class Endless(nn.Module):
    """Takes for ever where its length is symbolic."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while isinstance(x.shape[1], torch.SymInt):
            try:
                sum(range(1000))
            except Exception:  # noqa: BLE001 - as torch and sympy do in places
                continue
        return x * 2


def test_tracing_without_end_gives_up_dims() -> None:
    module = Endless().eval()
    captured = export.capture_module(module, (torch.randn(3, 5),), trace_seconds=0.5)
    assert [s["where"] for s in captured.dims["symbols"].values()] == [["x:0"]]
    (static,) = captured.dims["static"]
    assert static["where"] == "x:1"
    assert "did not end" in static["reason"]
    assert any("did not end" in w for w in captured.warnings)


def endless() -> None:
    while True:
        sum(range(100))


def test_a_time_box_leaves_signals_as_they_were() -> None:
    def handler(*_: Any) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGVTALRM, handler)
    try:
        with time_box(60):
            pass
        with pytest.raises(TooSlowError, match="did not end"), time_box(0.05):
            endless()
        assert signal.getsignal(signal.SIGVTALRM) is handler
        assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] == 0
        with time_box(0.05):
            time.sleep(0.1)  # no processor time
    finally:
        signal.signal(signal.SIGVTALRM, before)


class Grid(nn.Module):
    """Coordinates by ``linspace``, and the likelihood of a distribution that checks its values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        across = torch.linspace(-1, 1, x.shape[1])
        down = torch.linspace(0.0, float(3), steps=x.size(0), dtype=x.dtype, device=x.device)
        likely = torch.distributions.Normal(0.0, 2.0).log_prob(x)
        return likely + across + down[:, None]


def test_steps_of_linspace_stay_dynamic_and_distributions_are_not_checked() -> None:
    plain, module = torch.linspace, Grid().eval()
    checks = torch.distributions.Distribution._validate_args
    made = p2m.convert(module, (torch.randn(2, 5),))
    assert torch.linspace is plain
    assert torch.distributions.Distribution._validate_args is checks
    assert len(made.config["dims"]["symbols"]) == 2
    assert made.code.count("mx.linspace(") == 2
    for shape in ((2, 5), (1, 8), (3, 1)):
        x = torch.randn(shape)
        assert_same(made(x), run_torch(module, x))
