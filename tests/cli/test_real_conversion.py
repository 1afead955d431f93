"""The command line on real sources, through the real API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import pytorch_to_mlx as p2m
from pytorch_to_mlx.cli.app import app
from pytorch_to_mlx.sources import open_source

MODELS = Path(__file__).parents[1] / "sources" / "models_for_tests.py"


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    module = open_source(f"{MODELS}:Encoder").module
    assert module is not None
    return module


def same(folder: Path, module: Any, rows: int) -> None:
    x = np.random.default_rng(rows).standard_normal((rows, 3)).astype(np.float32)
    got = np.asarray(p2m.load(folder)(x))
    np.testing.assert_allclose(got, module(torch.from_numpy(x)).detach().numpy(), atol=1e-5)


def test_state_dict_with_a_factory(encoder: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(encoder.state_dict(), tmp_path / "w.pt")
    model = ["-i", tmp_path / "w.pt", "--model", f"{MODELS}:Encoder"]
    out = tmp_path / "out"
    result = run("convert", *model, "-o", out, "--shapes", "x=2x3", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["verdict"] == "not validated"
    for rows in (1, 2, 5):
        same(out, encoder, rows)
    again = run("convert", *model, "-o", out, "--shapes", "x=2x3")
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr or "overwrite" in again.stderr
    assert run("convert", *model, "-o", out, "--shapes", "x=2x3", "--overwrite").exit_code == 0


def test_program_file(encoder: torch.nn.Module, tmp_path: Path) -> None:
    dims = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(encoder, (torch.zeros(2, 3),), dynamic_shapes=dims)
    torch.export.save(program, tmp_path / "m.pt2")
    result = run("convert", "-i", tmp_path / "m.pt2", "-o", tmp_path / "out", "-q")
    assert result.exit_code == 0, result.output
    same(tmp_path / "out", encoder, 5)


def test_method_with_explicit_dims(tmp_path: Path) -> None:
    torch.manual_seed(3)
    source = ["-i", f"{MODELS}:with_args", "--method", "encode", "--dynamic", "x:0"]
    result = run("convert", *source, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    weights = p2m.load(tmp_path / "out").module.parameters()
    assert list(weights) == ["proj"]
    x = np.ones((4, 3), np.float32)
    expected = (
        x @ np.asarray(weights["proj"]["weight"]).T + np.asarray(weights["proj"]["bias"])
    ) * 2
    np.testing.assert_allclose(np.asarray(p2m.load(tmp_path / "out")(x)), expected + 1, atol=1e-5)


def test_wrong_inputs_are_one_line(tmp_path: Path) -> None:
    result = run("convert", "-i", f"{MODELS}:Encoder", "-o", tmp_path / "o", "--shapes", "y=2x3")
    assert result.exit_code == 2
    assert "defect" not in result.stderr
    assert not (tmp_path / "o").exists()


def test_analyze_writes_nothing(tmp_path: Path) -> None:
    result = run("analyze", "-i", f"{MODELS}:with_args")
    assert result.exit_code == 0, result.output
    assert "every op converts" in result.stdout
