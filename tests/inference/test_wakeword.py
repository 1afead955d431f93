"""``WakeWord`` on converted packages against openWakeWord on onnxruntime, call by call."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_inference import InferenceError, WakeWord
from tests.fixtures import openwakeword_reference as reference

HEADS = ["hey_seeded", "commands"]
SEED = 7

#: Of each stage's largest magnitude. Both sides compute in float32 and sum in other orders. A band
#: 80 dB below the loudest holds the rounding errors of the loud ones, 1e-4 of its own amplitude: a
#: thousandth of a dB, so 1e-4 after x / 10. (Seen: 7e-6 in frames, 6e-6 in embeddings.)
FRAMES, EMBEDDINGS = 2e-5, 2e-5
#: Scores lie between 0 and 1. (Seen: 2e-5.)
SCORES = 1e-4


needs_openwakeword = pytest.mark.skipif(
    not reference.is_installed(),
    reason="openwakeword is not installed (pip install --no-deps openwakeword)",
)


def detector(packages: dict[str, Path], heads: Sequence[str] = HEADS, **options: Any) -> WakeWord:
    folders = [packages[name] for name in heads]
    embedding = packages["embedding_model"]
    return WakeWord(packages["melspectrogram"], embedding, folders, seed=SEED, **options)


def near(got: np.ndarray, want: np.ndarray, tolerance: float) -> None:
    assert got.shape == want.shape
    assert got.dtype == np.float32
    assert np.isfinite(want).all()
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())


def cut(pcm: np.ndarray, lengths: Sequence[int]) -> Iterator[np.ndarray]:
    """The sound in calls of these lengths, over and over."""
    start = 0
    while start < len(pcm):
        for length in lengths:
            yield pcm[start : start + length]
            start += length


MIXED = [1280, 1, 0, 2500, 37, 1279, 3, 640, 12800, 999]


@needs_openwakeword
@pytest.mark.parametrize(
    "lengths", [[1280], [640], [400], [1281], [5000], MIXED], ids=lambda x: "-".join(map(str, x))
)
def test_equal_to_openwakeword(
    lengths: list[int],
    packages: dict[str, Path],
    graphs: dict[str, Path],
    speech: np.ndarray,
) -> None:
    original = reference.detector(graphs, HEADS, SEED)
    ours = detector(packages)
    near(ours.embeddings, original.preprocessor.feature_buffer, EMBEDDINGS)
    seen = []
    for pcm in cut(speech, lengths):
        want, got = original.predict(pcm), ours.detect(pcm)
        buffers = original.preprocessor
        near(ours.frames, buffers.melspectrogram_buffer[-76:], FRAMES)
        near(ours.embeddings, buffers.feature_buffer, EMBEDDINGS)
        assert list(got) == list(want)
        values = [float(score) for score in want.values()]
        np.testing.assert_allclose(list(got.values()), values, rtol=0, atol=SCORES)
        assert all(type(score) is float for score in got.values())
        seen.append(values)
    assert len(ours.embeddings) == 120
    agreement = np.corrcoef(ours.embeddings.ravel(), buffers.feature_buffer.ravel())[0, 1]
    assert agreement > 1 - 1e-9
    varied = np.std(seen, axis=0)
    assert (varied > 0.05).all(), "scores that hardly move prove nothing"
    assert np.array(seen)[:5].max() == 0


@needs_openwakeword
@pytest.mark.parametrize("length", [1280, 640])
def test_debouncing_is_that_of_openwakeword(
    length: int,
    packages: dict[str, Path],
    graphs: dict[str, Path],
    speech: np.ndarray,
) -> None:
    original = reference.detector(graphs, ["hey_seeded"], SEED)
    ours = detector(packages, ["hey_seeded"], threshold=0.4, debounce=0.5)
    plain = detector(packages, ["hey_seeded"], threshold=0.4)
    limits = {"hey_seeded": 0.4}
    zeroed = passed = 0
    for pcm in cut(speech[: 8 * 16000], [length]):
        want = original.predict(pcm, threshold=limits, debounce_time=0.5)["hey_seeded"]
        got, unfiltered = ours.detect(pcm), plain.detect(pcm)
        np.testing.assert_allclose(got["hey_seeded"], want, rtol=0, atol=SCORES)
        passed += bool(ours.heard(got))
        zeroed += bool(plain.heard(unfiltered)) and not ours.heard(got)
    assert zeroed > 2
    assert passed > 2


@pytest.mark.parametrize("length", [1280, 640])
def test_patience_waits_for_calls_in_a_row(
    length: int, packages: dict[str, Path], speech: np.ndarray
) -> None:
    ours = detector(packages, ["hey_seeded"], threshold={"hey_seeded": 0.3}, patience=2)
    plain = detector(packages, ["hey_seeded"])
    before: list[float] = []
    zeroed = passed = 0
    for pcm in cut(speech[: 6 * 16000], [length]):
        (got,), (raw,) = ours.detect(pcm).values(), plain.detect(pcm).values()
        due = len(before) >= 2 and min(before[-2:]) >= 0.3
        assert got == (raw if due else 0.0)
        zeroed += raw >= 0.3 and not due
        passed += raw >= 0.3 and due
        before.append(raw)
    assert zeroed > 2
    assert passed > 2


@needs_openwakeword
def test_reset_begins_again(
    packages: dict[str, Path],
    graphs: dict[str, Path],
    speech: np.ndarray,
) -> None:
    original = reference.detector(graphs, HEADS, SEED)
    ours = detector(packages)
    for pcm in cut(speech[: 3 * 16000], [1300]):
        original.predict(pcm)
        ours.detect(pcm)
    np.random.seed(SEED)
    original.reset()
    ours.reset()
    again = detector(packages)
    for pcm in cut(speech[: 2 * 16000], [1280]):
        want, got = original.predict(pcm), ours.detect(pcm)
        near(ours.embeddings, original.preprocessor.feature_buffer, EMBEDDINGS)
        np.testing.assert_allclose(list(got.values()), list(want.values()), rtol=0, atol=SCORES)
        assert again.detect(pcm) == got


def test_compiled_and_eager_agree(packages: dict[str, Path], speech: np.ndarray) -> None:
    eager, compiled = detector(packages, compiled=False), detector(packages, compiled=True)
    for pcm in cut(speech[16000 : 3 * 16000], [1280]):
        want, got = eager.detect(pcm), compiled.detect(pcm)
        np.testing.assert_allclose(list(got.values()), list(want.values()), rtol=0, atol=1e-5)
    near(compiled.embeddings, eager.embeddings, 1e-6)


def test_long_calls_are_taken_in_pieces(packages: dict[str, Path], speech: np.ndarray) -> None:
    """Where openWakeWord's buffers end: as if they had come in calls of eight seconds."""
    long = np.concatenate([speech, speech])[: 160 * 1280 + 77]
    at_once, pieces = detector(packages), detector(packages)
    for ours in (at_once, pieces):
        ours.detect(speech[:12800])
        for _ in range(5):
            ours.detect(speech[:0])
    got = at_once.detect(long)
    want = [pieces.detect(long[: 100 * 1280]), pieces.detect(long[100 * 1280 :])]
    assert got == {name: max(scores[name] for scores in want) for name in got}
    np.testing.assert_array_equal(at_once.embeddings, pieces.embeddings)


def test_samples_may_be_arrays_or_bytes(packages: dict[str, Path], speech: np.ndarray) -> None:
    ours = {name: detector(packages, ["hey_seeded"]) for name in ("numpy", "array", "bytes")}
    for pcm in cut(speech[16000:28800], [1280]):
        want = ours["numpy"].detect(pcm)
        assert ours["array"].detect(array("h", pcm.tolist())) == want
        data = pcm.astype("<i2").tobytes()
        assert ours["bytes"].detect(memoryview(data)) == want


@pytest.mark.parametrize(
    ("pcm", "message"),
    [
        (np.zeros(1280, np.float32), "not float32"),
        (np.zeros((1280, 2), np.int16), r"\[1280, 2\]"),
        (np.zeros(1280, np.uint16), "not uint16"),
        (b"abc", "3 bytes"),
    ],
)
def test_other_sound_is_refused(packages: dict[str, Path], pcm: Any, message: str) -> None:
    with pytest.raises(InferenceError, match=message):
        detector(packages, ["hey_seeded"]).detect(pcm)


def test_labels(packages: dict[str, Path], speech: np.ndarray) -> None:
    plain = detector(packages).detect(speech[:1280])
    assert list(plain) == ["hey_seeded", "0", "1", "2"]
    named = detector(packages, labels={"commands": {2: "stop", 0: "go"}})
    assert list(named.detect(speech[:1280])) == ["hey_seeded", "go", "stop"]
    for pcm in cut(speech[16000:32000], [1280]):
        scores = named.detect(pcm)
    assert named.heard({"hey_seeded": 0.5, "go": 0.9, "stop": 0.1}) == ["go", "hey_seeded"]
    assert scores.keys() == {"hey_seeded", "go", "stop"}


def test_what_does_not_fit_is_refused(packages: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InferenceError, match="is not a mel spectrogram: it takes"):
        detector({**packages, "melspectrogram": packages["embedding_model"]})
    with pytest.raises(InferenceError, match=r"is not the head 'melspectrogram'"):
        detector(packages, ["melspectrogram"])
    with pytest.raises(InferenceError, match="no converted model"):
        detector({**packages, "hey_seeded": tmp_path})
    with pytest.raises(InferenceError, match="two heads are called 'hey_seeded'"):
        detector(packages, ["hey_seeded", "hey_seeded"])
    with pytest.raises(InferenceError, match="two classes are called 'x'"):
        detector(packages, labels={"commands": ["x", "x"]})
    with pytest.raises(InferenceError, match="has 3 classes"):
        detector(packages, labels={"commands": ["a", "b", "c", "d"]})
    with pytest.raises(InferenceError, match="labels for 'other'"):
        detector(packages, labels={"other": ["x"]})
    with pytest.raises(InferenceError, match="threshold for 'other'"):
        detector(packages, threshold={"other": 0.5})
    with pytest.raises(InferenceError, match="cannot be combined"):
        detector(packages, patience=1, debounce=1.0)
