"""Writes ``repro.py``: a script of the original's runtime and mlx alone in which the original's ops
and the MLX code that they became give different results."""

from __future__ import annotations

import ast
import base64
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytorch_to_mlx.codegen.source import format_source
from pytorch_to_mlx.graph import Node, Value
from pytorch_to_mlx.validate.bisect_passes import BadPass
from pytorch_to_mlx.validate.code import Code
from pytorch_to_mlx.validate.lowered import Key, Lowered, pairs

NAME = "repro.py"
LITERAL = 64  # elements of an input written as numbers
EMBEDDED = (
    1 << 16
)  # bytes of inputs written as text; larger ones are drawn, if that shows the fault
SECONDS = 120

_SCRIPT = '''"""{title}

Runs the original's ops and the MLX code that they were converted to on the same inputs.
Exits with 1 and says how they differ if they do.
"""

from __future__ import annotations

import base64
import math
import sys

import mlx.core as mx
import mlx.nn as nn
{imports}

TOLERANCE = {tolerance!r}  # of the scale of the original's result


{source}


{helpers}


def converted({mlx_args}):
    """What it was converted to."""
{mlx_lines}
    return [{mlx_results}]


def difference(want: mx.array, got: mx.array) -> str:
    """How two results differ; empty if they do not."""
    if want.shape != got.shape:
        return f"shape {{got.shape}} instead of {{want.shape}}"
    if not mx.issubdtype(want.dtype, mx.inexact):
        count = mx.sum(got != want).item()
        return f"{{count}} of {{want.size}} values differ" if count else ""
    if got.dtype != want.dtype:
        return f"dtype {{got.dtype}} instead of {{want.dtype}}"
    parts = [(want, got)]
    if want.dtype == mx.complex64:
        parts = [(want.real, got.real), (want.imag, got.imag)]
    for a, b in parts:
        a, b = a.astype(mx.float32), b.astype(mx.float32)
        for kind in (mx.isnan, mx.isposinf, mx.isneginf):
            if not mx.array_equal(kind(a), kind(b)).item():
                return "NaN or infinity in other places"
        finite = mx.isfinite(a)
        scale = mx.max(mx.where(finite, mx.abs(a), 0)).item() if a.size else 0.0
        error = mx.max(mx.where(finite, mx.abs(a - b), 0)).item() if a.size else 0.0
        if error > TOLERANCE * max(scale, 1e-6):
            return f"off by {{error:.3g}} at scale {{scale:.3g}}"
    return ""


def main() -> None:
    given = inputs()
    wanted = original(**{{k: given[k] for k in {source_names}}})
    try:
        results = converted(**{{k: to_mlx(given[k]) for k in {mlx_names}}})
        mx.eval(results)
    except Exception as error:
        sys.exit(f"the MLX code raises {{type(error).__name__}}: {{error}}")
    for i, (want, got) in enumerate(zip(wanted, results, strict=True)):
        reason = difference(to_mlx(want), got)
        if reason:
            sys.exit(f"result {{i}}: {{reason}}")
    print("no difference")


if __name__ == "__main__":
    main()
'''


class SourceSide(ABC):
    """The original's side of a script: ``given`` its inputs by variable (MLX's too), ``args`` the
    variables that ``original`` takes.
    """

    imports: str

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}
        self.args: list[str] = []

    @abstractmethod
    def value(self, key: Any) -> str:
        """The variable of an input that is a source value."""

    @abstractmethod
    def stand_in(self, value: Value) -> str:
        """The variable of an input that is what a value of the graph is in the original."""

    @abstractmethod
    def weight(self, path: str) -> str:
        """The variable of an input that is a weight of the source."""

    @abstractmethod
    def add(self, key: Any, stop: Set[Any]) -> None:
        """Computes a source value from those of ``stop``, which are inputs."""

    @abstractmethod
    def add_result(self, key: Any, value: Value | None = None) -> None:
        """Gives out a source value (of several in one, that which is ``value`` in the graph)."""

    @abstractmethod
    def nbytes(self) -> int:
        """Of the inputs."""

    @abstractmethod
    def text(self, *, drawn: bool) -> str:
        """``inputs``, ``to_mlx`` and ``original`` as source; large inputs ``drawn`` afresh."""


@dataclass
class _MlxSide:
    """``converted`` of the script."""

    lines: list[str] = field(default_factory=list)
    args: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    helpers: list[str] = field(default_factory=list)


def of_op(folder: Path, lowered: Lowered, key: Any, tolerance: float) -> str:
    """The script for one source value and the MLX calls that it became; its file name."""
    from pytorch_to_mlx.validate.bisect import needed_nodes

    source, mlx = lowered.script(), _MlxSide()
    source.add(key, set(lowered.actual))
    code = Code(lowered.sizes)
    folded = lowered.folded(key)
    if folded is not None:
        source.add_result(key)
        source.given["folded"] = folded.values
        mlx.args, mlx.results = ["folded"], ["folded"]
        return _write(folder, source, mlx, _title(lowered, key), tolerance / 10)
    for n in needed_nodes(lowered, lowered.groups.get(key, [])):
        code.add(n)
    for value, _ in _arrays(lowered, key):
        source.add_result(key, value)
        mlx.results.append(Code.variable(value))
        if value not in code.writer.env:  # the op became nothing: its input stands for its result
            code.inputs.append(value)
            code.writer.env[value] = ast.Name(Code.variable(value))
    _bind_code(source, mlx, code, lowered)
    return _write(folder, source, mlx, _title(lowered, key), tolerance / 10)


def _arrays(lowered: Lowered, key: Any) -> list[tuple[Value, Any]]:
    found = pairs(lowered.env[key], lowered.actual.get(key))
    return [(v, a) for v, a in found if lowered.is_array(a) and lowered.is_used(key, v)]


def of_pass(folder: Path, lowered: Lowered, bad: BadPass, tolerance: float) -> str | None:
    """The script for the source values up to the first wrong one, from values that are still
    right.
    """
    if bad.node is None or bad.value is None or bad.value.node is None:
        return None
    source, mlx = lowered.script(), _MlxSide()
    nodes, cut = _cone(bad)
    code = Code(lowered.sizes)
    for value in cut:
        key, axes = (bad.right or {})[value]
        variable = Code.variable(value)
        given = source.value(key)
        if axes != tuple(range(len(axes))):
            mlx.lines.append(f"{variable} = {given}.transpose({', '.join(map(str, axes))})")
        else:
            mlx.lines.append(f"{variable} = {given}")
        mlx.args.append(given)
        code.writer.env[value] = ast.Name(variable)
    for n in nodes:
        code.add(n)
    source.add(bad.node, {(bad.right or {})[v][0] for v in cut})
    _bind_code(source, mlx, code, lowered, bad)
    source.add_result(bad.node)
    back = [bad.axes.index(i) for i in range(len(bad.axes))]
    turned = f".transpose({', '.join(map(str, back))})" if back != sorted(back) else ""
    mlx.results.append(f"{Code.variable(bad.value)}{turned}")
    title = f"{_title(lowered, bad.node)}, after the pass {bad.name}"
    return _write(folder, source, mlx, title, tolerance / 10)


def _cone(bad: BadPass) -> tuple[list[Node], list[Value]]:
    """The graph's nodes that make the wrong value from right ones, and those right ones."""
    assert bad.value is not None
    right, inside, cut = bad.right or {}, set(), []
    todo = [bad.value]
    while todo:
        value = todo.pop()
        n = value.node
        if n is None or id(n) in inside:
            continue
        inside.add(id(n))
        for v in n.inputs():
            if v in right and v is not bad.value:
                if v not in cut:
                    cut.append(v)
            else:
                todo.append(v)
    return [n for n in bad.graph.nodes if id(n) in inside], cut


def _bind_code(
    source: SourceSide, mlx: _MlxSide, code: Code, lowered: Lowered, bad: BadPass | None = None
) -> None:
    """Gives the MLX side its inputs: the program's inputs, the original's values, weights by their
    recipe.
    """
    params = (bad.graph if bad else lowered.graph).param_of()
    lines: list[str] = []
    for value in code.inputs:
        p = params.get(value)
        variable = Code.variable(value)
        if p is None or p.recipe is None:
            given = source.weight(p.sources[0]) if p else source.stand_in(value)
            mlx.args.append(given)
            lines.append(f"{variable} = {given}")
            continue
        recipe = Code({})
        for v, path in zip(p.recipe.inputs, p.sources, strict=True):
            given = source.weight(path)
            mlx.args.append(given)
            recipe.writer.env[v] = ast.Name(given)
        for n in p.recipe.nodes[:-1]:
            lines += recipe.add(n)
        result = p.recipe.ret.args[0]
        assert isinstance(result, Value)
        lines.append(f"{variable} = {ast.unparse(recipe.writer.env[result])}")
        code.writer.used_ops |= recipe.writer.used_ops
    mlx.lines += [*lines, *code.lines]
    mlx.helpers = code.helpers()
    mlx.args = list(dict.fromkeys(mlx.args))


def _title(lowered: Lowered, key: Key) -> str:
    at = lowered.place(key)
    file, _, line = at["origin"].rpartition(":")
    named = f"{Path(file).name}:{line}" if file and line.isdigit() else at["origin"]
    where = f" in {at['module']}" if at["module"] else ""
    return f"{at['op']}{where} ({named})"


# -- writing ----------------------------------------------------------------------------------


def _write(folder: Path, source: SourceSide, mlx: _MlxSide, title: str, tolerance: float) -> str:
    """Writes the script; large inputs are drawn afresh if the fault shows then too."""
    path = folder / NAME
    if source.nbytes() > EMBEDDED:
        path.write_text(_text(source, mlx, title, tolerance, drawn=True), encoding="utf-8")
        if shows_fault(path):
            return NAME
    path.write_text(_text(source, mlx, title, tolerance, drawn=False), encoding="utf-8")
    return NAME


def shows_fault(path: Path) -> bool:
    """Whether the script ends with 1."""
    command = [sys.executable, str(path)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=SECONDS)
    return done.returncode == 1


def _text(source: SourceSide, mlx: _MlxSide, title: str, tolerance: float, *, drawn: bool) -> str:
    text = _SCRIPT.format(
        title=title.replace("\\", "/").replace('"""', "'''"),
        imports=source.imports,
        tolerance=tolerance,
        source=source.text(drawn=drawn),
        helpers="\n\n\n".join(mlx.helpers),
        mlx_args=", ".join(mlx.args),
        mlx_lines="\n".join(f"    {line}" for line in mlx.lines),
        mlx_results=", ".join(mlx.results),
        source_names=repr(list(dict.fromkeys(source.args))),
        mlx_names=repr(mlx.args),
    )
    return format_source(text)


def numbers(flat: list[Any]) -> str:
    """A list of numbers as source, infinities and NaN by name."""
    return repr(flat).replace("inf", "math.inf").replace("nan", "math.nan")


def encoded(raw: bytes) -> str:
    """Bytes as a literal that ``base64`` reads."""
    return repr(base64.b64encode(raw).decode())
