"""Results as tables for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytorch_to_mlx.report.verdict import exact_cases, left_out
from pytorch_to_mlx.report.words import ORIGINALS


def summary(
    console: Console,
    title: str,
    *,
    validation: Mapping[str, Any] | None = None,
    passed: bool | None = None,
    benchmark: Mapping[str, Any] | None = None,
    rows: Sequence[tuple[str, str]] = (),
) -> None:
    """The closing table: verdict, largest error, speed, and where things are."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Verdict", verdict(passed))
    if validation is not None:
        table.add_row("Max error", Text(max_error(validation)))
        table.add_row("Compared", Text(compared(validation)))
        for line in weights(validation):
            table.add_row("Weights", Text(line))
        for line in half_precision(validation):
            table.add_row("Half precision", Text(line))
        for line in left_out(validation):
            table.add_row("Left out", Text(line, "yellow"))
        for note in validation.get("notes", ()):
            table.add_row("Note", Text(note))
    if benchmark is not None:
        for line in speed(benchmark):
            table.add_row("Speed", Text(line))
        for note in benchmark.get("notes", ()):
            table.add_row("Note", Text(note))
    for name, value in rows:
        table.add_row(name, Text(value))
    console.print(table)


def verdict(passed: bool | None) -> Text:
    """The verdict in colour; ``None`` means that nobody asked for proof."""
    if passed is None:
        return Text("not validated (add --validate)", "yellow")
    return Text("PROVEN", "bold green") if passed else Text("PARITY FAILED", "bold red")


def max_error(validation: Mapping[str, Any]) -> str:
    """The worst absolute error over all cases, with its output, scale and the tolerance.

    Half-precision cases have a limit of their own (:func:`half_precision`), so they do not count
    where there are others.
    """
    outputs = [
        (case.get("name", ""), output)
        for case in exact_cases(validation)
        for output in case.get("outputs", [])
        if isinstance(output.get("max_abs"), (int, float))
    ]
    if not outputs:
        return "nothing was compared"

    def badness(item: tuple[str, Mapping[str, Any]]) -> float:
        value = float(item[1]["max_abs"])
        return math.inf if math.isnan(value) else value / (float(item[1].get("scale") or 0) or 1)

    case, worst = max(outputs, key=badness)
    text = f"{float(worst['max_abs']):.2e}"
    if isinstance(worst.get("scale"), (int, float)):
        text += f" at scale {float(worst['scale']):.3g}"
    if isinstance(validation.get("tolerance"), (int, float)):
        text += f", tolerance {float(validation['tolerance']):.0e} of scale"
    return f"{text} (case {case})" if case else text


def half_precision(validation: Mapping[str, Any]) -> list[str]:
    """One line an output: its error against float32 beside the limit that the source sets."""
    section = validation.get("low_precision") or {}
    own = f"{section.get('runtime', 'torch')}'s own"
    return [
        f"{row['name']}: {section['dtype']} is off by {float(row['error']):.2e} of float32, "
        f"allowed {float(row['allowed']):.2e} ({own}: {float(row['torch_error']):.2e})"
        for row in section.get("outputs", ())
    ]


def weights(validation: Mapping[str, Any]) -> list[str]:
    """How many changed weights the outputs followed."""
    moved = validation.get("perturbation")
    if not moved:
        return []
    failed, checked = len(moved["failed"]), moved["checked"]
    text = f"{checked - failed} of {checked} changed weights followed"
    inert = len(moved.get("inert") or ())
    return [f"{text}, {inert} of them move{'s' if inert == 1 else ''} no output" if inert else text]


def compared(validation: Mapping[str, Any]) -> str:
    """How many comparisons stand behind the verdict."""
    cases = validation.get("cases", [])
    outputs = sum(len(case.get("outputs", [])) for case in cases)
    failed = sum(not output.get("ok", True) for c in cases for output in c.get("outputs", []))
    text = f"{len(cases)} case{_s(len(cases))}, {outputs} output{_s(outputs)}"
    return f"{text}, {failed} out of tolerance" if failed else text


def speed(benchmark: Mapping[str, Any]) -> list[str]:
    """One line a measured variant, against the original where it was measured."""
    rows = [row for row in benchmark.get("rows", []) if row.get("median_ms") is not None]
    first = rows[0].get("sizes") if rows else None
    rows = [row for row in rows if row.get("sizes") == first]
    base = next((row for row in rows if row.get("name") in ORIGINALS), None)
    lines = []
    for row in rows:
        line = f"{row.get('name', '?')}: {row['median_ms']:.3g} ms"
        if base is not None and row is not base and row["median_ms"] > 0:
            line += f" ({base['median_ms'] / row['median_ms']:.2f}x {base['name']})"
        lines.append(line)
    return lines or ["nothing was measured"]


def _s(count: int) -> str:
    return "" if count == 1 else "s"
