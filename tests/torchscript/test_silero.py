"""Silero VAD from its TorchScript file: speech probabilities and segments over a minute of sound.

The file is the package's own (``pip install --no-deps silero-vad``, MIT); espeak-ng speaks.
"""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.cli.app import app
from tests.speech import SECONDS, segments, silero_file, sound


@pytest.mark.parametrize("rate", [16000, 8000])
def test_probabilities_and_segments(rate: int, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    path, width = silero_file("silero_vad.jit"), rate * 32 // 1000
    torch.manual_seed(0)
    torch.save({"x": torch.randn(1, width), "sr": rate}, tmp_path / "example.pt")
    words = ["convert", "-i", path, "--args", tmp_path / "example.pt", "-o", tmp_path / "out"]
    result = CliRunner().invoke(app, [*(str(w) for w in words), "--validate"])
    assert result.exit_code == 0, result.output
    code = (tmp_path / "out" / "model.py").read_text()
    assert "sr" not in code.split("class VADRNNJITMerge")[1].split("def load")[0]
    assert code.count("class ") == 5
    assert " if " not in code.split("class SileroVadBlock")[1].split("def load")[0]

    model, original = p2m.load(tmp_path / "out"), torch.jit.load(str(path))
    frames = sound(rate, tmp_path).reshape(-1, 1, width) if not SECONDS * rate % width else None
    assert frames is not None
    with torch.no_grad():
        want = np.array([original(torch.from_numpy(f), rate).item() for f in frames])
    got = np.array([np.array(model(mx.array(f))).item() for f in frames])
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
    assert segments(got) == segments(want)
    assert len(segments(want)) >= 3
