"""The proof's own proof: defects in the converter are caught, found, and shown by scripts."""

from __future__ import annotations

import json
import linecache
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx import api
from pytorch_to_mlx.graph import call
from pytorch_to_mlx.validate.run import validate

from .models import make
from .mutate import (
    Defect,
    argument,
    axes_turned,
    bypassed,
    causal_from_the_end,
    counted_from,
    dropped,
    exchanged,
    first_weight_again,
    flipped,
    option,
    overflowing,
    planted,
    recipe_turned,
    scaled,
    state_forgotten,
    swapped,
)

torch.set_num_threads(1)

SEED = 20


def larger(v: Any, rng: random.Random) -> Any:
    return v * rng.uniform(100, 1000)


def a_little_off(v: Any, rng: random.Random) -> Any:
    return v * (1 + rng.choice((-1, 1)) * rng.uniform(0.01, 0.2))


def always(new: Any) -> Callable[[Any, random.Random], Any]:
    return lambda v, rng: new


def reordered(v: Any, rng: random.Random) -> Any:
    return tuple(reversed(v))


def gates_reordered(v: Any, rng: random.Random) -> Any:
    """Two gates (of four) of the first recurrent weight change places."""
    size = v[0].dims[0] // 4
    order = [0, 1, 2, 3]
    a, b = rng.sample(order, 2)
    order[a], order[b] = b, a
    parts = [call("getitem", v[0], (slice(i * size, (i + 1) * size),)) for i in order]
    return (call("mx.concatenate", tuple(parts), axis=0), *v[1:])


def transposed_if_square(v: Any, rng: random.Random) -> Any:
    return v.transpose(1, 0) if v.dims[0] == v.dims[1] else v


def lost_if_gate(v: Any, rng: random.Random) -> Any:
    return None if v.hint == "gate.bias" else v


def inverted(v: Any, rng: random.Random) -> Any:
    return call("mx.logical_not", v)


def one_less(v: Any, rng: random.Random) -> Any:
    return v - 1 if v == 3 else v


NORM = "aten._native_batch_norm_legit_no_training.default"
SDPA = "aten.scaled_dot_product_attention.default"
ROPE = ("rotate_half(q)", "rotate_half(k)", "torch.cat((-x", "q, k, v, is_causal")

LOWERINGS = [
    ("wrong axis", "mlp", "aten.softmax.int", "softmax", argument(1, "dim", always(0))),
    ("eps", "mlp", "aten.layer_norm.default", "self.norm(x)", argument(4, "eps", larger)),
    ("operands of minus", "mlp", "aten.sub.Tensor", "up * gate - h", swapped),
    ("operands of divide", "mlp", "aten.div.Tensor", "mixed /", swapped),
    ("tanh", "mlp", "aten.gelu.default", "gelu", argument(1, "approximate", always("tanh"))),
    ("order of parts", "mlp", "aten.cat.default", "torch.cat", argument(0, "tensors", reordered)),
    (
        "zero bias lost",
        "mlp",
        "aten.linear.default",
        "self.gate(h)",
        argument(2, "bias", lost_if_gate),
    ),
    ("slice", "mlp", "aten.slice.Tensor", "up[:, 3:]", argument(2, "start", one_less)),
    ("activation lost", "conv", "aten.relu.default", "relu", dropped),
    ("eps of batch norm", "conv", NORM, "self.bn1", argument(6, "eps", larger)),
    ("scale", "conv", "aten.mean.dim", "h.mean", scaled),
    (
        "transposed",
        "block",
        "aten.linear.default",
        "self.q(x)",
        argument(1, "weight", transposed_if_square),
    ),
    ("mask lost", "block", SDPA, "scaled_dot_product", argument(5, "is_causal", always(False))),
    (
        "polarity of a mask",
        "reader",
        "aten.masked_fill.Scalar",
        "masked_fill",
        argument(1, "mask", inverted),
    ),
    ("causal from the end", "reader", SDPA, "scaled_dot_product", causal_from_the_end),
    (
        "axis seen at larger batches only",
        "reader",
        "aten.unsqueeze.default",
        "unsqueeze(1)",
        argument(1, "dim", always(0)),
    ),
    (
        "positions right at one size",
        "reader",
        "aten.arange.default",
        "torch.arange",
        counted_from(5),
    ),
    ("overflow at large values", "stream", "aten.softmax.int", "softmax", overflowing),
    ("tied by mistake", "reader", "aten.linear.default", "self.value", first_weight_again),
    ("side of padding", "stream", "aten.pad.default", "F.pad", argument(1, "pad", reordered)),
    (
        "bias of a convolution lost",
        "stream",
        "aten.conv1d.default",
        "self.conv(padded)",
        argument(2, "bias", always(None)),
    ),
    ("bounds exchanged", "stream", "aten.clamp.default", "clamp", exchanged(1, 2)),
    (
        "axis of a running sum",
        "stream",
        "aten.cumsum.default",
        "cumsum",
        argument(1, "dim", always(1)),
    ),
    ("statistics exchanged", "conv", NORM, "self.bn1", exchanged(3, 4)),
    ("gates", "tagger", "p2m.lstm.default", "self.lstm", argument(2, "params", gates_reordered)),
]
PASSES = [
    ("folded eps", "conv", "conv_batch_norm", ("self.bn",), "mx.add", option("b", larger, 1)),
    (
        "eps of rms",
        "block",
        "rms_norm",
        ("self.weight *",),
        "mx.fast.rms_norm",
        option("eps", larger, 2),
    ),
    ("pairs of rope", "block", "rope", ROPE, "mx.fast.rope", option("traditional", always(True))),
    ("base of rope", "block", "rope", ROPE, "mx.fast.rope", option("base", a_little_off)),
    (
        "scale of attention",
        "block",
        "grouped_query",
        ("scaled_dot_product",),
        "mx.fast.scaled_dot_product_attention",
        option("scale", a_little_off),
    ),
    ("axes", "conv", "channels_last", ("self.conv1",), "mx.transpose", axes_turned),
    ("stored weight", "conv", "fold_weights", ("self.bn",), "ops.conv2d", recipe_turned),
    ("direction", "tagger", "recurrent", ("self.lstm",), "ops.LSTMLayer", flipped(1)),
    ("layer's eps", "mlp", "layers", ("self.norm(x)",), "nn.LayerNorm", option("eps", larger)),
    (
        "state of the first call",
        "stream",
        "dead_code",
        ("mean",),
        "mx.mean",
        state_forgotten,
    ),
    ("residual lost", "conv", "dead_code", ("h + self.bn2",), "mx.add", bypassed),
]
DEFECTS = [
    *(Defect(n, m, where, (line,), change=change) for n, m, where, line, change in LOWERINGS),
    *(Defect(n, m, w, lines, target=t, tamper=tamper) for n, m, w, lines, t, tamper in PASSES),
]


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
        """Whether the bisection names the op (or pass) and the source line."""
        file, _, line = str(self.found.get("origin") or "").rpartition(":")
        text = linecache.getline(file, int(line)) if line.isdigit() else ""
        named = self.found.get("op" if self.defect.change else "pass") == self.defect.where
        return named and any(piece in text for piece in self.defect.line)


def attempt(defect: Defect) -> tuple[Trial, Path]:
    """Converts with the defect, validates; the trial and the package's folder."""
    with planted(defect, SEED):
        model, inputs = make(defect.model)
        converted = p2m.convert(model, inputs)
        report = validate(converted)
    KEPT.append(converted)
    return Trial(defect, report.passed, report.bisect or {}), converted.path


KEPT: list[Any] = []  # temporary packages live as long as they are referred to

RUN_ALL = """
import json, runpy, sys
for path in sys.argv[1:]:
    try:
        runpy.run_path(path, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code
    print(json.dumps([path, status]))
"""


def run_scripts(scripts: dict[str, Trial]) -> None:
    """Runs the scripts one after the other in one process (importing torch takes seconds)."""
    command = [sys.executable, "-c", RUN_ALL, *scripts]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        if line.startswith("["):
            path, said = json.loads(line)
            scripts[path].status = 1 if isinstance(said, str) else said
            scripts[path].said = str(said or "")


@pytest.fixture(scope="module")
def trials() -> Iterator[list[Trial]]:
    captures: dict[str, Any] = {}
    real = api._capture

    def capture(source: Any, *args: Any, **options: Any) -> Any:
        """Capture has no defect here: each model's is made once."""
        key = type(source).__name__
        if key not in captures:
            captures[key] = real(source, *args, **options)
        return captures[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "_capture", capture)
        attempts = [attempt(d) for d in DEFECTS]
    run_scripts(
        {str(folder / t.found["repro"]): t for t, folder in attempts if t.found.get("repro")}
    )
    yield [t for t, _ in attempts]
    KEPT.clear()


def test_there_are_enough() -> None:
    assert len(DEFECTS) >= 20


def test_every_defect_is_caught(trials: list[Trial]) -> None:
    assert [t.defect.name for t in trials if t.passed] == []


def test_nine_of_ten_are_found(trials: list[Trial]) -> None:
    wrong = [(t.defect.name, t.found) for t in trials if not t.right]
    assert len(wrong) <= len(trials) // 10, wrong


def test_scripts_show_the_fault(trials: list[Trial]) -> None:
    """Every defect that was found has a script that ends with 1 and says by how much."""
    shown = [t for t in trials if t.right and t.found.get("repro")]
    assert [(t.defect.name, t.status, t.said) for t in shown if t.status != 1] == []
    assert all(t.said.startswith(("result", "the MLX code raises")) for t in shown)
    # State that is not handed on is no value that a call could show.
    without = [t.defect.name for t in trials if t.right and t not in shown]
    assert without == ["state of the first call"]


def test_a_script_alone() -> None:
    """As a user runs it: the exit status and what it prints."""
    trial, folder = attempt(DEFECTS[0])
    command = [sys.executable, str(folder / trial.found["repro"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("result 0: off by")


@pytest.mark.parametrize("model", ["mlp", "conv", "block", "tagger"])
def test_sound_conversions_pass(model: str) -> None:
    report = validate(p2m.convert(*make(model)))
    assert report.passed, report.summary()
    assert report.bisect is None
