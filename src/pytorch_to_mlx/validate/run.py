"""``validate``: everything that a package is put through, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.progress import Progress, as_progress
from pytorch_to_mlx.validate import bisect, golden, plots
from pytorch_to_mlx.validate.budget import SECONDS, Budget
from pytorch_to_mlx.validate.cases import Cases
from pytorch_to_mlx.validate.compare import TOLERANCE
from pytorch_to_mlx.validate.result import Case, ValidationReport
from pytorch_to_mlx.validate.subject import Subject, examples_of, given_inputs

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.program import Captured
    from pytorch_to_mlx.converted import Converted

LOW = ("float16", "bfloat16")
CASES_SHARE = 0.6  # of the budget; the rest is for modules and weights


@dataclass(frozen=True)
class Plan:
    """What ``validate`` was asked; the tolerance is a float32 error as a fraction of scale."""

    tolerance: float
    seed: int
    bars: Progress
    budget: Budget
    quick: bool = False
    sizes: tuple[Mapping[str, int], ...] = ()


def validate(
    converted: Converted,
    source: Any = None,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    progress: Any = None,
    quick: bool = False,
    sizes: Sequence[Mapping[str, int]] | None = None,
    budget: float = SECONDS,
) -> ValidationReport:
    """Runs the emitted package against the original.

    Args:
        converted: the package.
        source: the original, as ``convert`` takes it; needed for a package that was loaded (without
            it the comparison is with the recorded golden outputs only).
        args, kwargs: inputs to compare at, in place of the examples.
        tolerance: largest float32 error as a fraction of an output's scale; 1e-4 by default.
        seed: of fresh inputs and of the sample of weights.
        progress: as for ``convert``.
        quick: given, random and other sizes only; no edge values, weights or layers.
        sizes: further sizes to compare at, by symbol of ``config["dims"]``.
        budget: seconds after which only what must be compared still is: the given inputs, fresh
            ones, one other size of every dimension, ``sizes``, and three changes of weights. What
            was left out is in the report and its summary.

    Returns:
        The proof, which is also put into the package's report.

    Raises:
        InputError: the inputs do not fit, or ``source`` is another model.
    """
    bars = as_progress(progress)
    allowed = TOLERANCE if tolerance is None else float(tolerance)
    if not 0 < allowed < 1:
        raise InputError(f"a tolerance of {allowed} makes no sense", hint="choose one like 1e-4")
    clock = Budget(float(budget))
    captured = converted.captured
    if captured is None and source is not None:
        from pytorch_to_mlx.validate.recapture import recapture

        captured = recapture(converted.package, source, args, kwargs or {}, bars)
    if captured is None:
        report = golden.compare_with_golden(converted.package, tolerance)
    else:
        subject = _subject(converted, captured, args, kwargs or {})
        plan = Plan(allowed, seed, bars, clock, quick, tuple(sizes or ()))
        if "quantization" in converted.config:
            from pytorch_to_mlx.validate.quantized import validate_quantized

            report = validate_quantized(subject, converted, plan)
        elif precision_of(converted.config) in LOW:
            from pytorch_to_mlx.validate.low_precision import validate_low

            report = validate_low(subject, converted, plan)
        else:
            report = prove(subject, converted, plan)
        if captured.folded:
            from pytorch_to_mlx.validate.folded import judge_folding

            judge_folding(report, subject, plan)
        report.budget = clock.to_dict()
        if quick:
            report.notes.append("a quick proof: no edge values, weights or modules were compared")
    converted.report["validation"] = report.to_dict()
    converted.write_report()
    return report


def precision_of(config: Mapping[str, Any]) -> str:
    """The precision that a package's errors are of; that of its weights where it does not tell."""
    return str(config.get("precision", config["dtype"]))


def _subject(
    converted: Converted, captured: Captured, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Subject:
    package = converted.package
    examples = examples_of(package, captured)
    if args or kwargs:
        examples = given_inputs(package, args, kwargs, examples)
    return Subject(package, captured, examples)


def prove(subject: Subject, converted: Converted, plan: Plan) -> ValidationReport:
    """The whole proof of a float32 (or integer) package."""
    from pytorch_to_mlx.validate import random_ops

    report = ValidationReport(plan.tolerance)
    ignored: frozenset[str] = frozenset()
    if random_ops.is_random(subject.package):
        with plan.bars.stage("random ops"):
            report.random_ops, case = random_ops.compare_distributions(subject, plan.seed)
            ignored = frozenset(report.random_ops["outputs"])
            report.cases.append(case)
    given: Case | None = None
    cases = Cases(subject, plan.tolerance, plan.seed, ignored)
    if not ignored or len(ignored) < len(subject.outputs):
        part = plan.budget.part(1.0 if plan.quick else CASES_SHARE)
        with plan.bars.stage("validate") as stage:
            for case in cases.chosen(plan.quick, plan.sizes, part):
                report.cases.append(cases.run(case))
                given = given or case
                if case is not given:  # outputs may be large
                    case.wanted = case.got = None
                stage.advance()
        plan.budget.add(part)
    report.notes += cases.notes
    if ignored:
        report.notes.append(random_ops.skipped(ignored, subject.outputs.values()))
    elif not plan.quick:
        _look_inside(report, subject, plan, given)
    if not report.passed and not ignored:
        with plan.bars.stage("bisect"):
            report.bisect = bisect.bisect(report, subject, plan.tolerance)
    converted.report["plots"] = plots.plots_of(given, ignored)
    return report


def _look_inside(
    report: ValidationReport, subject: Subject, plan: Plan, given: Case | None
) -> None:
    """Module by module, and with every weight changed."""
    from pytorch_to_mlx.validate import layers, perturb

    run = 0.0 if given is None else given.seconds
    if plan.budget.take("modules one by one", 2 * run):
        with plan.bars.stage("compare modules"):
            report.layers, notes = layers.compare_layers(subject, plan.tolerance)
            report.notes += notes
    if given is not None and all(c.ok for c in report.cases):
        report.perturbation = perturb.perturb_weights(subject, given, plan)
    else:
        report.notes.append("weights were not changed: the outputs differ as it is")
