"""Sound in: files, raw bytes from a pipe, a microphone. All give int16 samples at one rate."""

from __future__ import annotations

import queue
import wave
from collections.abc import Iterator
from math import gcd
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mlx_inference.errors import InferenceError

EXTRA = "pip install 'pytorch-to-mlx[audio]'"
#: Zero crossings of the resampling filter on each side, and its Kaiser window's shape (80 dB).
CROSSINGS, KAISER = 32, 8.0
#: The part of the lower band that the resampling filter lets through.
PASSBAND = 0.95


def read_sound(path: Path, rate: int) -> np.ndarray:
    """A sound file as int16 [samples] of one channel at ``rate`` Hz.

    Channels are averaged, other rates resampled. 16-bit WAV files need nothing else; other files
    need soundfile.

    Raises:
        InferenceError: the file is missing or cannot be read.
    """
    try:
        sound, own = _read_wav(path)
    except (wave.Error, EOFError):
        sound, own = _read_other(path)
    except OSError as error:
        raise InferenceError(f"{path} cannot be read: {error.strerror or error}") from error
    if own == rate and sound.dtype == np.int16 and sound.shape[1] == 1:
        return sound[:, 0]
    scale = 1.0 if sound.dtype == np.int16 else 32768.0
    mono = resampled(sound.mean(axis=1, dtype=np.float64) * scale, own, rate)
    return np.clip(np.round(mono), -32768, 32767).astype(np.int16)


def _read_wav(path: Path) -> tuple[np.ndarray, int]:
    """A 16-bit WAV file as int16 [samples, channels], and its rate."""
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2:
            raise wave.Error("not 16-bit")
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
        return samples.reshape(-1, file.getnchannels()), file.getframerate()


def _read_other(path: Path) -> tuple[np.ndarray, int]:
    """Any file that libsndfile reads as float64 [samples, channels] within ±1, and its rate."""
    try:
        import soundfile
    except ImportError as error:
        raise InferenceError(
            f"{path} is no 16-bit WAV file", hint=f"others need {EXTRA}"
        ) from error
    try:
        samples, rate = soundfile.read(str(path), dtype="float64", always_2d=True)
    except RuntimeError as error:  # soundfile's own errors derive from it
        raise InferenceError(f"{path} cannot be read as sound: {error}") from error
    return samples, int(rate)


def resampled(samples: np.ndarray, own: int, rate: int) -> np.ndarray:
    """Samples [N] from ``own`` to ``rate`` Hz by a windowed sinc: float64 [ceil(N * rate / own)].

    What lies above the lower of the two rates' bands is 80 dB down, so nothing folds back.
    """
    if own == rate:
        return samples.astype(np.float64)
    up, down = rate // gcd(own, rate), own // gcd(own, rate)
    cutoff = min(1.0, up / down) * PASSBAND
    reach = int(np.ceil(CROSSINGS / cutoff))
    count = -(-len(samples) * up // down)
    windows = sliding_window_view(np.pad(samples.astype(np.float64), reach), 2 * reach)
    taps = np.arange(2 * reach) - reach
    result = np.empty(count)
    for phase in range(min(up, count)):
        whole, part = divmod(phase * down, up)
        away = taps - part / up
        window = np.i0(KAISER * np.sqrt(np.clip(1 - (away / reach) ** 2, 0, None)))
        kernel = cutoff * np.sinc(cutoff * away) * window / np.i0(KAISER)
        places = len(range(phase, count, up))
        result[phase::up] = windows[whole::down][:places] @ kernel
    return result


def read_pipe(pipe: BinaryIO, size: int) -> Iterator[bytes]:
    """Raw bytes as they come, ``size`` at a time; the last piece may be shorter.

    A byte of half a sample at the very end is dropped.
    """
    while piece := pipe.read(size):
        yield piece[: len(piece) // 2 * 2]


def microphone(rate: int, chunk: int, device: str | int | None = None) -> Iterator[bytes]:
    """int16 samples of the microphone as bytes, ``chunk`` samples at a time, without end.

    Raises:
        InferenceError: sounddevice is missing, or there is no microphone.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the package is there, PortAudio is not
        hint = f"{EXTRA} (on Debian also: apt-get install libportaudio2)"
        raise InferenceError(f"no microphone: {error}", hint=hint) from error
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def store(data: Any, *_: Any) -> None:
        heard.put(bytes(data))

    try:
        stream = sounddevice.RawInputStream(
            samplerate=rate, channels=1, dtype="int16", blocksize=chunk, device=device,
            callback=store,
        )  # fmt: skip
    except (sounddevice.PortAudioError, ValueError) as error:
        raise InferenceError(f"no microphone at {rate} Hz: {error}") from error
    with stream:
        while True:
            yield heard.get()
