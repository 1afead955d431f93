"""Quantized packages: what quantizing changes is only the weights, and by no more than its limit.

Three statements together: the same conversion without quantization computes what the original does
(the whole proof); the quantized package computes what that code does at the rounded weights, within
the ordinary tolerance; and its outputs are off the original's by no more than the documented limit
of quantization.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.package.run import Package, import_model
from pytorch_to_mlx.package.writer import TOLERANCES
from pytorch_to_mlx.validate.cases import Cases
from pytorch_to_mlx.validate.compare import Array, Comparison, compare, is_inexact
from pytorch_to_mlx.validate.result import Case, ValidationReport
from pytorch_to_mlx.validate.subject import (
    Outputs,
    PackageFailed,
    SourceRefuses,
    Subject,
    mlx_array,
    read_golden,
)

if TYPE_CHECKING:
    from pytorch_to_mlx.converted import Converted
    from pytorch_to_mlx.validate.run import Plan

SHARE = 0.3  # of the budget, for what quantization adds


@dataclass
class Errors:
    """An output's largest errors over all cases, as fractions of its norm; for integers the
    largest share of elements that differ.
    """

    original: float = 0.0
    unquantized: float = 0.0
    exact: bool = False  # integers: no limit applies

    def add(self, original: Array, unquantized: Array | None, got: Array) -> None:
        self.exact = not is_inexact(original.dtype)
        self.original = max(self.original, distance(original.values, got.values, self.exact))
        if unquantized is not None:
            found = distance(unquantized.values, got.values, self.exact)
            self.unquantized = max(self.unquantized, found)


def distance(want: np.ndarray, got: np.ndarray, exact: bool) -> float:
    """The norm of the difference as a fraction of the wanted norm, over finite elements; for exact
    values the share of those that differ.
    """
    if want.shape != got.shape:
        return math.inf
    if exact:
        return float((want != got).mean()) if want.size else 0.0
    a, b = want.astype(np.complex128), got.astype(np.complex128)
    finite = np.isfinite(a) & np.isfinite(b)
    error, norm = np.linalg.norm((a - b)[finite]), np.linalg.norm(a[finite])
    return 0.0 if error == 0 else float(error / norm) if norm else math.inf


def validate_quantized(subject: Subject, converted: Converted, plan: Plan) -> ValidationReport:
    """The proof of the unquantized twin (its cases come first), then the two of quantization."""
    from pytorch_to_mlx.api import convert_captured
    from pytorch_to_mlx.validate.low_precision import validate_low
    from pytorch_to_mlx.validate.run import LOW, precision_of, prove

    assert subject.captured is not None
    twin = convert_captured(
        subject.captured, fold_batch_norm=converted.fold_batch_norm, progress=plan.bars
    )
    plain = Subject(twin.package, subject.captured, subject.examples)
    part = plan.budget.part(1 - SHARE)
    proof = validate_low if precision_of(converted.config) in LOW else prove
    report = proof(plain, twin, replace(plan, budget=part, sizes=()))
    plan.budget.add(part)
    converted.report["plots"] = twin.report.pop("plots", [])
    for case in report.cases:
        case.name = f"unquantized: {case.name}"
        case.wanted = case.got = None
    random = frozenset((report.random_ops or {}).get("outputs", ()))
    with plan.bars.stage("validate quantization"):
        _judge(report, subject, plain, plan, random)
    return report


def _judge(
    report: ValidationReport, subject: Subject, plain: Subject, plan: Plan, random: frozenset[str]
) -> None:
    from pytorch_to_mlx.validate.run import precision_of

    rounded = Subject(at_rounded_weights(plain.package, subject.package), None, subject.examples)
    dtype = precision_of(subject.package.config)
    allowed = max(plan.tolerance, TOLERANCES.get(dtype, 0.0)) if dtype != "float32" else None
    tolerance = plan.tolerance if allowed is None else allowed
    cases = Cases(subject, tolerance, plan.seed, random)
    errors: dict[str, Errors] = {}
    for case in cases.chosen(True, plan.sizes, plan.budget):
        case.name, case.dtype = f"quantized: {case.name}, at the rounded weights", dtype
        try:
            wanted = case.wanted or subject.run_source(case.calls)
            sides = [s.run_package(case.calls) for s in (subject, rounded, plain)]
        except (SourceRefuses, PackageFailed) as error:
            case.outputs.append(Comparison("all", False, str(error)))
            report.cases.append(case)
            continue
        case.wanted = None
        for k, (w, got, near, before) in enumerate(zip(wanted, *sides, strict=True)):
            for name in (n for n in w if n not in random):
                label = name if len(wanted) == 1 else f"{name} (call {k + 1})"
                case.outputs.append(compare(label, near[name], got.get(name), tolerance))
                if name in got:
                    errors.setdefault(name, Errors()).add(w[name], before.get(name), got[name])
        if case.outputs:
            report.cases.append(case)
    report.notes += [n for n in cases.notes if n not in report.notes]
    report.quantization = section(subject.package, errors)


def at_rounded_weights(plain: Package, quantized: Package) -> Package:
    """The unquantized code with what the quantized package's weights stand for.

    Raises:
        InputError: the two have not the same weights.
    """
    weights: dict[str, mx.array] = {}
    for file in sorted(quantized.folder.glob("model*.safetensors")):
        loaded = mx.load(str(file))
        assert isinstance(loaded, dict)
        weights.update(loaded)
    model = import_model(plain.folder).load(plain.folder)
    for layer, how in quantized.config["quantization"]["layers"].items():
        packed, scales = weights.pop(f"{layer}.weight"), weights.pop(f"{layer}.scales")
        biases = weights.pop(f"{layer}.biases", None)
        weights[f"{layer}.weight"] = mx.dequantize(packed, scales, biases, **how)
    own: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    if own.keys() != weights.keys() or any(weights[n].shape != own[n].shape for n in own):
        raise InputError(
            "the source converts to other weights than the package's",
            hint="pass the model that the package was converted from",
        )
    cast = [(n, w.astype(own[n].dtype)) for n, w in weights.items()]
    model.update(tree_unflatten(cast))
    package = Package(plain.folder)
    package._model = model
    return package


def section(package: Package, errors: dict[str, Errors]) -> dict[str, Any]:
    """The ``quantization`` section of a proof: errors beside the limit, and what failed."""
    how = package.config["quantization"]
    limit = float(how["limit"])
    rows, failed, reasons = [], [], []
    for name, e in errors.items():
        if e.exact:
            rows.append({"name": name, "differing": e.original})
            continue
        rows.append({"name": name, "original": e.original, "unquantized": e.unquantized})
        if not e.original <= limit:
            failed.append(name)
            reasons.append(
                f"{name}: quantization ({how['recipe']}) moves it by {e.original:.3g} of its norm, "
                f"{limit:.3g} is allowed"
            )
    return {"limit": limit, "outputs": rows, "failed": failed, "reasons": reasons}


def judge_recorded(
    report: ValidationReport, case: Case, package: Package, got: list[Outputs], allowed: float
) -> None:
    """A quantized package alone: against its own recorded outputs, and the source's."""
    recorded = read_golden(package)
    errors: dict[str, Errors] = {}
    for k, found in enumerate(got):
        for spec in package.config["outputs"]:
            name = spec["name"]
            own = mlx_array(recorded[f"call{k}.quantized.{name}"])
            case.outputs.append(compare(f"{name} (call {k + 1})", own, found.get(name), allowed))
            if name in found:
                original = mlx_array(recorded[f"call{k}.output.{name}"])
                errors.setdefault(name, Errors()).add(original, None, found[name])
    report.quantization = section(package, errors)
