"""The three stages as one function of arrays, from new samples to scores.

samples ─► mel spectrogram ─► windows of 76 frames, step 8 ─► embeddings ─► heads ─► scores
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import mlx.core as mx

from mlx_inference.errors import InferenceError
from mlx_inference.package import Package

#: Samples of a chunk (80 ms at 16 kHz), and frames of its spectrogram.
CHUNK, FRAMES_PER_CHUNK = 1280, 8
#: Frames of an embedding's window, mel bands, and values of an embedding.
WINDOW, BANDS, FEATURES = 76, 32, 96
#: Embeddings that are kept: almost ten seconds.
KEPT = 120

#: New samples [1, N], frames [76, 32], embeddings [120, 96] -> the latter two moved on, and scores
#: [chunks, classes of all heads].
Step = Callable[[mx.array, mx.array, mx.array], tuple[mx.array, mx.array, mx.array]]


class Graphs:
    """The packages of the three stages, checked against the sizes that the stream has.

    Raises:
        InferenceError: a package has other inputs or outputs than its stage.
    """

    def __init__(
        self, mel: Package, embedding: Package, heads: Mapping[str, Package], *, compiled: bool
    ) -> None:
        self.mel = mel
        self.embedding = embedding
        self.heads = dict(heads)
        _fits(mel, "a mel spectrogram", [[None, str]])
        _fits(embedding, "an embedding", [[None, WINDOW, BANDS, 1]])
        self.any_batch = isinstance(embedding.inputs[0][0], str)
        #: By head: how many embeddings it looks at, and how many classes it scores.
        self.windows: dict[str, int] = {}
        self.classes: dict[str, int] = {}
        for name, head in self.heads.items():
            _fits(head, f"the head {name!r}", [[None, int, FEATURES]], [[None, int]])
            self.windows[name] = int(head.inputs[0][1])
            self.classes[name] = int(head.outputs[0][1])
        self.step: Step = mx.compile(self._step) if compiled else self._step

    def frames(self, samples: mx.array) -> mx.array:
        """The spectrogram [frames, 32] of int16 samples [1, N], scaled as the embedding wants it.

        The scale is openWakeWord's ``x / 10 + 2``.
        """
        return self.mel(samples.astype(mx.float32)).reshape(-1, BANDS) / 10 + 2

    def embed(self, frames: mx.array, starts: range) -> mx.array:
        """The embeddings [windows, 96] of the windows that start at ``starts``."""
        windows = mx.stack([frames[i : i + WINDOW] for i in starts])[..., None]
        if self.any_batch:
            return self.embedding(windows).reshape(-1, FEATURES)
        each = [self.embedding(windows[i : i + 1]) for i in range(len(starts))]
        return mx.concatenate([e.reshape(1, FEATURES) for e in each])

    def _step(
        self, samples: mx.array, frames: mx.array, embeddings: mx.array
    ) -> tuple[mx.array, mx.array, mx.array]:
        frames = mx.concatenate([frames, self.frames(samples)])
        chunks = max(1, samples.shape[1] // CHUNK)
        first = len(frames) - WINDOW - FRAMES_PER_CHUNK * (chunks - 1)
        new = self.embed(frames, range(first, len(frames) - WINDOW + 1, FRAMES_PER_CHUNK))
        embeddings = mx.concatenate([embeddings, new])
        scores = []
        for end in range(KEPT + 1, KEPT + chunks + 1):
            for name, head in self.heads.items():
                scores.append(head(embeddings[None, end - self.windows[name] : end])[0])
        return frames[-WINDOW:], embeddings[-KEPT:], mx.concatenate(scores).reshape(chunks, -1)


def _fits(
    package: Package,
    stage: str,
    inputs: list[list[int | type | None]],
    outputs: list[list[int | type | None]] | None = None,
) -> None:
    """Compares shapes with patterns: a number, ``int`` or ``str`` (any fixed or open size)."""
    for kind, shapes, patterns in (
        ("takes", package.inputs, inputs),
        ("gives", package.outputs, outputs),
    ):
        if patterns is not None and not (
            len(shapes) == len(patterns)
            and all(_matches(s, p) for s, p in zip(shapes, patterns, strict=True))
        ):
            raise InferenceError(
                f"{package.folder} is not {stage}: it {kind} {_shown(shapes)}, "
                f"not {_shown([[_word(p) for p in pattern] for pattern in patterns])}",
                hint="pass each stage's own package",
            )


def _matches(shape: list[int | str], pattern: list[int | type | None]) -> bool:
    return len(shape) == len(pattern) and all(
        p is None or size == p or (isinstance(p, type) and isinstance(size, p))
        for size, p in zip(shape, pattern, strict=True)
    )


def _word(size: int | type | None) -> int | str:
    if isinstance(size, int):
        return size
    return "a fixed size" if size is int else "any size"


def _shown(shapes: list[list[int | str]]) -> str:
    return ", ".join(f"[{', '.join(map(str, shape))}]" for shape in shapes) or "nothing"
