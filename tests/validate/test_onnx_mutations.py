"""The proof of ONNX models' own proof: defects in lowerings are caught, named, and shown."""

from __future__ import annotations

import functools
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pytorch_to_mlx as p2m
from pytorch_to_mlx.lower.onnx import load_families
from pytorch_to_mlx.validate.run import validate

from .mutate import Change, Defect, argument, bypassed, dropped, exchanged, option, planted, scaled
from .onnx_models import MODELS
from .test_mutations import RUN_ALL, always, larger

pytest.importorskip("onnxruntime")
SEED = 7


def attribute(name: str, new: Any) -> Change:
    """Another value for an attribute, whether the node has it or not."""
    return argument(99, name, lambda v, rng: new(v, rng) if callable(new) else new)


def gates_exchanged(real: Callable[..., Any], rng: random.Random) -> Callable[..., Any]:
    """The input and output gates of a recurrent layer's weights the wrong way round."""

    def lowering(x: Any, w: Any, r: Any, *rest: Any, **kwargs: Any) -> Any:
        from pytorch_to_mlx.graph import call

        n = w.dims[1] // 4
        parts = [call("getitem", w, (slice(None), slice(i * n, i * n + n))) for i in (1, 0, 2, 3)]
        return real(x, call("mx.concatenate", tuple(parts), axis=1), r, *rest, **kwargs)

    return lowering


def one_further(real: Callable[..., Any], rng: random.Random) -> Callable[..., Any]:
    """A slice of one element that takes the one after it."""

    def lowering(data: Any, starts: Any, ends: Any, *rest: Any) -> Any:
        moved = tuple(s + 1 if e == s + 1 else s for s, e in zip(starts, ends, strict=True))
        past = tuple(e + 1 if e == s + 1 else e for s, e in zip(starts, ends, strict=True))
        return real(data, moved, past, *rest)

    return lowering


def sizes_off(real: Callable[..., Any], rng: random.Random) -> Callable[..., Any]:
    """A shape whose first two sizes change places: wrong before any array is computed."""

    def lowering(data: Any, **attributes: Any) -> Any:
        out = real(data, **attributes)
        out.array = out.array[::-1].copy()
        return out

    return lowering


def sides_exchanged(v: Any, rng: random.Random) -> Any:
    return v[len(v) // 2 :] + v[: len(v) // 2]


LOWERINGS: list[tuple[str, str, str, tuple[str, ...], Change]] = [
    ("wrong axis", "reader", "Softmax", ("/attn/Softmax",), attribute("axis", -2)),
    ("eps", "reader", "LayerNormalization", ("/norm/LayerNorm",), attribute("epsilon", 0.02)),
    ("operands of minus", "reader", "Sub", ("/Sub",), exchanged(0, 1)),
    ("operands of divide", "reader", "Div", ("/attn/Div",), exchanged(0, 1)),
    (
        "order of parts",
        "reader",
        "Concat",
        ("/Concat",),
        lambda f, r: functools.wraps(f)(
            lambda *parts, axis: f(*(parts[::-1] if axis == -1 else parts), axis=axis)
        ),
    ),
    ("slice", "reader", "Slice", ("/Slice_1",), one_further),
    ("alpha lost", "reader", "Gemm", ("/head/Gemm",), attribute("alpha", 1.0)),
    ("transposed", "reader", "Gemm", ("/head/Gemm",), attribute("transB", 0)),
    ("branches", "reader", "Where", ("/attn/Where",), exchanged(1, 2)),
    ("sum leaves itself out", "reader", "CumSum", ("/CumSum",), attribute("exclusive", 1)),
    ("activation lost", "reader", "Tanh", ("/act/Tanh",), dropped),
    ("a little too large", "reader", "ReduceMean", ("/ReduceMean",), scaled),
    ("shape the wrong way round", "reader", "Shape", ("/attn/Shape",), sizes_off),
    ("bias lost", "vision", "Conv", ("/conv/Conv",), argument(2, "B", always(None))),
    (
        "padding of a convolution",
        "vision",
        "Conv",
        ("/conv/Conv",),
        attribute("pads", (2, 0, 0, 0)),
    ),
    ("eps of batch norm", "vision", "BatchNormalization", ("/bn/",), attribute("epsilon", 0.05)),
    ("statistics", "vision", "BatchNormalization", ("/bn/BatchNorm",), exchanged(2, 3)),
    ("side of padding", "vision", "Pad", ("/Pad",), argument(1, "pads", sides_exchanged)),
    ("border counted", "vision", "AveragePool", ("/pool/",), attribute("count_include_pad", 0)),
    (
        "grid",
        "vision",
        "Resize",
        ("/Resize",),
        attribute("coordinate_transformation_mode", "align_corners"),
    ),
    ("bounds exchanged", "vision", "Clip", ("/Clip",), exchanged(1, 2)),
    ("activation lost", "vision", "Relu", ("/act/Relu",), dropped),
    ("gates", "tagger", "LSTM", ("/lstm/LSTM",), gates_exchanged),
    ("smallest", "tagger", "TopK", ("/TopK",), attribute("largest", 0)),
    ("axis of a softmax", "tagger", "LogSoftmax", ("/LogSoftmax",), attribute("axis", 0)),
]
PASSES = [
    ("folded eps", "vision", "conv_batch_norm", ("BatchNorm",), "mx.add", option("b", larger, 1)),
    ("layer's eps", "reader", "layers", ("LayerNorm",), "nn.LayerNorm", option("eps", larger)),
    ("residual lost", "reader", "dead_code", ("/Sub",), "mx.subtract", bypassed),
]
DEFECTS = [
    *(Defect(n, m, op, where, change=change) for n, m, op, where, change in LOWERINGS),
    *(Defect(n, m, w, lines, target=t, tamper=tamper) for n, m, w, lines, t, tamper in PASSES),
]


@contextmanager
def spoilt(defect: Defect) -> Iterator[None]:
    """Within, the converter has the defect: a lowering keeps its signature, which binding reads."""
    if defect.change is None:
        with planted(defect, SEED):
            yield
        return
    versions = load_families()._table[("", defect.where)]
    saved = dict(versions)
    for since, real in saved.items():
        versions[since] = functools.wraps(real)(defect.change(real, random.Random(SEED)))
    try:
        yield
    finally:
        versions.update(saved)


@dataclass
class Trial:
    """What became of one defect: the proof, and the script's exit status and words."""

    defect: Defect
    passed: bool
    found: dict[str, Any]
    status: int | None = None
    said: str = ""

    @property
    def right(self) -> bool:
        """Whether the bisection names the op (or pass) and the node."""
        named = self.found.get("op" if self.defect.change else "pass") == self.defect.where
        origin = str(self.found.get("origin") or "")
        return named and any(piece in origin for piece in self.defect.line)


@pytest.fixture(scope="module")
def kept() -> list[Any]:
    """Temporary packages, which live as long as they are referred to."""
    return []


@pytest.fixture(scope="module")
def trials(kept: list[Any]) -> list[Trial]:
    found: list[Trial] = []
    scripts: dict[str, Trial] = {}
    for defect in DEFECTS:
        with spoilt(defect):
            converted = p2m.convert(MODELS[defect.model]())
            proof = validate(converted)
        kept.append(converted)
        trial = Trial(defect, proof.passed, proof.bisect or {})
        found.append(trial)
        if trial.found.get("repro"):
            scripts[str(converted.path / trial.found["repro"])] = trial
    command = [sys.executable, "-c", RUN_ALL, *scripts]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        if line.startswith("["):
            path, said = json.loads(line)
            scripts[path].status = 1 if isinstance(said, str) else said
            scripts[path].said = str(said or "")
    return found


def test_every_defect_is_caught(trials: list[Trial]) -> None:
    assert [t.defect.name for t in trials if t.passed] == []


def test_nine_of_ten_are_found(trials: list[Trial]) -> None:
    wrong = [(t.defect.name, t.defect.where, t.found) for t in trials if not t.right]
    assert len(wrong) <= len(trials) // 10, wrong


def test_scripts_show_the_fault(trials: list[Trial]) -> None:
    """Every defect that was found has a script that ends with 1 and says by how much."""
    shown = [t for t in trials if t.right]
    assert [(t.defect.name, t.found, t.said) for t in shown if t.status != 1] == []
    assert all(t.said.startswith(("result", "the MLX code raises")) for t in shown)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_sound_conversions_pass(model: str) -> None:
    converted = p2m.convert(MODELS[model]())
    report = validate(converted)
    assert report.passed, report.summary()
    assert report.bisect is None
    rows = {row["path"]: row for row in report.layers or []}
    assert max(row["relative"] for row in rows.values()) < 1e-4
    expected = {"reader": {"norm", "head"}, "vision": {"pool", "fc"}, "tagger": {"lstm", "out"}}
    assert expected[model] <= rows.keys()


def test_a_script_alone(tmp_path: Path) -> None:
    """It needs nothing but mlx, numpy, onnx and onnxruntime, and reads as a small model."""
    defect = next(d for d in DEFECTS if d.name == "eps")
    with spoilt(defect):
        converted = p2m.convert(MODELS[defect.model]())
        proof = validate(converted, quick=True)
    assert proof.bisect is not None
    assert proof.bisect["module"] == "norm"
    script = converted.path / str(proof.bisect["repro"])
    text = script.read_text()
    assert "pytorch_to_mlx" not in text
    assert "LayerNormalization <" in text or "= LayerNormalization" in text
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("result 0: off by")
