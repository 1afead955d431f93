"""Half precision: first the same model in float32 is proven, then errors are judged by those of the
source's own runtime.

The error of the package against the original in float32 may be at most twice what the original
itself shows in that precision (plus one rounding of the output), over all cases together: the
largest error of few numbers is a matter of luck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.graph.dtypes import mlx_dtype
from pytorch_to_mlx.progress import Progress
from pytorch_to_mlx.validate.cases import Cases
from pytorch_to_mlx.validate.compare import FLOOR, Array, Comparison, compare, is_inexact, measure
from pytorch_to_mlx.validate.inputs import Inputs
from pytorch_to_mlx.validate.result import Case, ValidationReport
from pytorch_to_mlx.validate.subject import PackageFailed, SourceRefuses, Subject

if TYPE_CHECKING:
    from pytorch_to_mlx.converted import Converted
    from pytorch_to_mlx.validate.run import Plan

FACTOR = 2.0
LOW_SHARE = 0.25  # of the budget, for the comparison beside the source's own
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


@dataclass
class _Errors:
    """An output's errors against float32 so far, of the package and of the source."""

    package: float = 0.0
    torch: float = 0.0
    package_squares: float = 0.0
    torch_squares: float = 0.0
    count: int = 0
    scale: float = 0.0
    reason: str | None = None


def validate_low(subject: Subject, converted: Converted, plan: Plan) -> ValidationReport:
    """The proof in float32 (its cases come first), then this precision beside the source's own."""
    from pytorch_to_mlx.validate.run import precision_of, prove

    dtype = precision_of(converted.config)
    twin = float32_twin(subject, converted, plan.bars)
    part = plan.budget.part(1 - LOW_SHARE)
    plain = Subject(twin.package, twin.captured, subject.examples)
    report = prove(plain, twin, replace(plan, budget=part, sizes=()))
    plan.budget.add(part)
    converted.report["plots"] = twin.report.pop("plots", [])
    for case in report.cases:
        case.name = f"float32: {case.name}"
        case.wanted = case.got = None
    _keep_repro(twin, converted, report)
    del twin, plain  # the model in float32, on both sides
    mx.clear_cache()
    with plan.bars.stage(f"validate {dtype}"):
        random = frozenset((report.random_ops or {}).get("outputs", ()))
        cases, report.low_precision, notes = judge(subject, dtype, plan, random)
    report.cases += cases
    report.notes += [n for n in notes if n not in report.notes]
    return report


def _keep_repro(twin: Converted, converted: Converted, report: ValidationReport) -> None:
    """The script that shows a fault belongs to the package that the user has."""
    name = (report.bisect or {}).get("repro")
    if name:
        text = (twin.path / name).read_text(encoding="utf-8")
        (converted.path / name).write_text(text, encoding="utf-8")


# -- the same model in float32 -------------------------------------------------------------------


def float32_twin(subject: Subject, converted: Converted, bars: Progress) -> Converted:
    """The captured program in float32, converted as the package was.

    Its weights are those of the source in half precision, widened: what is proven is the function
    of the very numbers that the package holds.
    """
    from pytorch_to_mlx.api import convert_captured

    assert subject.captured is not None
    if subject.captured.frontend == "onnx":
        from pytorch_to_mlx.capture.onnx.source import widened as widened_onnx

        twin = widened_onnx(subject.captured)
    else:
        from pytorch_to_mlx.capture.recast import widened

        twin = widened(subject.captured)
    return convert_captured(twin, fold_batch_norm=converted.fold_batch_norm, progress=bars)


# -- beside the source's own -----------------------------------------------------------------------


def judge(
    subject: Subject, dtype: str, plan: Plan, ignored: frozenset[str]
) -> tuple[list[Case], dict[str, Any], list[str]]:
    """Cases with errors against the original in float32, the ``low_precision`` section, notes.
    Random outputs are ignored.
    """
    cases = Cases(subject, FACTOR, plan.seed, ignored)
    compared: list[Case] = []
    errors: dict[str, _Errors] = {}
    for case in cases.chosen(True, plan.sizes, plan.budget):
        case.name = f"{dtype}: {case.name}"
        case.dtype = dtype
        case.calls = [rounded(c, subject) for c in case.calls]
        _measure(subject, case, errors, ignored)
        case.wanted = None
        compared += [case] if case.outputs else []
    onnx = subject.captured is not None and subject.captured.frontend == "onnx"
    runtime = "onnxruntime" if onnx else "torch"
    rows = {name: _verdict(name, e, dtype, runtime) for name, e in errors.items()}
    for case in compared:
        for output in case.outputs:
            row = rows[output.name.partition(" (call ")[0]]
            output.ok = output.ok and not row["failed"]
            output.reason = output.reason or row["reason"]
    failed = [name for name, row in rows.items() if row["failed"]]
    section = {
        "dtype": dtype,
        "factor": FACTOR,
        "runtime": runtime,
        "outputs": list(rows.values()),
        "failed": failed,
        "reasons": [f"{n}: {rows[n]['reason']}" for n in failed],
    }
    return compared, section, cases.notes


def rounded(inputs: Inputs, subject: Subject) -> Inputs:
    """Inputs as the model's input dtypes hold them, so that all sides see the same numbers."""
    out = dict(inputs)
    for spec in subject.package.config["inputs"]:
        value = inputs[spec["name"]]
        if isinstance(value, np.ndarray) and spec.get("dtype") in EPSILON:
            low = mx.array(value).astype(mlx_dtype(spec["dtype"]))
            out[spec["name"]] = np.array(low.astype(mx.float32))
    return out


def _measure(
    subject: Subject, case: Case, errors: dict[str, _Errors], ignored: frozenset[str]
) -> None:
    """Runs the three sides of a case and adds to each output's errors."""
    try:
        exact = subject.run_source(case.calls, "float32")
        own = case.wanted or subject.run_source(case.calls)
        package = subject.run_package(case.calls)
    except (SourceRefuses, PackageFailed) as error:
        case.outputs.append(Comparison("all", False, str(error)))
        errors["all"] = _Errors(reason=str(error))
        return
    for k, (e, o, p) in enumerate(zip(exact, own, package, strict=True)):
        for name in e:
            if name in ignored:
                continue
            label = name if len(exact) == 1 else f"{name} (call {k + 1})"
            # Structure, dtype and non-finite places are the source's own: no values yet.
            found = compare(label, o[name], p.get(name), math.inf)
            total = errors.setdefault(name, _Errors())
            if found.max_abs is None:
                total.reason = total.reason or found.reason
            else:
                _add(total, found, e[name], o[name], p[name])
            case.outputs.append(found)


def _add(total: _Errors, found: Comparison, exact: Array, own: Array, package: Array) -> None:
    if not is_inexact(own.dtype):
        total.package += int((package.values != exact.values).sum())
        total.torch += int((own.values != exact.values).sum())
        found.ok, found.reason = True, None  # the count over all cases decides
        return
    if not found.ok:
        total.reason = total.reason or found.reason
    measure(found, exact.values, package.values)
    mine, theirs = _finite_errors(exact, package), _finite_errors(exact, own)
    total.package = max(total.package, float(mine.max(initial=0.0)))
    total.torch = max(total.torch, float(theirs.max(initial=0.0)))
    total.package_squares += float((mine**2).sum())
    total.torch_squares += float((theirs**2).sum())
    total.count += mine.size
    total.scale = max(total.scale, found.scale or 0.0)


def _finite_errors(exact: Array, other: Array) -> np.ndarray:
    a, b = exact.values.astype(np.complex128), other.values.astype(np.complex128)
    return np.abs(np.where(np.isfinite(a) & np.isfinite(b), a - b, 0.0)).ravel()


def _verdict(name: str, e: _Errors, dtype: str, runtime: str) -> dict[str, Any]:
    floor = EPSILON[dtype] * max(e.scale, FLOOR)
    rms, own_rms = (math.sqrt(s / max(e.count, 1)) for s in (e.package_squares, e.torch_squares))
    allowed = FACTOR * e.torch + floor
    reason = e.reason
    if reason is None and e.package > allowed:
        reason = f"off by {e.package:.3g} of float32, {runtime}'s own {dtype} by {e.torch:.3g}"
    elif reason is None and rms > FACTOR * own_rms + floor / 2:
        reason = f"off by {rms:.3g} rms of float32, {runtime}'s own {dtype} by {own_rms:.3g}"
    return {
        "name": name,
        "error": e.package,
        "torch_error": e.torch,
        "allowed": allowed,
        "rms": rms,
        "torch_rms": own_rms,
        "scale": e.scale,
        "failed": reason is not None,
        "reason": reason,
    }
