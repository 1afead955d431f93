"""Silero VAD from its TorchScript file: speech probabilities and segments over a minute of sound.

The file is the package's own (``pip install --no-deps silero-vad``, MIT); espeak-ng speaks.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import wave
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.cli.app import app

SECONDS = 60
TEXT = (
    "The model listens to the microphone and says when somebody speaks. It was trained on many "
    "languages, and on much noise."
)


def archive() -> Path:
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("silero-vad is not installed (pip install --no-deps silero-vad)")
    return Path(spec.submodule_search_locations[0]) / "data" / "silero_vad.jit"


def sound(rate: int, folder: Path) -> np.ndarray:
    """A minute of speech in three voices, with pauses, over noise that comes and goes."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    rng = np.random.default_rng(0)
    track = np.zeros(SECONDS * rate, np.float32)
    at = rate
    for i in range(9):
        path = folder / f"{i}.wav"
        voice = ("en", "de", "fr")[i % 3]
        command = ["espeak-ng", "-v", voice, "-s", str(130 + 15 * i), "-w", str(path), TEXT]
        subprocess.run(command, check=True, timeout=60)
        speech = resampled(path, rate)[: 5 * rate]
        end = min(at + len(speech), len(track))
        track[at:end] += speech[: end - at]
        at = end + int(rng.uniform(0.4, 2.5) * rate)
        if at >= len(track):
            break
    time = np.arange(len(track)) / rate
    noise = rng.standard_normal(len(track)) * 0.02 * (1 + np.sin(2 * np.pi * time / 17))
    return (track + noise).astype(np.float32)


def resampled(path: Path, rate: int) -> np.ndarray:
    with wave.open(str(path)) as file:
        own = file.getframerate()
        data = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768
    at = np.arange(int(len(data) * rate / own)) * own / rate
    return np.interp(at, np.arange(len(data)), data).astype(np.float32)


def segments(probabilities: np.ndarray, enter: float = 0.5, leave: float = 0.35) -> list[Any]:
    """Runs of speech with hysteresis, as (first step, step after the last)."""
    found, start = [], None
    for i, p in enumerate(probabilities):
        if start is None and p >= enter:
            start = i
        elif start is not None and p < leave:
            found.append((start, i))
            start = None
    return [*found, (start, len(probabilities))] if start is not None else found


@pytest.mark.parametrize("rate", [16000, 8000])
def test_probabilities_and_segments(rate: int, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    path, width = archive(), rate * 32 // 1000
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
