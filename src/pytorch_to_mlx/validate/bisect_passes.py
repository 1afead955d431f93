"""The passes one at a time: which one first changes what the graph computes, and where."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.graph import Graph, Value
from pytorch_to_mlx.passes import pipeline
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.evaluate import weights
from pytorch_to_mlx.validate.code import NotFlat, Runner, run_graph
from pytorch_to_mlx.validate.compare import Array, compare
from pytorch_to_mlx.validate.lowered import Key, Lowered
from pytorch_to_mlx.validate.subject import mlx_array

ERRORS = (ValueError, TypeError, RuntimeError, LookupError, AttributeError, ArithmeticError)


@dataclass
class BadPass:
    """A pass after which the graph's outputs part from the original's.

    ``node`` is the key of the first source value that is then wrong in the graph, ``value`` what
    stands for it, ``axes`` the order of its axes there; ``right`` are values that still agree,
    with theirs.
    """

    name: str
    reason: str
    graph: Graph
    node: Key | None = None
    value: Value | None = None
    axes: tuple[int, ...] = ()
    right: dict[Value, tuple[Key, tuple[int, ...]]] | None = None


def first_bad_pass(
    lowered: Lowered,
    inputs: dict[str, Any],
    tolerance: float,
    originals: Mapping[str, Any] | None = None,
) -> BadPass | None:
    """Runs the pipeline on the unfused graph (in place); ``None`` where it stays right.

    ``originals`` are weights that have been changed since the conversion: the passes see these.

    Raises:
        NotFlat: the graph has control flow.
    """
    graph = lowered.graph
    before = _wrong(lowered, graph, inputs, tolerance).reason
    if before is not None:
        reason = f"every op is right alone, the unfused graph as a whole is not: {before}"
        return BadPass("", reason, graph)
    text = str(graph)
    sound: set[Key] = set(lowered.env)
    for name, run in pipeline.passes():
        with weights(lambda path: lowered.weight(path, originals or {})):
            run(graph, PassReport(name))
        changed = str(graph)
        if changed == text:
            continue
        text = changed
        found = _wrong(lowered, graph, inputs, tolerance)
        if found.reason is not None:
            bad = BadPass(name, found.reason, graph)
            _locate(bad, lowered, found, sound, tolerance)
            return bad
        sound = {n for n, _, _, ok in _values(lowered, found.runner, tolerance) if ok}
    return None


@dataclass
class _Run:
    """One run of the graph: why its results are not the original's (``None`` if they are), and the
    key of the first that is not.
    """

    runner: Runner
    reason: str | None = None
    node: Key | None = None


def _wrong(lowered: Lowered, graph: Graph, inputs: dict[str, Any], tolerance: float) -> _Run:
    runner = Runner(lowered.captured, graph, lowered.sizes)
    for v in graph.inputs:
        given = inputs[v.hint] if v.hint in inputs else lowered.given.get(v)
        if v.kind == "array":
            given = lowered.given_mlx(v)
        runner.bind(v, given)
    try:
        results = run_graph(runner, graph)
        mx.eval([r for r in results if isinstance(r, mx.array)])
    except NotFlat:
        raise
    except ERRORS as error:
        return _Run(runner, f"the graph raises {type(error).__name__}: {error}")
    sides = zip(lowered.results(), lowered.expected(), results, strict=True)
    for (what, node), want, got in sides:
        if lowered.is_array(want):
            found = compare("output", lowered.array(want), mlx_array(got), tolerance)
            if not found.ok:
                return _Run(runner, f"{what} part: {found.reason}", node)
    return _Run(runner)


def _locate(bad: BadPass, lowered: Lowered, run: _Run, sound: set[Key], tolerance: float) -> None:
    """Fills in the first source value that was right before the pass and is wrong after it."""
    bad.right = {}
    for node, value, axes, ok in _values(lowered, run.runner, tolerance):
        if ok:
            bad.right.setdefault(value, (node, axes))
        elif node in sound and bad.node is None:
            bad.node, bad.value, bad.axes = node, value, axes
    if bad.node is None:  # nothing that the original knows is wrong but the results themselves
        last = [n for n in lowered.source_values() if isinstance(lowered.env[n], Value)]
        bad.node = run.node or (last[-1] if last else None)


def _values(
    lowered: Lowered, runner: Runner, tolerance: float
) -> list[tuple[Key, Value, tuple[int, ...], bool]]:
    """Every source value that still exists in the graph: the value, the order of its axes,
    and whether it agrees.
    """
    found = []
    for node in lowered.source_values():
        became = lowered.env[node]
        actual = lowered.actual.get(node)
        if not isinstance(became, Value) or not lowered.is_array(actual):
            continue
        value = lowered.graph.current(became)  # what passes have put in its place
        if not runner.has(value):
            continue
        got = mlx_array(runner.value(value))
        fit = agreement(lowered.array(actual), got, tolerance)
        if fit is not None:
            found.append((node, value, *fit))
    return found


def agreement(want: Array, got: Array, tolerance: float) -> tuple[tuple[int, ...], bool] | None:
    """The order of axes in which ``got`` is ``want``, or nearest, and whether it agrees; ``None``
    where shapes or kinds of dtypes cannot.
    """
    a, b = want.values, got.values
    if sorted(a.shape) != sorted(b.shape) or a.ndim > 5 or a.dtype.kind != b.dtype.kind:
        return None
    best: tuple[float, tuple[int, ...], bool] | None = None
    for axes in itertools.permutations(range(a.ndim)):
        if tuple(a.shape[i] for i in axes) != b.shape:
            continue
        turned = Array(np.ascontiguousarray(a.transpose(axes)).reshape(b.shape), got.dtype)
        found = compare("", turned, got, tolerance)
        error = 0.0 if found.ok else found.relative
        if best is None or error < best[0]:
            best = (error, axes, found.ok)
    return None if best is None else best[1:]
