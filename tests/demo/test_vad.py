"""The voice demo's own parts: its sound, its segments, its picture, and what it calls wrong."""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def vad() -> Any:
    return importlib.import_module("vad")


@pytest.fixture
def demo() -> Any:
    return importlib.import_module("demo_vad")


def seconds(vad: Any, *runs: tuple[int, float]) -> np.ndarray:
    """Probabilities: so many frames of each."""
    return np.concatenate([np.full(count, p) for count, p in runs])


def test_segments_have_margins(vad: Any) -> None:
    found = seconds(vad, (20, 0.1), (30, 0.9), (20, 0.1))
    ((start, end),) = vad.segments(found)
    assert start == pytest.approx(20 * 0.032 - 0.03)
    assert end == pytest.approx(50 * 0.032 + 0.03)


def test_segments_bridge_short_silence_and_drop_short_speech(vad: Any) -> None:
    assert len(vad.segments(seconds(vad, (20, 0.9), (3, 0.1), (20, 0.9), (9, 0.0)))) == 1
    assert len(vad.segments(seconds(vad, (20, 0.9), (5, 0.1), (20, 0.9), (9, 0.0)))) == 2
    assert vad.segments(seconds(vad, (9, 0.0), (7, 0.9), (9, 0.0))) == []
    assert len(vad.segments(seconds(vad, (9, 0.0), (8, 0.9), (9, 0.0)))) == 1


def test_segments_have_hysteresis(vad: Any) -> None:
    assert vad.segments(np.full(50, 0.49)) == []
    found = seconds(vad, (10, 0.6), (10, 0.4), (10, 0.2))
    ((start, end),) = vad.segments(found)
    assert (start, end) == (0.0, pytest.approx(20 * 0.032 + 0.03))


def test_speech_up_to_the_end(vad: Any) -> None:
    assert vad.segments(np.full(20, 0.9)) == [(0.0, 20 * 0.032)]


def test_the_scene_is_whole_frames(vad: Any) -> None:
    sound = vad.scene([np.full(8000, 0.5), np.full(5000, -0.5)])
    assert sound.dtype == np.float32
    assert sound.size % vad.STEP == 0
    assert np.abs(sound).max() <= 1
    np.testing.assert_array_equal(sound, vad.scene([np.full(8000, 0.5), np.full(5000, -0.5)]))


def test_other_segments_or_probabilities_are_wrong(demo: Any, vad: Any) -> None:
    speech = seconds(vad, (20, 0.1), (30, 0.9), (20, 0.1))
    assert demo.Heard("x", speech, speech.copy()).ok
    assert demo.Heard("x", speech, speech + 5e-6).ok
    assert not demo.Heard("x", speech, speech + 5e-5).ok
    shifted = np.roll(speech, 1)
    assert not demo.Heard("x", speech, shifted).ok
    assert not demo.Heard("x", np.full(50, 0.1), np.full(50, 0.1)).ok, "nothing was heard"
    broken = speech.copy()
    broken[0] = np.nan
    assert not demo.Heard("x", speech, broken).ok


def test_a_recurrent_model_gets_its_state_and_what_was_before(demo: Any, vad: Any) -> None:
    seen: list[Any] = []

    def model(input: np.ndarray, state: np.ndarray, sr: np.ndarray) -> dict[str, np.ndarray]:
        seen.append((input, state, sr))
        return {"output": np.array([[0.25]]), "stateN": state + 1}

    frames = np.arange(2 * vad.STEP, dtype=np.float32)
    assert vad.probabilities(demo.recurrent(model), frames).tolist() == [0.25, 0.25]
    assert [x.shape for x, _, _ in seen] == [(1, 576), (1, 576)]
    np.testing.assert_array_equal(seen[0][0][0], np.pad(frames[:512], (64, 0)))
    np.testing.assert_array_equal(seen[1][0][0], frames[512 - 64 :])
    assert [state.max() for _, state, _ in seen] == [0, 1]
    assert seen[0][2] == 16000


def test_the_picture(demo: Any, vad: Any, tmp_path: Path) -> None:
    speech = seconds(vad, (20, 0.1), (30, 0.9), (20, 0.1))
    heard = [demo.Heard("TorchScript", speech, speech), demo.Heard("ONNX", speech, speech)]
    demo.draw(heard, np.zeros(70 * vad.STEP), tmp_path / "speech.png")
    assert (tmp_path / "speech.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def staged(demo: Any, vad: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The demo without conversions: their statuses in turn, and what is heard then."""

    def stage(statuses: list[int], heard: list[tuple[np.ndarray, np.ndarray]]) -> Any:
        results = [subprocess.CompletedProcess([], status) for status in statuses]
        pairs = iter(heard)
        monkeypatch.setattr(demo, "install", lambda *_: tmp_path)
        monkeypatch.setattr(demo, "ROOT", tmp_path)
        monkeypatch.setattr(demo, "speech", lambda *_: np.zeros(16000))
        monkeypatch.setattr(demo.subprocess, "run", lambda *_, **__: results.pop(0))
        monkeypatch.setattr(demo, "listen", lambda name, *_: demo.Heard(name, *next(pairs)))
        demo.package_of("TorchScript").mkdir()
        return demo.main

    return stage


def test_equal_segments_end_well(
    demo: Any, vad: Any, staged: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    speech = seconds(vad, (20, 0.1), (30, 0.9), (20, 0.1))
    assert staged([0, 0], [(speech, speech)] * 2)() == 0
    picture = demo.package_of("TorchScript") / demo.PICTURE
    assert picture.is_file()
    assert f"picture: {picture}" in capsys.readouterr().out


def test_different_segments_end_with_1(vad: Any, staged: Any) -> None:
    speech = seconds(vad, (20, 0.1), (30, 0.9), (20, 0.1))
    assert staged([0, 0], [(speech, speech), (speech, np.roll(speech, 3))])() == 1


def test_an_onnx_file_that_cannot_be_converted_is_left_out_and_said(
    vad: Any, staged: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    speech = seconds(vad, (20, 0.1), (30, 0.9), (20, 0.1))
    assert staged([0, 2], [(speech, speech)])() == 0
    assert "ONNX file cannot be converted" in capsys.readouterr().out


@pytest.mark.parametrize("statuses", [[2], [1], [0, 1]])
def test_a_failed_conversion_ends_the_demo(vad: Any, staged: Any, statuses: list[int]) -> None:
    speech = seconds(vad, (20, 0.1), (30, 0.9), (20, 0.1))
    assert staged(statuses, [(speech, speech)] * 2)() == statuses[-1]


def test_without_espeak_there_is_nothing_to_hear(
    demo: Any, staged: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = staged([], [])
    monkeypatch.setattr(demo, "speech", lambda *_: None)
    assert main() == 1
    assert "espeak-ng is not installed" in capsys.readouterr().out
