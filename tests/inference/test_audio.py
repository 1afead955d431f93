"""Files, rates, pipes and a microphone."""

from __future__ import annotations

import io
import sys
import wave
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mlx_inference import InferenceError
from mlx_inference.audio import microphone, read_pipe, read_sound, resampled

RATE = 16000


def tone(hertz: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def write(path: Path, samples: np.ndarray, rate: int, width: int = 2) -> Path:
    """Writes int16 [samples, channels]; ``width`` bytes a sample."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        data = samples.astype("<i2") if width == 2 else samples.astype("<i4") << 16
        file.writeframes(data.astype("<i2" if width == 2 else "<i4").tobytes())
    return path


def test_a_16_bit_file_is_read_as_it_is(tmp_path: Path, rng: np.random.Generator) -> None:
    pcm = rng.integers(-32768, 32768, 5000).astype(np.int16)
    read = read_sound(write(tmp_path / "a.wav", pcm[:, None], RATE), RATE)
    assert read.dtype == np.int16
    np.testing.assert_array_equal(read, pcm)


def test_channels_are_averaged(tmp_path: Path) -> None:
    both = np.stack([np.arange(0, 2000, 2), np.arange(0, 4000, 4)], axis=1).astype(np.int16)
    read = read_sound(write(tmp_path / "a.wav", both, RATE), RATE)
    np.testing.assert_array_equal(read, np.arange(0, 3000, 3))


@pytest.mark.parametrize("own", [8000, 11025, 22050, 44100, 48000])
def test_resampling_keeps_tones(own: int) -> None:
    for hertz in (100, 1000, 3000):
        got = resampled(tone(hertz, own), own, RATE)
        assert len(got) == RATE // 2
        want = tone(hertz, RATE)
        np.testing.assert_allclose(got[400:-400], want[400:-400], rtol=0, atol=2e-4)


@pytest.mark.parametrize("own", [22050, 44100, 48000])
def test_resampling_folds_nothing_back(own: int) -> None:
    got = resampled(tone(9000, own), own, RATE)
    assert np.abs(got[400:-400]).max() < 2e-4


def test_a_file_of_another_rate(tmp_path: Path) -> None:
    pcm = (tone(440, 48000) * 20000).astype(np.int16)
    read = read_sound(write(tmp_path / "a.wav", pcm[:, None], 48000), RATE)
    want = tone(440, RATE) * 20000
    assert read.dtype == np.int16
    assert len(read) == len(want)
    # In int16 steps of a tone of 20,000: 4e-4 of it, for the filter's ripple and two roundings.
    np.testing.assert_allclose(read[400:-400], want[400:-400], rtol=0, atol=8)


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InferenceError, match="cannot be read: No such file"):
        read_sound(tmp_path / "none.wav", RATE)
    wide = write(tmp_path / "wide.wav", np.zeros((10, 1), np.int16), RATE, width=4)
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    for path in (wide, tmp_path / "text.wav", tmp_path / "empty.wav"):
        with pytest.raises(InferenceError, match=r"no 16-bit WAV file; .*\[audio\]"):
            read_sound(path, RATE)


def test_other_files_go_through_soundfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the optional package: its arguments, its scale, its errors."""
    sounds = ModuleType("soundfile")

    def read(path: str, dtype: str, always_2d: bool) -> tuple[np.ndarray, int]:
        assert dtype == "float64"
        assert always_2d
        if path.endswith("bad.flac"):
            raise RuntimeError("unknown format")
        return np.array([[0.0, 0.5], [1.0, 1.0], [-1.0, -1.0]]), RATE

    monkeypatch.setattr(sounds, "read", read, raising=False)
    monkeypatch.setitem(sys.modules, "soundfile", sounds)
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    got = read_sound(tmp_path / "a.flac", RATE)
    np.testing.assert_array_equal(got, np.array([8192, 32767, -32768], np.int16))
    (tmp_path / "bad.flac").write_bytes(b"fLaC")
    with pytest.raises(InferenceError, match="as sound: unknown format"):
        read_sound(tmp_path / "bad.flac", RATE)


def test_a_pipe_is_cut_at_whole_samples() -> None:
    pieces = list(read_pipe(io.BytesIO(bytes(range(11))), 4))
    assert [len(piece) for piece in pieces] == [4, 4, 2]
    assert b"".join(pieces) == bytes(range(10))


def test_a_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the optional package, whose callback gives two chunks."""
    sounds = ModuleType("sounddevice")
    asked: dict[str, Any] = {}

    class RawInputStream:
        def __init__(self, callback: Any, **options: Any) -> None:
            asked.update(options)
            self.callback = callback

        def __enter__(self) -> None:
            for value in (b"\1\0", b"\2\0"):
                self.callback(bytearray(value * asked["blocksize"]), asked["blocksize"], None, None)

        def __exit__(self, *_: object) -> None:
            asked["closed"] = True

    monkeypatch.setattr(sounds, "RawInputStream", RawInputStream, raising=False)
    monkeypatch.setattr(sounds, "PortAudioError", OSError, raising=False)
    monkeypatch.setitem(sys.modules, "sounddevice", sounds)
    heard = microphone(RATE, 1280)
    assert [next(heard), next(heard)] == [b"\1\0" * 1280, b"\2\0" * 1280]
    heard.close()  # type: ignore[attr-defined]
    assert asked["closed"]
    assert (asked["samplerate"], asked["channels"], asked["dtype"]) == (RATE, 1, "int16")


def test_without_a_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(InferenceError, match=r"no microphone: .*\[audio\]"):
        next(microphone(RATE, 1280))
    sounds = ModuleType("sounddevice")

    def none(**_: Any) -> None:
        raise ValueError("no input device")

    monkeypatch.setattr(sounds, "RawInputStream", none, raising=False)
    monkeypatch.setattr(sounds, "PortAudioError", OSError, raising=False)
    monkeypatch.setitem(sys.modules, "sounddevice", sounds)
    with pytest.raises(InferenceError, match="16000 Hz: no input device"):
        next(microphone(RATE, 1280))
