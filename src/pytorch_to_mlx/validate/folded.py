"""A package whose 8-bit products were folded, beside its source as written.

The proof compares with the folded model; what is left to judge is how far folding moved it: codes
of activations are given up, so outputs may differ by the size of their roundings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.validate.cases import Cases
from pytorch_to_mlx.validate.compare import Array, Comparison
from pytorch_to_mlx.validate.quantized import Errors
from pytorch_to_mlx.validate.result import ValidationReport
from pytorch_to_mlx.validate.subject import PackageFailed, Subject

if TYPE_CHECKING:
    from pytorch_to_mlx.validate.run import Plan


def judge_folding(report: ValidationReport, subject: Subject, plan: Plan) -> None:
    """Adds the ``quantization`` section: every output's distance from the source as written, as a
    fraction of its norm, over the given inputs, fresh ones and other sizes."""
    assert subject.captured is not None
    limit = float(subject.captured.folded["limit"])
    written: Any = subject.captured.as_written
    errors: dict[str, Errors] = {}
    reasons: list[str] = []
    for case in Cases(subject, plan.tolerance, plan.seed).chosen(True, plan.sizes, plan.budget):
        case.name = f"as written: {case.name}"
        try:
            got = subject.run_package(case.calls)[0]
        except PackageFailed as error:
            case.outputs.append(Comparison("all", False, str(error)))
            report.cases.append(case)
            continue
        by_name = {o.name: Array(o.array, o.dtype) for o in written(case.calls[0])}
        for index, name in subject.outputs.items():
            want = by_name[subject.captured.output_names[index]]
            errors.setdefault(name, Errors()).add(want, None, got[name])
    for name, e in errors.items():
        if not e.exact and not e.original <= limit:
            reasons.append(f"{name}: folding moves it by {e.original:.3g} of its norm")
    rows = [
        {"name": n, "differing": e.original} if e.exact else {"name": n, "original": e.original}
        for n, e in errors.items()
    ]
    report.quantization = {
        "limit": limit,
        "outputs": rows,
        "failed": [r.partition(":")[0] for r in reasons],
        "reasons": reasons,
    }
