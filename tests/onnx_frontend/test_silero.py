"""Silero VAD from its ONNX files: speech probabilities and segments over a minute of sound.

All files hold the same network in float32, ``half`` (of the rates, not the precision) too, so all
are judged alike: by the probability of every step, state carried over, beside onnxruntime's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import pytorch_to_mlx as p2m
from pytorch_to_mlx.cli.app import app
from tests.speech import segments, silero_file, sound

ort = pytest.importorskip("onnxruntime")

#: What is fed to each file, and the rates that it is for.
FILES = {
    "silero_vad": (("input", "state", "sr"), (16000, 8000)),
    "silero_vad_op18_ifless": (("input", "state", "sr"), (16000, 8000)),
    "silero_vad_16k_op15": (("input", "state", "sr"), (16000,)),
    "silero_vad_half": (("input", "state"), (16000,)),
    "silero_vad_16k_sequence": (("input", "h", "c"), (16000,)),
    "silero_vad_openvino_16k": (("input", "state"), (16000,)),
}
Run = Callable[..., Mapping[str, Any]]


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], np.ndarray]:
    made: dict[int, np.ndarray] = {}

    def frames(rate: int) -> np.ndarray:
        """A minute at a rate as steps of 32 ms, each behind the last 4 ms of the one before."""
        if rate not in made:
            step, context = rate * 32 // 1000, rate * 4 // 1000
            track = sound(rate, tmp_path_factory.mktemp(f"sound{rate}"))
            track = np.concatenate([np.zeros(context, np.float32), track])
            starts = range(0, len(track) - context - step + 1, step)
            made[rate] = np.stack([track[s : s + context + step] for s in starts])
        return made[rate]

    return frames


def inputs_of(name: str, rate: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Example inputs: noise that is loud enough for the weights to matter."""
    draw = np.random.default_rng(seed)
    size = rate * 36 // 1000
    shapes = {"input": (1, size), "state": (2, 1, 128), "h": (1, 1, 128), "c": (1, 1, 128)}
    if "sequence" in name:
        shapes["input"] = (5, size)
    values = {k: draw.standard_normal(s).astype(np.float32) for k, s in shapes.items()}
    values["sr"] = np.array(rate)
    return {k: values[k] for k in FILES[name][0]}


def probabilities(run: Run, name: str, rate: int, frames: np.ndarray) -> np.ndarray:
    """What a model says at every step, with its state handed on."""
    if "sequence" in name:
        state = {k: np.zeros((1, 1, 128), np.float32) for k in "hc"}
        return np.asarray(run(input=frames, **state)["speech_probs"])
    more = {"sr": np.array(rate)} if "sr" in FILES[name][0] else {}
    state, found = np.zeros((2, 1, 128), np.float32), []
    for frame in frames:
        out = run(input=frame[None], state=state, **more)
        state = out["stateN"]
        found.append(np.asarray(out["output"]).item())
    return np.array(found)


def original(path: Path) -> Run:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]

    def run(**feed: np.ndarray) -> Mapping[str, Any]:
        return dict(zip(names, session.run(None, feed), strict=True))

    return run


def converted_run(model: Any) -> Run:
    return lambda **feed: model(**{k: mx.array(v) for k, v in feed.items()})


def compare(name: str, rate: int, model: Any, frames: np.ndarray) -> None:
    want = probabilities(original(silero_file(f"{name}.onnx")), name, rate, frames)
    got = probabilities(converted_run(model), name, rate, frames)
    assert got.shape == want.shape == (60 * 1000 // 32,)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
    assert segments(got) == segments(want)
    assert len(segments(want)) >= 3


@pytest.mark.parametrize("name", FILES)
def test_the_command_line_needs_no_inputs(
    name: str, tmp_path: Path, tracks: Callable[[int], np.ndarray]
) -> None:
    from typer.testing import CliRunner

    words = ["convert", "--input", silero_file(f"{name}.onnx"), "--output", tmp_path / "out"]
    result = CliRunner().invoke(app, [*(str(w) for w in words), "--validate"])
    assert result.exit_code == 0, result.output
    model = p2m.load(tmp_path / "out")
    for rate in FILES[name][1]:
        compare(name, rate, model, tracks(rate))


@pytest.mark.parametrize("name", FILES)
def test_converted_at_inputs_of_ones_own(name: str) -> None:
    """The proof at the other rate too, where other weights (and not the first rate's) count."""
    rates = FILES[name][1]
    converted = p2m.convert(silero_file(f"{name}.onnx"), (), inputs_of(name, rates[0]))
    proof = p2m.validate(converted, quick=True)
    assert proof.passed, proof.summary()
    for rate in rates[1:]:
        proof = p2m.validate(converted, kwargs=inputs_of(name, rate, seed=1))
        assert proof.passed, proof.summary()
        inert = proof.perturbation["inert"]
        assert proof.perturbation["checked"] - len(inert) >= 9
        assert any("then_branch" in p or p.startswith("model.") for p in inert)


def test_the_code_of_25_ifs_is_one_if(tmp_path: Path) -> None:
    code = p2m.convert(silero_file("silero_vad.onnx"), (), inputs_of("silero_vad", 16000)).code
    classes = code[code.index("class Block(") : code.index("def load")]
    assert classes.count("class ") == 4
    assert classes.count("if (sr == 16000).item():") == 1
    assert classes.count(" if ") == 2  # that, and a size for which the file's own ``If`` squeezes
    assert "x, h = self.then_branch(input, state)" in classes
    assert "self.then_branch = Branch(" in classes
    assert "self.else_branch = Branch(" in classes
    assert "self.rnn = nn.LSTM(128, 128)" in classes
    assert len(classes.splitlines()) < 110


def test_weights_of_another_file(tmp_path: Path) -> None:
    """The constants in the branches are weights, which ``convert_weights.py`` finds again."""
    import subprocess
    import sys

    onnx = pytest.importorskip("onnx")
    from pytorch_to_mlx.capture.onnx.tensors import tensor_holders

    model = onnx.load(silero_file("silero_vad.onnx"))
    for name, tensor in tensor_holders(model.graph):
        if name.endswith("encoder.0.reparam_conv.bias"):
            array = onnx.numpy_helper.to_array(tensor) + np.float32(0.1)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array))
    onnx.save(model, tmp_path / "tuned.onnx")
    inputs = inputs_of("silero_vad", 16000)
    p2m.convert(silero_file("silero_vad.onnx"), (), inputs, output=tmp_path / "out")
    command = [sys.executable, tmp_path / "out" / "convert_weights.py", tmp_path / "tuned.onnx"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    tuned, plain = (
        original(p)(**inputs)["output"]
        for p in (tmp_path / "tuned.onnx", silero_file("silero_vad.onnx"))
    )
    got = converted_run(p2m.load(tmp_path / "out"))(**inputs)["output"]
    np.testing.assert_allclose(np.asarray(got), tuned, atol=1e-5)
    assert np.abs(tuned - plain).max() > 1e-3
