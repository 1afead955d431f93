"""Writes a report's two files, and refuses one that contradicts itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_to_mlx.files import json_text, write_text

from .page import render_page

SCHEMA_VERSION = 1


class ReportError(ValueError):
    """A report that claims more than its own figures show."""


def write_report(report: dict[str, Any], folder: Path | str) -> None:
    """Write ``report.json`` and ``report.html`` to ``folder`` (made if need be).

    ``report`` holds the sections of ``schema.json`` (docs/report-schema.md describes them), any of
    which may be absent, and optionally ``plots``: arrays drawn into the page and left out of the
    JSON. The same report gives the same bytes. Raises ReportError where the validation says
    "proven" and its cases do not, TypeError for values that JSON cannot hold.
    """
    plots = report.get("plots") or []
    data = plain({key: value for key, value in report.items() if key != "plots"})
    data["schema_version"] = SCHEMA_VERSION
    check_verdict(data)
    page = render_page(data, plots)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "report.json", json_text(data, strict=True))
    write_text(folder / "report.html", page)


def check_verdict(data: Mapping[str, Any]) -> None:
    """Raise ReportError unless a "proven" verdict has comparisons, and all of them passed."""
    validation = data.get("validation")
    if not validation or validation.get("verdict") != "proven":
        return
    cases = validation.get("cases") or []
    if not cases or not all(case.get("outputs") for case in cases):
        raise ReportError("the verdict is 'proven', but a case compares no output")
    for case in cases:
        for output in case["outputs"]:
            where = f"output {output.get('name')!r} of case {case.get('name')!r}"
            if output.get("ok") is not True:
                raise ReportError(f"the verdict is 'proven', but {where} is not ok")
            if output.get("max_abs") in ("nan", "inf", "-inf"):
                raise ReportError(f"the verdict is 'proven', but {where} has no finite error")
    perturbation = validation.get("perturbation") or {}
    if perturbation.get("failed"):
        raise ReportError("the verdict is 'proven', but perturbed weights moved the outputs apart")


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: numpy scalars unwrapped, tuples lists, NaN and inf spelled.

    Raises TypeError for anything else, arrays included.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str):  # strings that are subclasses too (dtype names)
        return str(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, Path):
        return str(value)
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return plain(value.item())
    raise TypeError(f"a report cannot hold {type(value).__name__}: {str(value)[:80]}")


def _number(value: float) -> float | str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value
