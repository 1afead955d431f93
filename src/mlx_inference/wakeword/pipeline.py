"""``WakeWord``: packages in, sound in, scores out."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TypeAlias, TypeVar

import mlx.core as mx
import numpy as np

from mlx_inference.errors import InferenceError
from mlx_inference.package import Package
from mlx_inference.wakeword.graphs import CHUNK, Graphs
from mlx_inference.wakeword.scores import Judge, Label
from mlx_inference.wakeword.stream import NOISE_EMBEDDINGS, Stream

#: Samples of one channel at 16 kHz; bytes are little-endian 16-bit samples.
PCM: TypeAlias = "np.ndarray | array[int] | bytes | bytearray | memoryview"
Folder: TypeAlias = "str | PathLike[str]"

#: Names of a head's classes, in order or by number; classes without a name are left out.
Names: TypeAlias = "Sequence[str] | Mapping[int, str]"


class WakeWord:
    """openWakeWord's streaming detector on converted packages.

    Args:
        mel: The package of ``melspectrogram.onnx``.
        embedding: The package of ``embedding_model.onnx``.
        heads: Packages of wake words, named by their folders or by the keys of a mapping.
        labels: Names of the classes, for heads that have several; numbers where there are none.
        threshold: From which score on a word counts as heard; for all heads or by head.
        patience: Calls in a row that must be at or above the threshold before one is reported;
            for all heads or by head. 0 asks for none.
        debounce: Seconds after a reported word in which it is not reported again.
        seed: Of the noise that stands for what was before the stream.
        compiled: Whether the step from samples to scores is compiled; by default on a GPU. (On a
            CPU it gains nothing, and compiling takes seconds.)

    Raises:
        InferenceError: a package does not load or is not of its stage, or options contradict.
    """

    def __init__(
        self,
        mel: Folder,
        embedding: Folder,
        heads: Folder | Sequence[Folder] | Mapping[str, Folder],
        *,
        labels: Mapping[str, Names] | None = None,
        threshold: float | Mapping[str, float] = 0.5,
        patience: int | Mapping[str, int] = 0,
        debounce: float = 0.0,
        seed: int = 0,
        compiled: bool | None = None,
    ) -> None:
        if compiled is None:
            compiled = mx.default_device().type != mx.DeviceType.cpu
        packages = {name: Package(folder) for name, folder in _named(heads).items()}
        graphs = Graphs(Package(Path(mel)), Package(Path(embedding)), packages, compiled=compiled)
        for name, window in graphs.windows.items():
            if window > NOISE_EMBEDDINGS:
                raise InferenceError(
                    f"the head {name!r} looks at {window} embeddings, "
                    f"but a stream begins with {NOISE_EMBEDDINGS}"
                )
        self.labels = list(_labels(graphs.classes, labels or {}))
        self.thresholds = _by_head(threshold, graphs.windows, "threshold", 0.5)
        wanted = _by_head(patience, graphs.windows, "patience", 0)
        waits = {name: calls for name, calls in wanted.items() if calls}
        if waits and debounce:
            raise InferenceError("patience and debounce cannot be combined", hint="pass one")
        if debounce < 0 or any(calls < 0 for calls in waits.values()):
            raise InferenceError("patience and debounce are not negative")
        self._judge = Judge(self.thresholds, waits, debounce)
        self._stream = Stream(graphs, seed)

    def detect(self, pcm_chunk: PCM) -> dict[str, float]:
        """Takes the next samples of the stream, as many as there are, and scores them.

        80 ms (1280 samples) at a time are the fastest answer. Of a call with several such chunks
        each label has its highest score; a call without a whole one gives the last call's score
        again (0 for heads with several classes). The first five calls give 0.

        Args:
            pcm_chunk: int16 samples [N], or bytes of them.

        Returns:
            The score by label, between 0 and 1.

        Raises:
            InferenceError: the samples are not int16 of one channel.
        """
        samples, scores = self._stream.push(samples_of(pcm_chunk))
        if scores is None:
            raw = {label: self._judge.last(label) for label in self.labels}
        else:
            best = scores.max(axis=0).tolist()
            raw = {label: best[label.column] for label in self.labels}
        return self._judge.judged(raw, samples)

    def heard(self, scores: Mapping[str, float]) -> list[str]:
        """The labels whose score is at or above their threshold, the highest first."""
        over = [x for x in self.labels if scores[x.name] >= self.thresholds[x.head]]
        return sorted((x.name for x in over), key=lambda name: -scores[name])

    def reset(self) -> None:
        """Begins a new stream."""
        self._stream.reset()
        self._judge.reset()

    @property
    def frames(self) -> np.ndarray:
        """The last spectrogram frames, float32 [76, 32], scaled as the embedding takes them."""
        return self._stream.frames

    @property
    def embeddings(self) -> np.ndarray:
        """The last embeddings, at most 120, float32 [n, 96]."""
        return self._stream.embeddings


def samples_of(pcm: PCM) -> np.ndarray:
    """int16 samples [N] of what :meth:`WakeWord.detect` takes.

    Raises:
        InferenceError: they are not int16 of one channel.
    """
    if isinstance(pcm, (bytes, bytearray)) or (isinstance(pcm, memoryview) and pcm.itemsize == 1):
        if len(pcm) % 2:
            raise InferenceError(f"{len(pcm)} bytes are no 16-bit samples")
        return np.frombuffer(pcm, "<i2").astype(np.int16)
    samples = np.asarray(pcm)
    if samples.dtype.kind != "i" or samples.dtype.itemsize != 2 or samples.ndim != 1:
        raise InferenceError(
            f"sound is int16 [N], not {samples.dtype} {list(samples.shape)}",
            hint="scale floats by 32767 and cast them; mix channels down to one",
        )
    return samples.astype(np.int16)


def _named(heads: Folder | Sequence[Folder] | Mapping[str, Folder]) -> dict[str, Path]:
    if isinstance(heads, Mapping):
        named = [(name, Path(folder)) for name, folder in heads.items()]
    else:
        folders = [heads] if isinstance(heads, (str, PathLike)) else heads
        named = [(Path(f).resolve().name, Path(f)) for f in folders]
    names = [name for name, _ in named]
    twice = [name for name in names if names.count(name) > 1]
    if twice or not names:
        raise InferenceError(
            f"two heads are called {twice[0]!r}" if twice else "there is no head",
            hint="pass a mapping from names to folders",
        )
    return dict(named)


def _labels(classes: Mapping[str, int], names: Mapping[str, Names]) -> Iterator[Label]:
    """Every class that is reported; a head of one class is reported under its own name."""
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise InferenceError(f"labels for {unknown[0]!r}, but the heads are {', '.join(classes)}")
    column, taken = 0, set()
    for head, count in classes.items():
        given = names.get(head, [head] if count == 1 else [str(i) for i in range(count)])
        numbered = given if isinstance(given, Mapping) else dict(enumerate(given))
        if not all(0 <= i < count for i in numbered):
            raise InferenceError(f"the head {head!r} has {count} classes, not {len(numbered)}")
        for i, name in sorted(numbered.items()):
            if name in taken:
                raise InferenceError(f"two classes are called {name!r}", hint="pass labels")
            taken.add(name)
            yield Label(name, head, column + i, repeats=count == 1)
        column += count


Number = TypeVar("Number", int, float)


def _by_head(
    value: Number | Mapping[str, Number], heads: Mapping[str, int], what: str, default: Number
) -> dict[str, Number]:
    """The value of each head; those that a mapping leaves out have the default."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(heads, value)
    unknown = sorted(set(value) - set(heads))
    if unknown:
        raise InferenceError(f"{what} for {unknown[0]!r}, but the heads are {', '.join(heads)}")
    return {name: value.get(name, default) for name in heads}


__all__ = ["CHUNK", "PCM", "WakeWord", "samples_of"]
