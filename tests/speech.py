"""A minute of sound that voice detectors are tested with, and the segments that they find."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SECONDS = 60
TEXT = (
    "The model listens to the microphone and says when somebody speaks. It was trained on many "
    "languages, and on much noise."
)


def silero_file(name: str) -> Path:
    """A model of the package silero-vad (MIT), which ships them."""
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("silero-vad is not installed (pip install --no-deps silero-vad)")
    return Path(spec.submodule_search_locations[0]) / "data" / name


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
