"""The command line on real sources, through the real API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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


def command(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """The program as a user starts it, in a process of its own."""
    line = [sys.executable, "-m", "pytorch_to_mlx", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(p2m.__file__).parents[1])}
    return subprocess.run(line, capture_output=True, text=True, env=environment, check=False)


def test_exit_codes(tmp_path: Path) -> None:
    """0 proven, 1 parity failed, 2 bad input: of the program itself."""
    model = "torch.manual_seed(0) and (nn.Sequential(nn.Linear(3, 2)), (torch.ones(2, 3),))"
    lines = ["import torch", "from torch import nn", "def make():", f"    return {model}"]
    (tmp_path / "net.py").write_text("\n".join(lines))
    out, source = tmp_path / "out", f"{tmp_path / 'net.py'}:make"
    proven = command("convert", "-i", source, "-o", out, "--validate", "--json")
    assert proven.returncode == 0, proven.stderr
    said = json.loads(proven.stdout)
    assert (said["verdict"], said["exit_code"]) == ("proven", 0)
    assert said["validation"]["budget"] == {**said["validation"]["budget"], "seconds": 300.0}
    quiet = command("validate", out, "-i", source, "--quiet", "--validate-budget", "0")
    assert (quiet.returncode, quiet.stdout) == (0, ""), quiet.stderr
    code = (out / "model.py").read_text()
    (out / "model.py").write_text(code.replace("return input", "return 1.01 * input"))
    failed = command("validate", out, "-i", source)
    assert failed.returncode == 1, failed.stderr
    assert "PARITY FAILED" in failed.stdout
    assert "off by" in failed.stderr
    again = command("validate", out, "-i", source, "--json", "--validate-budget", "0")
    assert again.returncode == 1
    said = json.loads(again.stdout)
    assert (said["verdict"], said["exit_code"]) == ("failed", 1)
    assert said["validation"]["budget"]["left_out"]
    silent = command("validate", out, "-i", source, "--quiet", "--validate-budget", "0")
    assert (silent.returncode, silent.stdout) == (1, "")
    bad = command("validate", tmp_path / "nothing", "--json")
    assert bad.returncode == 2
    assert json.loads(bad.stdout)["exit_code"] == 2
    assert "error:" in bad.stderr


def test_analyze_writes_nothing(tmp_path: Path) -> None:
    result = run("analyze", "-i", f"{MODELS}:with_args")
    assert result.exit_code == 0, result.output
    assert "every op converts" in result.stdout
    assert "Memory (weights" in result.stdout
    facts = json.loads(run("analyze", "-i", f"{MODELS}:with_args", "--json").stdout)
    memory = facts["memory"]
    assert memory["weights"] == facts["weights"]["bytes"]
    for row in memory["at"]:
        assert row["total"] == memory["weights"] + row["activations"]
        assert row["activations"] >= row["inputs"] > 0
    assert memory["largest"][0]["bytes"] >= memory["largest"][-1]["bytes"]
