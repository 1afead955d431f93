"""``test_custom_ops.py``: the functions that stand for ops of the source's own libraries, on calls
that their originals have answered."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.codegen.source import format_source
from pytorch_to_mlx.files import write_text
from pytorch_to_mlx.weights import safetensors

NAME = "test_custom_ops.py"
ARRAYS = "custom_ops.safetensors"
#: What is kept of one op: so many calls, and so many bytes of arrays in all but the smallest.
CALLS, BYTES = 10, 1 << 18

_TEXT = '''"""The functions of model.py that stand for ops of the source's own libraries.

    pytest .

in this folder; needs only mlx and pytest. Every call is one that the original op has answered, at
conversion: with what the model gave it ("captured"), or what was made from that.
"""

import os

os.environ.setdefault("MLX_ENABLE_TF32", "0")  # full float32 products on NVIDIA GPUs

import importlib.util
import math
from pathlib import Path

import mlx.core as mx
import pytest

HERE = Path(__file__).parent
ARRAYS = mx.load(str(HERE / "{arrays}"))
# Largest difference allowed, as a fraction of a result's scale.
TOLERANCES = {{mx.float32: 1e-4, mx.complex64: 1e-4, mx.float16: 1e-2, mx.bfloat16: 6e-2}}


def array(name):
    return ARRAYS[name]


{provenance}
# Function, inputs of what kind, arguments, results.
CALLS = [
{calls}
]


def functions():
    spec = importlib.util.spec_from_file_location("converted_model", HERE / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


@pytest.mark.parametrize("function, kind, args, named, wanted", CALLS)
def test_function_gives_what_the_op_gave(function, kind, args, named, wanted):
    got = functions()[function](*args, **named)
    got = list(got) if isinstance(got, (tuple, list)) else [got]
    assert len(got) == len(wanted)
    for found, want in zip(got, wanted, strict=True):
        compare(found, want)


def compare(got, want):
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    if not mx.issubdtype(want.dtype, mx.inexact):
        assert mx.array_equal(got, want).item()
        return
    tolerance = TOLERANCES[want.dtype]
    if want.dtype == mx.complex64:
        got, want = mx.stack([got.real, got.imag]), mx.stack([want.real, want.imag])
    got, want = got.astype(mx.float32), want.astype(mx.float32)
    for kind in (mx.isnan, mx.isposinf, mx.isneginf):
        assert mx.array_equal(kind(got), kind(want)).item()
    if want.size:
        finite = mx.isfinite(want)
        scale = mx.max(mx.where(finite, mx.abs(want), 0)).item()
        error = mx.max(mx.where(finite, mx.abs(got - want), 0)).item()
        assert error <= tolerance * max(scale, 1e-6), f"off by {{error:.3g}} at scale {{scale:.3g}}"
'''


@dataclass(frozen=True)
class OpCall:
    """One call of an op as the emitted code makes it, of some kind of inputs, and its results."""

    kind: str
    args: tuple[Any, ...]
    named: Mapping[str, Any]
    results: tuple[mx.array, ...]

    @property
    def nbytes(self) -> int:
        given = _arrays_in((self.args, tuple(self.named.values()), self.results))
        return sum(a.nbytes for a in given)


def chosen(calls: Sequence[OpCall]) -> list[OpCall]:
    """A few of an op's calls: one of every kind of inputs, then more, small ones only; the smallest
    in any case."""
    seen: dict[str, int] = {}
    ranked = []
    for call in calls:
        seen[call.kind] = seen.get(call.kind, 0) + 1
        ranked.append((seen[call.kind], call))
    ranked.sort(key=lambda pair: pair[0])
    kept: list[OpCall] = []
    spent = 0
    for _, call in ranked:
        if len(kept) < CALLS and spent + call.nbytes <= BYTES:
            kept.append(call)
            spent += call.nbytes
    return kept or sorted(calls, key=lambda c: c.nbytes)[:1]


def write_op_tests(
    folder: Path,
    code: str,
    calls: Mapping[str, Sequence[OpCall]],
    facts: Sequence[Mapping[str, Any]],
) -> None:
    """Writes the test and its arrays, for those functions that ``model.py`` has; ``facts`` tell
    where each came from."""
    held = {
        n: c for n, c in calls.items() if re.search(rf"^def {re.escape(n)}\(", code, re.M) and c
    }
    if not held:
        return
    writer = _Writer()
    lines = [writer.call(n, call) for n, some in held.items() for call in some]
    told = [_provenance(f) for f in facts if f["function"] in held]
    safetensors.write_arrays(folder / ARRAYS, writer.arrays)
    text = _TEXT.format(
        arrays=ARRAYS,
        provenance="\n".join(told),
        calls="\n".join(f"    {line}," for line in lines),
    )
    write_text(folder / NAME, format_source(text))


def _provenance(facts: Mapping[str, Any]) -> str:
    """A comment on one function: its op, who wrote it, on how many cases it was proven."""
    count = sum(facts["proof"]["cases"].values())
    agent = facts.get("agent")
    by = f"{facts['origin']}"
    if agent:
        by += f" of {agent['host']}, try {agent['tries']}, SHA-256 {agent['sha256']}"
    text = f"{facts['function']} is {facts['op']}, from {by}; proven on {count} cases."
    return "# " + re.sub(r"[^\x20-\x7e]+", " ", text)


class _Writer:
    """Calls as source; their arrays by name."""

    def __init__(self) -> None:
        self.arrays: dict[str, mx.array] = {}
        self.count = 0

    def call(self, function: str, call: OpCall) -> str:
        self.at = f"{self.count}.{function}"
        self.count += 1
        self.part = 0
        args = self._sequence(call.args)
        named = ", ".join(f"{n!r}: {self.text(v)}" for n, v in call.named.items())
        results = ", ".join(self.text(r) for r in call.results)
        return f"({function!r}, {call.kind!r}, {args}, {{{named}}}, [{results}])"

    def _sequence(self, items: Sequence[Any]) -> str:
        inner = ", ".join(self.text(v) for v in items)
        return f"({inner},)" if items else "()"

    def text(self, value: Any) -> str:
        if isinstance(value, mx.array):
            name = f"{self.at}.{self.part}"
            self.part += 1
            self.arrays[name] = value
            return f"array({name!r})"
        if isinstance(value, (tuple, list)):
            return self._sequence(value)
        if isinstance(value, mx.Dtype):
            return f"mx.{str(value).rpartition('.')[2]}"
        if isinstance(value, float) and not math.isfinite(value):
            return "math.nan" if math.isnan(value) else f"{'-' if value < 0 else ''}math.inf"
        if value is None or isinstance(value, (bool, int, float, complex, str)):
            return repr(value)
        raise ValueError(f"a {type(value).__name__} cannot be written into a test")


def _arrays_in(value: Any) -> list[mx.array]:
    if isinstance(value, mx.array):
        return [value]
    if isinstance(value, (tuple, list)):
        return [a for v in value for a in _arrays_in(v)]
    return []
