"""openWakeWord's graphs, converted once by the command line, and sound to run them on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mlx_inference.audio import read_sound
from tests.fixtures import openwakeword_graphs

RATE = 16000
TEXT = (
    "The model listens to the microphone, and says when somebody calls its name. "
    "It does not mind the noise."
)


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The ONNX files by stem."""
    return openwakeword_graphs.write(tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="session")
def packages(graphs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The packages that the command line makes of them, proven."""
    from typer.testing import CliRunner

    from pytorch_to_mlx.cli.app import app

    folder = tmp_path_factory.mktemp("packages")
    for name, path in graphs.items():
        words = ["convert", "--input", str(path), "--output", str(folder / name), "--validate"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
    return {name: folder / name for name in graphs}


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Twelve seconds: digital silence, speech, a pause, faint noise, speech in loud noise."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    file = tmp_path_factory.mktemp("speech") / "speech.wav"
    subprocess.run(["espeak-ng", "-v", "en", "-w", str(file), TEXT], check=True, timeout=60)
    spoken = read_sound(file, RATE)[: 5 * RATE].astype(np.float64)
    rng = np.random.default_rng(0)
    quiet = np.zeros(RATE)
    parts = [quiet, spoken, quiet, rng.standard_normal(RATE) * 20]
    parts.append(spoken[RATE:] + rng.standard_normal(len(spoken) - RATE) * 300)
    return np.clip(np.round(np.concatenate(parts)), -32768, 32767).astype(np.int16)
