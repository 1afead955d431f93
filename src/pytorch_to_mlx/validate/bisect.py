"""Finds where a package parts from its original: the first op, the pass, or the writing of the
code.

First every op of the unfused graph is run alone on the original's exact inputs. If all are right,
the passes run one at a time until the graph's outputs part. If they never do, the code or the
weights are wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.errors import ConversionError
from pytorch_to_mlx.graph import Node
from pytorch_to_mlx.package.writer import SourceTensors, import_script
from pytorch_to_mlx.validate import repro
from pytorch_to_mlx.validate.bisect_passes import first_bad_pass
from pytorch_to_mlx.validate.code import NotFlat, Runner
from pytorch_to_mlx.validate.compare import FLOOR, Comparison, compare, is_inexact
from pytorch_to_mlx.validate.lowered import Key, Lowered, lower_source, pairs
from pytorch_to_mlx.validate.noise import edited
from pytorch_to_mlx.validate.result import Case, ValidationReport
from pytorch_to_mlx.validate.subject import Subject, mlx_array

MLX_ERRORS = (ValueError, TypeError, RuntimeError, LookupError, AttributeError, ArithmeticError)
# An op may be off by this much of its scale without being suspected; beyond the first, in any case.
SUSPECT = (1.0, 0.1)  # of the tolerance
ROUNDING = 1e-5


def bisect(report: ValidationReport, subject: Subject, tolerance: float) -> dict[str, Any]:
    """The report's ``bisect`` section: ``module``, ``op``, ``origin``, ``reason``, ``repro`` and,
    where a pass is to blame, ``pass``. A repro script is written into the package folder.
    """
    captured = subject.captured
    assert captured is not None
    originals: dict[str, Any] = {}
    with ExitStack() as stack:
        inputs = _failing_inputs(report, subject)
        if inputs is None:
            inputs = subject.examples
            for path, strength in _failing_weights(report):
                rng = np.random.default_rng(0)
                if captured.frontend != "onnx":  # whose own tensors stay as they are
                    originals[path] = captured.tensors[path].detach().clone()
                stack.enter_context(edited(captured, [path], strength, rng))
        try:
            found = _search(report, subject, inputs, tolerance, originals)
        except (*MLX_ERRORS, ConversionError, AssertionError) as error:
            found = {"reason": f"the search itself failed: {type(error).__name__}: {error}"}
    return {"module": None, "op": None, "origin": None, "repro": None, **found}


def _failing_inputs(report: ValidationReport, subject: Subject) -> dict[str, Any] | None:
    """Inputs of the first failing case (ordinary ones before edges)."""
    failing: list[Case] = [c for c in report.cases if not c.ok and c.calls]
    failing.sort(key=lambda c: c.name.startswith("edge"))
    return dict(failing[0].calls[0]) if failing else None


def _failing_weights(report: ValidationReport) -> list[tuple[str, float]]:
    strengths = (report.perturbation or {}).get("strengths", {})
    return list(strengths.items())[:1]


def _search(
    report: ValidationReport,
    subject: Subject,
    inputs: dict[str, Any],
    tolerance: float,
    originals: Mapping[str, Any],
) -> dict[str, Any]:
    captured = subject.captured
    assert captured is not None
    lowered = lower_source(captured, inputs)
    capture = _check_capture(subject, lowered, inputs, tolerance)
    if capture is not None:
        return capture
    module = first_module(report, tolerance)
    culprit, unchecked = first_bad_op(lowered, tolerance)
    if culprit is not None:
        node, reason = culprit
        found = {**lowered.place(node), "reason": f"given exact inputs, {reason}"}
        return {**found, "repro": repro.of_op(subject.package.folder, lowered, node, tolerance)}
    blamed = _blame_pass(subject, lowered, inputs, tolerance, originals)
    tie = explain_tie(lowered) if blamed is None and _only_integers_fail(report) else None
    if tie is not None:
        return {**lowered.place(tie[0]), "reason": tie[1]}
    found = blamed or {**_blame_writing(subject), "module": module}
    if unchecked:
        found["reason"] += f" (not checked alone: {', '.join(unchecked[:5])})"
    return found


def first_module(report: ValidationReport, tolerance: float) -> str | None:
    """The first module, in order of execution, whose output leaves the tolerance."""
    bad = [row["path"] for row in report.layers or [] if row["relative"] > tolerance]
    return bad[0] if bad else None


def _check_capture(
    subject: Subject, lowered: Lowered, inputs: dict[str, Any], tolerance: float
) -> dict[str, Any] | None:
    """Whether the captured program itself departs from the original."""
    want = subject.run_source([inputs])[0]
    got = lowered.expected()
    for index, name in subject.outputs.items():
        if name in want and index < len(got) and lowered.is_array(got[index]):
            found = compare(name, want[name], lowered.array(got[index]), tolerance)
            if not found.ok:
                reason = (
                    f"the captured program gives another {name} than the original: {found.reason}"
                )
                return {"reason": reason, "stage": "capture"}
    return None


# -- ops --------------------------------------------------------------------------------------


def first_bad_op(lowered: Lowered, tolerance: float) -> tuple[tuple[Key, str] | None, list[str]]:
    """The first source value whose MLX calls leave the tolerance given exact inputs, and why; ops
    that could not be run alone.
    """
    errors: list[tuple[Key, Comparison]] = []
    unchecked: list[str] = []
    for key in lowered.source_values():
        if lowered.is_random(key):
            continue
        try:
            found = check_op(lowered, key, tolerance)
        except NotFlat as error:
            unchecked.append(str(error))
            continue
        except MLX_ERRORS as error:
            reason = f"its MLX calls raise {type(error).__name__}: {error}"
            found = Comparison(str(key), False, reason)
        if found is not None:
            errors.append((key, found))
    for share in SUSPECT:
        for key, found in errors:
            if not found.ok if share == 1.0 else found.relative > share * tolerance:
                reason = found.reason or f"off by {found.relative:.2g} of scale"
                return (key, reason), unchecked
    return None, unchecked


def check_op(lowered: Lowered, key: Any, tolerance: float) -> Comparison | None:
    """The worst output of one source value's MLX calls on exact inputs; ``None`` where it has
    none.
    """
    worst: Comparison | None = None
    runner: Runner | None = None
    actual = lowered.actual.get(key)
    folded = lowered.folded(key)
    if folded is not None and lowered.is_array(actual):
        return compare(str(key), lowered.array(actual), folded, tolerance)
    for value, wanted in pairs(lowered.env[key], actual):
        if not lowered.is_array(wanted) or not lowered.is_used(key, value):
            continue
        if lowered.source.get(value) != key:
            got = lowered.given_mlx(value)  # another op's result under a new name
        else:
            if runner is None:
                runner = run_alone(lowered, key)
            got = runner.value(value)
        found = compare(str(key), lowered.array(wanted), mlx_array(got), tolerance)
        if worst is None or (worst.ok and (not found.ok or found.relative > worst.relative)):
            worst = found
    return worst


def run_alone(lowered: Lowered, key: Any) -> Runner:
    """Runs the nodes that a source value became on the original's exact inputs."""
    runner = Runner(lowered.captured, lowered.graph, lowered.sizes)
    for n in needed_nodes(lowered, lowered.groups.get(key, [])):
        for v in n.inputs():
            if not runner.has(v) and v in lowered.given:
                runner.bind(v, lowered.given_mlx(v))
        runner.run(n)
    return runner


def needed_nodes(lowered: Lowered, nodes: list[Node]) -> list[Node]:
    """The nodes and those of other groups whose values the original does not have."""
    inside = {id(n) for n in nodes}
    todo, found = list(nodes), list(nodes)
    while todo:
        for v in todo.pop().inputs():
            n = v.node
            if n is not None and id(n) not in inside and v not in lowered.given:
                inside.add(id(n))
                todo.append(n)
                found.append(n)
    order = {id(n): i for i, n in enumerate(lowered.graph.nodes)}
    return sorted(found, key=lambda n: order[id(n)])


# -- ties -----------------------------------------------------------------------------------------


def _only_integers_fail(report: ValidationReport) -> bool:
    failed = [o for c in report.cases for o in c.outputs if not o.ok]
    return bool(failed) and all(o.dtype and not is_inexact(o.dtype) for o in failed)


def explain_tie(lowered: Lowered) -> tuple[Key, str] | None:
    """A choice between floats (argmax, sort, topk) whose candidates are as good as equal, and why
    it may fall either way. It explains a failure; it does not excuse it.
    """
    for key, x, axis in lowered.choices():
        if x.size < 2:
            continue
        rows = x.reshape(-1) if axis is None or not x.ndim else np.moveaxis(x, axis, -1)
        ordered = np.sort(rows, axis=-1)
        gap = float(np.diff(ordered, axis=-1).min()) if rows.shape[-1] > 1 else 1.0
        scale = max(float(np.abs(x).max()), FLOOR)
        if gap <= ROUNDING * scale:
            apart = f"candidates of this choice are only {gap / scale:.1g} of scale apart"
            return key, f"every op and pass is right, but {apart}: rounding decides"
    return None


# -- passes and code --------------------------------------------------------------------------


def _blame_pass(
    subject: Subject,
    lowered: Lowered,
    inputs: dict[str, Any],
    tolerance: float,
    originals: Mapping[str, Any],
) -> dict[str, Any] | None:
    try:
        bad = first_bad_pass(lowered, inputs, tolerance, originals)
    except NotFlat as error:
        return {"reason": f"every op is right alone; the passes cannot be told apart past {error}"}
    if bad is None:
        return None
    if not bad.name:
        return {"stage": "lowering", "reason": bad.reason}
    found: dict[str, Any] = {"pass": bad.name, "reason": f"the pass {bad.name}: {bad.reason}"}
    if bad.node is not None:
        found = {**lowered.place(bad.node), **found}
        found["repro"] = repro.of_pass(subject.package.folder, lowered, bad, tolerance)
    return found


def _blame_writing(subject: Subject) -> dict[str, Any]:
    """Every op and pass is right: the stored weights or the written code is not."""
    assert subject.captured is not None
    from mlx.utils import tree_flatten

    script = import_script(subject.package.folder / "convert_weights.py")
    stored = dict(tree_flatten(subject.package.model.parameters()))
    tensors = SourceTensors(subject.captured)
    with mx.stream(mx.cpu):
        for name in script.NAMES:
            want = script.weight(name, tensors)
            got = stored.get(name)
            if got is None or got.shape != want.shape or not _same(got, want):
                reason = (
                    f"every op and pass is right, but the stored weight {name} is not the source's"
                )
                return {"stage": "weights", "reason": reason}
    return {
        "stage": "codegen",
        "reason": "every op, pass and weight is right: the written code is not",
    }


def _same(a: mx.array, b: mx.array) -> bool:
    return bool(mx.array_equal(a, b, equal_nan=mx.issubdtype(a.dtype, mx.inexact)).item())
