"""From raw scores to those that are reported: the first calls, patience, debouncing."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

RATE = 16000
#: Calls after a start whose scores are zero, because the stream is still mostly noise.
WARM_UP = 5
#: Calls that are remembered, at least.
REMEMBERED = 30


@dataclass(frozen=True)
class Label:
    """One reported score: its name, the head it comes from, its column, and how it is judged.

    ``repeats`` says that a call without a whole chunk repeats the last score; else it gives zero.
    openWakeWord repeats those of heads with one class.
    """

    name: str
    head: str
    column: int
    repeats: bool


@dataclass
class Judge:
    """Turns raw scores into reported ones and remembers both.

    ``patience`` (by head) asks for that many calls in a row at or above the threshold before the
    current one; ``debounce`` zeroes scores for so many seconds after one that was reported at or
    above it. Time is counted in calls, as openWakeWord counts it. (Its own patience, in 0.6.0,
    looks at reported scores, which are zero until it has looked, and so never lets one through.)
    """

    thresholds: Mapping[str, float]
    patience: Mapping[str, int] = field(default_factory=dict)
    debounce: float = 0.0

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets every call."""
        self._raw: defaultdict[str, deque[float]] = defaultdict(deque)
        self._reported: defaultdict[str, deque[float]] = defaultdict(deque)

    def last(self, label: Label) -> float:
        """The score of the call before; 0 if there was none or the label does not repeat it."""
        history = self._raw if label.head in self.patience else self._reported
        return history[label.name][-1] if history[label.name] and label.repeats else 0.0

    def judged(self, raw: Mapping[Label, float], samples: int) -> dict[str, float]:
        """The reported scores of one call that took (or holds) ``samples`` samples."""
        return {label.name: self._judged(label, score, samples) for label, score in raw.items()}

    def _judged(self, label: Label, score: float, samples: int) -> float:
        raw, reported = self._raw[label.name], self._reported[label.name]
        if len(reported) < WARM_UP:
            score = 0.0
        threshold = self.thresholds[label.head]
        needed = self.patience.get(label.head, 0)
        calls = math.ceil(self.debounce / (samples / RATE)) if samples else 0
        patient = len(raw) >= needed and (not needed or _all_over(raw, needed, threshold))
        bounced = calls and score >= threshold and _any_over(reported, calls, threshold)
        kept = score if patient and not bounced else 0.0
        _remember(raw, score, needed)
        _remember(reported, kept, calls)
        return kept


def _all_over(history: deque[float], calls: int, threshold: float) -> bool:
    return all(score >= threshold for score in list(history)[-calls:])


def _any_over(history: deque[float], calls: int, threshold: float) -> bool:
    return any(score >= threshold for score in list(history)[-calls:])


def _remember(history: deque[float], score: float, calls: int) -> None:
    history.append(score)
    while len(history) > max(REMEMBERED, calls):
        history.popleft()
