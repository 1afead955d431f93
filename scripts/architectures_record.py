"""Tiny random architectures through the conversion: ``docs/architectures.{json,md}``."""

from __future__ import annotations

from typing import Any

import workers

RECORD = workers.ROOT / "docs" / "architectures.json"
WORKERS = workers.Workers("architectures", shard=8, silence=400.0)
_HEAD = """# Architectures

**{passed} of {tried}** architectures of the transformers library pass: {kinds}.

Each is built tiny from its configuration class, with all weights random, no family twice. The
package is saved, loaded and compared with the original at the example's sizes, at two other sizes
of every dynamic dimension (1 among them where the original accepts it) and with all at other sizes
at once: outputs, shapes, dtypes, non-finite places, then values within 1e-4 of each output's scale.
An axis stays fixed only for the reason given. No code of this project names any of them. Written by
`make conformance`; do not edit.
"""
_LIMITS = "The package refuses what lies beyond, and says so; within, it is compared."
_KINDS = {
    "text": "Text",
    "vision": "Vision",
    "audio": "Audio",
    "multimodal": "Multimodal",
    "experts": "Experts and state spaces",
}


def every() -> list[str]:
    """Names of all architectures, by kind."""
    code = "from tests.conformance.architectures.case import architectures as a; print(*a())"
    return workers.ask(code)


def page(record: dict[str, Any], order: list[str]) -> str:
    """The figures, and a table for each kind."""
    known = {n: record[n] for n in order if n in record}
    passed = [n for n, r in known.items() if r["verdict"] == "pass"]
    counts, parts = [], []
    for kind, title in _KINDS.items():
        rows = {n: r for n, r in known.items() if r["kind"] == kind}
        good = sum(n in passed for n in rows)
        counts.append(f"{good} of {len(rows)} {title[0].lower()}{title[1:]}")
        parts += ["", f"## {title}", "", *_table(rows)]
    head = _HEAD.format(passed=len(passed), tried=len(known), kinds=", ".join(counts))
    fixed = [
        f"- `{n}`: {'; '.join(f'`{a}` {why}' for a, why in r['fixed'].items())}."
        for n, r in known.items()
        if r.get("fixed")
    ]
    parts += ["", "## Axes that stay fixed", "", *fixed]
    limited = [
        f"- `{n}`: {'; '.join(f'{size}: {why}' for size, why in r['limited'].items())}."
        for n, r in known.items()
        if r.get("limited")
    ]
    if limited:
        parts += ["", "## Sizes with limits", "", _LIMITS, "", *limited]
    return "\n".join([head.rstrip(), *parts, ""])


def _table(rows: dict[str, Any]) -> list[str]:
    lines = [
        "| family | model | parameters | dynamic axes | lines of code | verdict |",
        "|---|---|---:|---|---:|---|",
    ]
    for name, r in rows.items():
        axes = ", ".join(f"`{axis}`" for axis in r.get("dynamic", ()))
        count = f"{r.get('parameters', 0):,}"
        verdict = workers.cell(r["verdict"])
        lines.append(
            f"| {name} | {r.get('model', '')} | {count} | {axes} | {r.get('lines', '')} "
            f"| {verdict} |"
        )
    return lines


def run(names: list[str], *, failing: bool, table: bool) -> None:
    """Judges the named architectures (all without names) into the record, and writes its page."""
    order, record = every(), workers.read_record(RECORD)
    wanted = names or order
    if failing:
        wanted = [n for n in order if record.get(n, {}).get("verdict") != "pass"]
    for i, (name, found, seconds) in enumerate(WORKERS.verdicts([] if table else wanted)):
        if "fate" in found:
            kind = workers.ask(
                "from tests.conformance.architectures.case import architectures as a; "
                f"print(a()[{name!r}].kind)"
            )
            found = {"kind": kind[0], "verdict": found["fate"]}
        record[name] = found
        print(f"[{i + 1}/{len(wanted)}] {name} {seconds:.1f} s: {found['verdict']}", flush=True)
        workers.write_record(RECORD, record, order, page(record, order))
    workers.write_record(RECORD, record, order, page(record, order))
    passed = sum(r["verdict"] == "pass" for n, r in record.items() if n in order)
    print(f"{passed} of {len(order)} architectures pass")
