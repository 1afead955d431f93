"""Pieces of the search that whole proofs of sound models do not reach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import pytorch_to_mlx as p2m
from pytorch_to_mlx.graph import call
from pytorch_to_mlx.lower.aten import load_families
from pytorch_to_mlx.validate import repro
from pytorch_to_mlx.validate.bisect import explain_tie
from pytorch_to_mlx.validate.lowered_torch import TorchLowered
from pytorch_to_mlx.validate.run import validate
from pytorch_to_mlx.validate.values import node_values

torch.set_num_threads(1)


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(x)
        return torch.cond(x.sum() > 0, lambda y: self.a(y), lambda y: self.b(y) * 2, (h,))


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(200, 200)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.fc(x))


class Best(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.argmax(-1)


def _break(monkeypatch: pytest.MonkeyPatch, op: str, fn: str) -> None:
    monkeypatch.setitem(load_families()._table, op, lambda x: call(fn, x))


def test_ops_before_control_flow_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    _break(monkeypatch, "aten.tanh.default", "mx.sigmoid")
    report = validate(p2m.convert(Branches().eval(), (torch.randn(4, 3),)))
    assert not report.passed
    assert report.bisect is not None
    assert report.bisect["op"] == "aten.tanh.default"


def test_large_inputs_are_drawn_in_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of more than 64 KiB are not written into it; the fault still shows."""
    monkeypatch.setattr(repro, "EMBEDDED", 1 << 10)
    _break(monkeypatch, "aten.sigmoid.default", "mx.tanh")
    converted = p2m.convert(Wide().eval(), (torch.randn(6, 200),))
    report = validate(converted, quick=True)
    assert report.bisect is not None
    script = converted.path / str(report.bisect["repro"])
    assert "torch.randn" in script.read_text()
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("result 0: off by")


def test_script_of_a_sound_op_finds_nothing(tmp_path: Path) -> None:
    converted = p2m.convert(Wide().eval(), (torch.randn(2, 200),))
    assert converted.captured is not None
    x = {"x": converted.captured.example_inputs["x"].numpy()}
    lowered = TorchLowered(converted.captured, node_values(converted.captured, x))
    for node in lowered.source_values():
        name = repro.of_op(tmp_path, lowered, node, 1e-4)
        assert not repro.shows_fault(tmp_path / name)


@pytest.mark.parametrize("gap, tied", [(1e-7, True), (0.5, False)])
def test_ties_are_explained(gap: float, tied: bool) -> None:
    converted = p2m.convert(Best().eval(), (torch.tensor([[0.0, 1.0, 1.0 + gap]] * 2),))
    assert converted.captured is not None
    x = {"x": converted.captured.example_inputs["x"].numpy()}
    found = explain_tie(TorchLowered(converted.captured, node_values(converted.captured, x)))
    assert (found is not None) == tied
