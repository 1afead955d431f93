"""Sound with speech, pauses and noise, and segments of speech from probabilities. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

RATE = 16000
#: Samples that a probability stands for.
STEP = 512
#: Speech begins at the first probability and ends below the second.
ENTER, LEAVE = 0.5, 0.35
#: Seconds: silence that ends speech, speech that counts, and what is added at both ends.
SILENCE, SPEECH, MARGIN = 0.1, 0.25, 0.03

#: (start, end) in seconds.
Segments: TypeAlias = "list[tuple[float, float]]"
#: A frame [512] to the probability that it is speech; it remembers the frames before.
Model: TypeAlias = Callable[[np.ndarray], float]


def scene(sentences: Sequence[np.ndarray], seed: int = 0) -> np.ndarray:
    """The sentences with pauses over noise that comes and goes: float32 [frames * 512]."""
    rng = np.random.default_rng(seed)
    parts = [np.zeros(RATE)]
    for sentence in sentences:
        parts += [sentence * rng.uniform(0.4, 1.0), np.zeros(round(rng.uniform(0.4, 2) * RATE))]
    track = np.concatenate(parts)
    track = np.pad(track, (0, -len(track) % STEP))
    swell = 1 + np.sin(2 * np.pi * np.arange(len(track)) / RATE / 7)
    noise = rng.standard_normal(len(track)) * 0.01 * swell
    return np.clip(track + noise, -1, 1).astype(np.float32)


def probabilities(model: Model, sound: np.ndarray) -> np.ndarray:
    """The model's probability for each frame of ``sound``: float64 [frames]."""
    return np.array([model(frame) for frame in sound.reshape(-1, STEP)])


def segments(found: np.ndarray) -> Segments:
    """Where there is speech, by the rules that Silero's own segments follow."""
    runs: list[list[float]] = []
    speaking, quiet_since = False, 0
    for i, p in enumerate(found):
        if p >= ENTER:
            if not speaking:
                runs.append([i, len(found)])
            speaking, quiet_since = True, 0
        elif speaking and p < LEAVE:
            quiet_since = quiet_since or i
            if (i - quiet_since) * STEP >= SILENCE * RATE:
                runs[-1][1], speaking = quiet_since, False
                quiet_since = 0
    spoken = [(a * STEP / RATE, b * STEP / RATE) for a, b in runs if (b - a) * STEP > SPEECH * RATE]
    return [(max(0.0, a - MARGIN), min(b + MARGIN, len(found) * STEP / RATE)) for a, b in spoken]
