"""``python -m mlx_inference wakeword`` on files and pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mlx_inference import WakeWord
from mlx_inference.cli import app

ROOT = Path(__file__).parents[2]


@pytest.fixture
def options(packages: dict[str, Path]) -> list[str]:
    given = {"mel": "melspectrogram", "embedding": "embedding_model", "head": "hey_seeded"}
    return [w for option, name in given.items() for w in (f"--{option}", str(packages[name]))]


@pytest.fixture
def wav(speech: np.ndarray, tmp_path: Path) -> Path:
    """Three seconds and a bit of the speech."""
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(speech[16000:65000].astype("<i2").tobytes())
    return path


def scores_of(packages: dict[str, Path], pcm: np.ndarray, size: int) -> list[dict[str, float]]:
    names = ("melspectrogram", "embedding_model", "hey_seeded")
    ours = WakeWord(*(packages[name] for name in names))
    return [ours.detect(pcm[start : start + size]) for start in range(0, len(pcm), size)]


def test_a_file_and_a_pipe(
    options: list[str], wav: Path, speech: np.ndarray, packages: dict[str, Path]
) -> None:
    pcm = speech[16000:65000]
    want = scores_of(packages, pcm, 1280)
    done = CliRunner().invoke(app, ["wakeword", *options, str(wav), "--scores"])
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.output.splitlines()]
    assert [line["scores"] for line in lines] == want
    assert [line["seconds"] for line in lines[:2]] == [0.08, 0.16]
    assert lines[-1]["seconds"] == pytest.approx(len(pcm) / 16000, abs=1e-4)

    # A process of its own, as a user would run it.
    command = [sys.executable, "-m", "mlx_inference", "wakeword", *options, "-", "--scores"]
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    piped = subprocess.run(
        command, input=pcm.astype("<i2").tobytes() + b"\0", capture_output=True, timeout=120,
        env={**os.environ, "PYTHONPATH": path}, check=True,
    )  # fmt: skip
    assert piped.stdout.decode() == done.output


def test_words_are_printed_once_a_chunk(
    options: list[str], wav: Path, speech: np.ndarray, packages: dict[str, Path]
) -> None:
    want = [s["hey_seeded"] for s in scores_of(packages, speech[16000:65000], 640)[1::2]]
    arguments = ["wakeword", *options, str(wav), "--threshold", "0.4", "--chunk", "640"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    lines = [line.split() for line in done.output.splitlines()]
    over = [(i, score) for i, score in enumerate(want, start=1) if score >= 0.4]
    assert len(over) > 2
    assert lines == [[f"{i * 0.08:.2f}", "s", "hey_seeded", f"{score:.3f}"] for i, score in over]


def test_labels_and_padding(options: list[str], packages: dict[str, Path], wav: Path) -> None:
    words = ["wakeword", *options, "--head", str(packages["commands"]), str(wav), "--scores"]
    words += ["--labels", "commands=go,stop,wait", "--padding", "0.5", "--chunk", "8000"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.output.splitlines()]
    assert lines[-1]["seconds"] == pytest.approx(49000 / 16000 + 1, abs=1e-4)
    assert list(lines[0]["scores"]) == ["hey_seeded", "go", "stop", "wait"]


def test_the_runtime_needs_no_converter(packages: dict[str, Path]) -> None:
    code = (
        "import sys\n"
        "for name in ('pytorch_to_mlx', 'torch', 'onnx', 'onnxruntime'):\n"
        "    sys.modules[name] = None\n"
        "from mlx_inference import WakeWord\n"
        "print(WakeWord(*sys.argv[1:]).detect(bytes(2560)))\n"
    )
    names = ("melspectrogram", "embedding_model", "hey_seeded")
    done = subprocess.run(
        [sys.executable, "-c", code, *(str(packages[name]) for name in names)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "{'hey_seeded': 0.0}"


def test_bad_calls(
    options: list[str], wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    for words, message in (
        ([*options], "pass one of a file"),
        ([*options, str(wav), "--microphone"], "pass one of a file"),
        ([*options, "--microphone"], "no microphone"),
        ([*options, str(tmp_path / "none.wav")], "No such file"),
        ([*options, str(wav), "--labels", "x"], "--labels HEAD=A,B"),
        ([*options[:-1], str(tmp_path), str(wav)], "no converted model"),
    ):
        done = CliRunner().invoke(app, ["wakeword", *words])
        assert done.exit_code == 2
        assert message in done.output
        assert done.output.startswith("error: ")
