"""Around a CREPE model: test signals, frames, and pitch from its 360 bins. Plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

RATE = 16_000
FRAME = 1024
HOP = 160  # 10 ms
CENTS_PER_BIN = 20.0
FIRST_BIN_CENTS = 1997.3794084376191  # above 10 Hz: bin 0 is at 31.7 Hz
REACH = 4  # bins on each side of the highest one that its pitch is averaged over

Model: TypeAlias = Callable[[np.ndarray], np.ndarray]


# -- signals ---------------------------------------------------------------------------------------


def tone(hertz: float, seconds: float = 0.25) -> np.ndarray:
    """A steady tone with six harmonics: float32 [samples]."""
    return _harmonics(np.full(round(seconds * RATE), hertz))


def glide(start: float, end: float, seconds: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """A tone that moves evenly in pitch, and its frequency at every sample."""
    count = round(seconds * RATE)
    hertz = start * (end / start) ** (np.arange(count) / count)
    return _harmonics(hertz), hertz


def _harmonics(hertz: np.ndarray) -> np.ndarray:
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    waves = [np.sin(k * phase) * (k * hertz < RATE / 2) / k for k in range(1, 7)]
    return (0.3 * np.sum(waves, axis=0)).astype(np.float32)


def resampled(audio: np.ndarray, rate: int) -> np.ndarray:
    """Audio of another sample rate at 16 kHz, band-limited by its spectrum: float32 [samples]."""
    count = round(len(audio) * RATE / rate)
    spectrum = np.fft.rfft(audio)
    kept = spectrum[: count // 2 + 1]
    return (np.fft.irfft(kept, count) * (count / len(audio))).astype(np.float32)


# -- frames and pitch ------------------------------------------------------------------------------


def frames_of(audio: np.ndarray) -> np.ndarray:
    """Frames of 1024 samples every 10 ms, each of mean 0 and deviation 1: float32 [frames, 1024].

    Only whole frames: the middle of frame ``i`` is sample ``160 * i + 512``.
    """
    windows = np.lib.stride_tricks.sliding_window_view(audio, FRAME)[::HOP]
    centred = windows - windows.mean(axis=1, keepdims=True)
    return (centred / np.maximum(1e-10, centred.std(axis=1, keepdims=True))).astype(np.float32)


def at_frames(values: np.ndarray) -> np.ndarray:
    """A value for every sample at the middles of the frames."""
    count = (len(values) - FRAME) // HOP + 1
    return values[FRAME // 2 :: HOP][:count]


def cents(bins: np.ndarray) -> np.ndarray:
    """Pitch in cents above 10 Hz from a model's output.

    ``bins``: [frames, 360], the likelihood of pitches 20 cents apart. The mean of the pitches
    around the likeliest one, weighted by their likelihoods: [frames], float64.
    """
    peak = bins.argmax(axis=1)[:, None]
    near = np.abs(np.arange(bins.shape[1]) - peak) <= REACH
    weights = np.where(near, bins, 0).astype(np.float64)
    scale = FIRST_BIN_CENTS + CENTS_PER_BIN * np.arange(bins.shape[1])
    return (weights * scale).sum(axis=1) / weights.sum(axis=1)


def cents_of(hertz: np.ndarray | float) -> np.ndarray:
    """Hertz as cents above 10 Hz."""
    return 1200 * np.log2(np.asarray(hertz, np.float64) / 10)


def hertz_of(pitch: np.ndarray) -> np.ndarray:
    """Cents above 10 Hz as hertz."""
    return 10 * 2 ** (pitch / 1200)


def certain(bins: np.ndarray, margin: float) -> np.ndarray:
    """Frames whose highest bin stands out by more than ``margin``: rounding cannot move it."""
    first, second = np.sort(bins, axis=1)[:, -1], np.sort(bins, axis=1)[:, -2]
    return first - second > margin


def in_batches(model: Model, frames: np.ndarray, size: int = 8) -> np.ndarray:
    """The outputs for any number of frames, some at a time."""
    return np.concatenate([model(frames[i : i + size]) for i in range(0, len(frames), size)])
