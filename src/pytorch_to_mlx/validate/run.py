"""``validate``: everything that a package is put through, in order."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.progress import Progress, as_progress
from pytorch_to_mlx.validate import golden, plots
from pytorch_to_mlx.validate.cases import Cases
from pytorch_to_mlx.validate.compare import TOLERANCE
from pytorch_to_mlx.validate.result import ValidationReport
from pytorch_to_mlx.validate.subject import Subject, examples_of, given_inputs

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.program import Captured
    from pytorch_to_mlx.converted import Converted

LOW = ("float16", "bfloat16")


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

    Returns:
        The proof, which is also put into the package's report.

    Raises:
        InputError: the inputs do not fit, or ``source`` is another model.
    """
    os.environ.setdefault("MLX_ENABLE_TF32", "0")  # full float32 products on NVIDIA GPUs
    bars = as_progress(progress)
    allowed = TOLERANCE if tolerance is None else float(tolerance)
    if not 0 < allowed < 1:
        raise InputError(f"a tolerance of {allowed} makes no sense", hint="choose one like 1e-4")
    captured = converted.captured
    if captured is None and source is not None:
        from pytorch_to_mlx.validate.recapture import recapture

        captured = recapture(converted.package, source, args, kwargs or {}, bars)
    if captured is None:
        report = golden.compare_with_golden(converted.package, tolerance)
    else:
        subject = _subject(converted, captured, args, kwargs or {})
        if converted.config["dtype"] in LOW:
            from pytorch_to_mlx.validate.low_precision import validate_low

            report = validate_low(
                subject, converted, source, allowed, seed, bars, quick=quick, sizes=sizes or ()
            )
        else:
            report = prove(subject, converted, allowed, seed, bars, quick=quick, sizes=sizes or ())
    converted.report["validation"] = report.to_dict()
    converted.write_report()
    return report


def _subject(
    converted: Converted, captured: Captured, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Subject:
    package = converted.package
    examples = examples_of(package, captured)
    if args or kwargs:
        examples = given_inputs(package, args, kwargs, examples)
    return Subject(package, captured, examples)


def prove(
    subject: Subject,
    converted: Converted,
    tolerance: float,
    seed: int,
    bars: Progress,
    *,
    quick: bool = False,
    sizes: Sequence[Mapping[str, int]] = (),
) -> ValidationReport:
    """The whole proof of a float32 (or integer) package."""
    from pytorch_to_mlx.validate import random_ops

    report = ValidationReport(tolerance)
    ignored: frozenset[str] = frozenset()
    if random_ops.is_random(subject.package):
        with bars.stage("random ops"):
            report.random_ops, case = random_ops.compare_distributions(subject, seed)
            ignored = frozenset(report.random_ops["outputs"])
            report.cases.append(case)
    cases = Cases(subject, tolerance, seed, ignored)
    if not ignored or len(ignored) < len(subject.outputs):
        with bars.stage("validate") as stage:
            for case in cases.plan(quick, sizes):
                report.cases.append(cases.run(case))
                stage.advance()
    report.notes += cases.notes
    if not quick and not ignored:
        _look_inside(report, subject, tolerance, seed, bars)
    if not report.passed and not ignored:
        _locate(report, subject, tolerance, bars)
    converted.report["plots"] = plots.plots_of(subject, ignored)
    return report


def _look_inside(
    report: ValidationReport, subject: Subject, tolerance: float, seed: int, bars: Progress
) -> None:
    """Module by module, and with every weight changed."""
    from pytorch_to_mlx.validate import layers, perturb

    with bars.stage("compare modules"):
        report.layers, notes = layers.compare_layers(subject, tolerance)
        report.notes += notes
    if all(c.ok for c in report.cases):
        report.perturbation = perturb.perturb_weights(subject, tolerance, seed, bars)


def _locate(report: ValidationReport, subject: Subject, tolerance: float, bars: Progress) -> None:
    from pytorch_to_mlx.validate.bisect import bisect

    with bars.stage("bisect"):
        report.bisect = bisect(report, subject, tolerance)
