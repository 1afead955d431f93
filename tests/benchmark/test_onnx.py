"""The benchmark of a package from an ONNX model: onnxruntime is the other side."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pytorch_to_mlx as p2m
from pytorch_to_mlx.benchmark.onnx_side import OnnxModel
from pytorch_to_mlx.capture.onnx.recast import recast_model
from pytorch_to_mlx.cli.show import speed
from pytorch_to_mlx.errors import ValidationError
from tests.onnx_frontend.conftest import build, helper, onnx

pytest.importorskip("onnxruntime")
QUICK: Any = {"min_time_s": 0.002}


def two_outputs(seed: int = 0) -> Any:
    """A convolution, a product and a Gemm with two outputs of awkward names."""
    draw = np.random.default_rng(seed)
    weights = {
        "conv.weight": draw.standard_normal((4, 3, 3)).astype("f"),
        "fc": draw.standard_normal((4, 5)).astype("f"),
        "head": draw.standard_normal((2, 5)).astype("f"),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight"], ["c"], "/conv/Conv", pads=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("ReduceMean", ["r"], ["m"], axes=[2], keepdims=0),
        helper.make_node("MatMul", ["m", "fc"], ["hidden.1"], "/fc/MatMul"),
        helper.make_node("Gemm", ["hidden.1", "head"], ["y"], "/head/Gemm", transB=1),
    ]
    return build(
        nodes,
        {"x": ("f", ["batch", 3, "time"])},
        {"y": ("f", ["batch", 2]), "hidden.1": ("f", ["batch", 5])},
        weights,
        opset=17,
    )


@pytest.fixture(scope="module")
def converted() -> p2m.Converted:
    return p2m.convert(two_outputs(), (np.ones((3, 3, 8), np.float32),))


def sides(section: dict[str, Any]) -> set[str]:
    return {row["name"] for row in section["rows"]}


def test_onnxruntime_stands_beside_the_package(converted: p2m.Converted) -> None:
    section = p2m.benchmark(converted, **QUICK)
    assert sides(section) >= {"onnxruntime", "mlx eager"}
    assert not any("torch" in name for name in sides(section))
    assert {row["batch"] for row in section["rows"]} == {1, 2, 4, 8}
    assert section["device"]["onnxruntime"] == "cpu"
    assert section["device"]["torch"] is None
    assert section["threads"]["onnxruntime"] >= 1
    assert section["versions"]["onnxruntime"]
    assert {r["against"] for r in section["ratios"]} == {"onnxruntime"}
    assert section["matmul_gflops"]["onnxruntime"] > 0
    rows = [row for row in section["rows"] if row["name"] == "onnxruntime"]
    assert all(row["load_ms"] > 0 for row in rows)
    assert section["flops"] == 2 * 3 * (8 * 4 * 3 * 3 + 4 * 5 + 5 * 2)


def test_the_tables_compare_with_onnxruntime(converted: p2m.Converted) -> None:
    section = p2m.benchmark(converted, batch_sizes=[2], **QUICK)
    lines = speed(section)
    assert re.search(r"mlx eager: .* ms \([\d.]+x onnxruntime\)", "\n".join(lines))
    page = (converted.path / "report.html").read_text()
    assert "× onnxruntime" in page
    assert "against onnxruntime" in page


def test_a_loaded_package_is_timed_against_its_file(
    converted: p2m.Converted, tmp_path: Path
) -> None:
    onnx.save(two_outputs(), tmp_path / "m.onnx")
    converted.save(tmp_path / "out")
    alone = p2m.benchmark(p2m.load(tmp_path / "out"), **QUICK)
    assert sides(alone) <= {"mlx eager", "mlx compiled"}
    command = [sys.executable, "-m", "pytorch_to_mlx", "benchmark", tmp_path / "out", "--json"]
    done = subprocess.run(
        [*command, "--input", tmp_path / "m.onnx"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(p2m.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    section = json.loads(done.stdout)["benchmark"]
    assert sides(section) >= {"onnxruntime", "mlx eager"}


def test_another_model_of_the_same_shape_is_no_benchmark(converted: p2m.Converted) -> None:
    with pytest.raises(ValidationError, match="output 'y' differs"):
        p2m.benchmark(converted, two_outputs(1), **QUICK)


def test_half_precision_runs_in_half_on_both_sides() -> None:
    half = recast_model(two_outputs(), "float16")
    section = p2m.benchmark(p2m.convert(half), batch_sizes=[2], **QUICK)
    assert section["dtype"] == "float16"
    assert "onnxruntime" in sides(section)


def test_a_model_that_onnxruntime_cannot_run_is_timed_alone() -> None:
    low = recast_model(two_outputs(), "bfloat16")
    section = p2m.benchmark(p2m.convert(low), batch_sizes=[2], **QUICK)
    assert sides(section) <= {"mlx eager", "mlx compiled"}
    assert any("onnxruntime cannot run" in note for note in section["notes"])


def test_a_rate_beyond_the_machine_is_an_error(
    converted: p2m.Converted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that gives what it gave before computes nothing: the check must notice."""

    def remembered(self: OnnxModel, inputs: Any, *, compiled: bool = False) -> Any:
        timed = original(self, inputs)
        kept = timed.call()
        timed.call = lambda: kept
        return timed

    original = OnnxModel.timed
    monkeypatch.setattr(OnnxModel, "timed", remembered)
    monkeypatch.setattr("pytorch_to_mlx.capture.onnx.timed.flops", lambda *_: 10**12)
    with pytest.raises(ValidationError, match="beyond this machine"):
        p2m.benchmark(converted, batch_sizes=[3], **QUICK)


def test_a_cost_that_is_unknown_is_told(
    converted: p2m.Converted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("no sizes")

    monkeypatch.setattr("pytorch_to_mlx.capture.onnx.timed.shapes_at", fails)
    section = p2m.benchmark(converted, batch_sizes=[1], **QUICK)
    assert any("not known" in note and "matmul" in note for note in section["notes"])
    assert "flops" not in section
    assert "gflops" not in section["rows"][0]
