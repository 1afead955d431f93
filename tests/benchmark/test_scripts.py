"""benchmarks/: each script's code path on tiny sizes, outputs checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import torch
from benchmarks import hand, measure, models, table, variants

from pytorch_to_mlx.package.arrays import from_torch

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[2]


def test_a_cast_leaves_what_is_no_weight() -> None:
    """Rounded rotary frequencies would turn position 512 by about a radian."""
    module = models.PRESETS["tiny"]["llama-1b"]().module("cpu")
    assert {p.dtype for p in module.parameters()} == {torch.bfloat16}
    assert module.model.rotary_emb.inv_freq.dtype == torch.float32
    assert module.lm_head.weight is module.model.embed_tokens.weight


@pytest.mark.parametrize("name", ["llama-1b", "whisper-encoder"])
def test_hand_written_modules_agree_with_the_source(name: str) -> None:
    model = models.PRESETS["tiny"][name]()
    module = model.module("cpu")
    try:
        written = hand.WRITTEN[str(model.hand)](module)
    except hand.Unavailable as error:
        pytest.skip(str(error))
    # Two right bfloat16 runs differ by some steps of 2**-8 of the scale (0.032 was seen).
    tolerance = 5e-2 if model.dtype == "bfloat16" else 1e-4
    for case in model.cases:
        x = model.example(case)
        with torch.inference_mode():
            want = getattr(module(*x), str(model.output)).float().numpy()
        got = np.array(written(*(from_torch(t) for t in x)).astype(mx.float32))
        assert np.abs(got - want).max() <= tolerance * np.abs(want).max()


def test_variants_of_a_layer_agree() -> None:
    """What is timed beside each other computes the same."""
    for name, group in variants.groups(small=True).items():
        result = variants.timed(group, 1)
        assert len(result) == len(group) > 1, name
        assert all(row["difference"] < 1e-4 for row in result.values()), (name, result)
        assert all(row["median_ms"] > 0 for row in result.values()), name


def test_what_does_not_compile_is_said(monkeypatch: Any) -> None:
    class Broken:
        name = "torch compile"

        def first_call(self) -> int:
            raise RuntimeError("no C++ compiler was found\nlong trace")

    notes: list[str] = []
    case: Any = measure.Case("T=1", [], [], {}, 0, 0)
    assert not measure._called(Broken(), case, notes)  # type: ignore[arg-type]
    assert notes == ["T=1: torch compile: not measured: RuntimeError: no C++ compiler was found"]


def test_run_of_a_tiny_model(tmp_path: Path) -> None:
    out = tmp_path / "tiny.json"
    command = [sys.executable, "-m", "benchmarks.run", "--preset", "tiny", "--models", "bilstm"]
    command += ["--out", str(out), "--min-time", "0.01", "--compile-for", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data = json.loads(out.read_text(encoding="utf-8"))
    model = data["models"]["bilstm"]
    (case,) = model["cases"]
    assert {"torch eager", "mlx eager"} <= set(case["rows"])
    assert all(row["median_ms"] > 0 for row in case["rows"].values())
    assert "torch compile: not measured: begun only within 0 s" in model["notes"][0]
    assert "BiLSTM" in table._machine(data)


def test_the_page_is_what_the_results_say() -> None:
    """docs/performance.md is generated: ``python benchmarks/table.py``."""
    assert table.page() == (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
