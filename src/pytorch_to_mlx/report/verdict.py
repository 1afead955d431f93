"""What the top of the page says: the verdict in words and the figures behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .words import ORIGINALS, count, finite, short


def of_scale(output: Mapping[str, Any]) -> float:
    """An output's largest error as a fraction of its scale; NaN where there is no error to tell."""
    error, scale = finite(output.get("max_abs")), finite(output.get("scale"))
    if error is None:
        return math.nan
    if error == 0:
        return 0.0
    if scale is None:
        return math.nan
    return error / scale if scale > 0 else math.inf


def exact_cases(validation: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The cases that the tolerance holds for: those in half precision have limits of their own."""
    cases = list((validation or {}).get("cases") or [])
    low = ((validation or {}).get("low_precision") or {}).get("dtype")
    return [c for c in cases if low is None or c.get("dtype") != low] or cases


def worst_of_scale(validation: Mapping[str, Any] | None) -> float | None:
    """The largest error of all outputs as a fraction of scale; ``None`` where none is known."""
    found = [of_scale(output) for case in exact_cases(validation) for output in case["outputs"]]
    known = [value for value in found if math.isfinite(value)]
    return max(known) if known else None


def case_rows(validation: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A row for every compared output, failed ones first, else in the order given."""
    rows = []
    for case in (validation or {}).get("cases") or []:
        sizes = case.get("sizes") or {}
        shown = ", ".join(
            f"{name}={'×'.join(map(str, v)) if isinstance(v, list) else v}"
            for name, v in sizes.items()
        )
        for output in case["outputs"]:
            relative = of_scale(output)
            rows.append(
                {
                    "case": case["name"],
                    "sizes": shown,
                    "output": output,
                    "of_scale": None if math.isnan(relative) else relative,
                }
            )
    return sorted(rows, key=lambda row: row["output"]["ok"])


def headline(report: Mapping[str, Any]) -> dict[str, str]:
    """The verdict: ``state`` (good, bad, none), ``word``, ``sentence``."""
    validation = report.get("validation")
    if not validation:
        return {
            "state": "none",
            "word": "Not validated",
            "sentence": "This conversion was not compared with its source. "
            "Run it again with --validate.",
        }
    outputs = [output for case in validation["cases"] for output in case["outputs"]]
    failed = sum(not output["ok"] for output in outputs)
    compared = f"{_many(len(outputs), 'output')} in {_many(len(validation['cases']), 'case')}"
    if validation["verdict"] == "proven":
        sentence = f"The emitted package computes the same function as its source: {compared}"
        sentence += _exactness(validation) + half_sentence(validation)
        return {"state": "good", "word": "Proven", "sentence": sentence}
    if not outputs:
        reason = "No output was compared at all."
    elif failed:
        reason = f"{failed} of {compared} are not what the source computes."
    else:
        reason = f"{compared} agree, but another check failed."
    sentence = f"The emitted package does not match its source. {reason}"
    return {"state": "bad", "word": "Failed", "sentence": sentence}


def _exactness(validation: Mapping[str, Any]) -> str:
    """The rest of the sentence on a proof: how far off, and what is allowed."""
    worst, tolerance = worst_of_scale(validation), finite(validation.get("tolerance"))
    where = " in float32" if validation.get("low_precision") else ""
    if worst is None:
        return "."
    if worst == 0:
        return f",{where} all exactly equal."
    allowed = f" ({short(tolerance)} is allowed)" if tolerance else ""
    return f",{where} none further off than {short(worst)} of its scale{allowed}."


def half_sentence(validation: Mapping[str, Any]) -> str:
    """How half precision compares with the source's own; empty for a model in float32."""
    section = validation.get("low_precision")
    if not section:
        return ""
    runtime = section.get("runtime", "torch")
    rows = [(finite(r["error"]), finite(r["torch_error"])) for r in section["outputs"]]
    ratios = [a / b for a, b in rows if a is not None and b]
    text = f" In {section['dtype']} its error against float32"
    if not ratios:
        return f"{text} is within what {runtime}'s own run allows."
    return (
        f"{text} is {short(float(f'{max(ratios):.2g}'))} times that of {runtime}'s own run "
        f"({section.get('factor', 2):g} times is allowed)."
    )


def tiles(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures under the verdict: ``value``, ``label``, ``state``."""
    out: list[dict[str, Any]] = []

    def add(value: str, label: str, state: str = "") -> None:
        out.append({"value": value, "label": label, "state": state})

    validation = report.get("validation")
    if validation:
        _add_proof(validation, add)
    best = _fastest(report)
    if best:
        add(f"{best['speedup']:.2f}×", f"{best['name']} against {best['against']}")
    tree = (report.get("model") or {}).get("tree")
    if tree:
        add(count(tree["parameters"]), "parameters")
    dims = report.get("dims") or {}
    if dims:
        dynamic = sum(dim.get("static_reason") is None for dim in dims.values())
        add(f"{dynamic}/{len(dims)}", "dims kept dynamic")
    return out


def _add_proof(validation: Mapping[str, Any], add: Any) -> None:
    cases = validation["cases"]
    passed = sum(bool(c["outputs"]) and all(o["ok"] for o in c["outputs"]) for c in cases)
    state = "good" if cases and passed == len(cases) else "bad"
    add(f"{passed}/{len(cases)}", "cases within tolerance", state)
    worst = worst_of_scale(validation)
    if worst is not None:
        add(short(worst), "worst error, of scale")
    layers = validation.get("layers")
    if layers:
        add(str(len(layers)), "modules compared one by one")
    moved = validation.get("perturbation")
    if moved:
        failed = moved["failed"] if isinstance(moved["failed"], int) else len(moved["failed"])
        good = moved["checked"] - failed
        add(f"{good}/{moved['checked']}", "perturbed weights followed", "bad" if failed else "good")
    left_out = (validation.get("budget") or {}).get("left_out")
    if left_out:
        add(str(len(left_out)), "comparisons left out for time")


def _fastest(report: Mapping[str, Any]) -> dict[str, Any] | None:
    ratios = (report.get("benchmark") or {}).get("ratios") or []
    known = [r for r in ratios if finite(r["speedup"]) is not None and r["against"] in ORIGINALS]
    # The first size speaks for the model; of its MLX rows the faster one.
    first = [r for r in known if r.get("sizes") == known[0].get("sizes")]
    return max(first, key=lambda r: r["speedup"]) if first else None


def _many(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def left_out(validation: Mapping[str, Any] | None) -> list[str]:
    """What the time budget was not enough for, in words; nothing if it was."""
    budget = (validation or {}).get("budget")
    perturbation = (validation or {}).get("perturbation")
    lines: list[str] = []
    names = list((budget or {}).get("left_out") or [])
    if budget and names:
        lines.append(
            f"{len(names)} of {budget['planned']} comparisons left out: "
            f"{budget['seconds']:g} s budget ({', '.join(names)})"
        )
    weights = list((perturbation or {}).get("left_out") or [])
    if budget and weights and perturbation:
        lines.append(
            f"{len(weights)} of {len(weights) + perturbation['checked']} weights to be changed "
            f"left out: {budget['seconds']:g} s budget"
        )
    return lines
