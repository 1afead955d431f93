"""torch's OpInfo table through the conversion: ``docs/op-conformance.{json,md}``."""

from __future__ import annotations

from typing import Any

import workers

RECORD = workers.ROOT / "docs" / "op-conformance.json"
WORKERS = workers.Workers("ops", shard=120, silence=110.0)
_HEAD = """# OpInfo conformance

**{passed} of {all}** entries of torch's own operator table
(`torch.testing._internal.common_methods_invocations.op_db`) pass.

Each entry's first five samples go through capture, lowering, passes and codegen with every tensor
as an input; the emitted code then runs on other values than the traced ones. Count, shape, dtype
and non-finite places must be torch's, values within 1e-4 of the output's scale (integers and bools
equal). Factorisations are judged by what they reconstruct, random ops by shape, dtype and
distribution, uninitialised memory by shape and dtype. Written by `make conformance`; do not edit.

## What fails

| op | reason | sample |
|---|---|---|"""


def every() -> list[str]:
    """The entries in order of torch's table."""
    return workers.ask("from tests.conformance.samples import entries; print(*entries())")


def page(record: dict[str, Any], order: list[str]) -> str:
    """The figure, what fails and why, and every entry."""
    known = [n for n in order if n in record]
    passed = [n for n in known if record[n] == "pass"]
    failed = [n for n in known if record[n] != "pass"]
    rows = [
        f"| `{n}` | {workers.cell(record[n]['fail'])} | {workers.cell(record[n]['sample'])} |"
        for n in failed
    ]
    head = _HEAD.format(passed=len(passed), all=len(order))
    listed = ", ".join(f"`{n}`" for n in passed)
    return "\n".join([head, *rows, "", "## What passes", "", listed, ""])


def told(verdict: Any) -> Any:
    """A verdict as the record has it: what killed the worker is why the entry fails."""
    if isinstance(verdict, dict) and "fate" in verdict:
        return {"fail": verdict["fate"], "sample": ""}
    return verdict


def run(names: list[str], *, failing: bool, table: bool, samples: int) -> None:
    """Judges the named entries (all without names) into the record, and writes its page."""
    order, record = every(), workers.read_record(RECORD)
    wanted = names or order
    if failing:
        wanted = [n for n in order if record.get(n, "new") != "pass"]
    judged = WORKERS.verdicts([] if table else wanted, P2M_SAMPLES=str(samples))
    for i, (name, verdict, seconds) in enumerate(judged):
        record[name] = told(verdict)
        print(f"[{i + 1}/{len(wanted)}] {name} {seconds:.1f} s: {record[name]}", flush=True)
        if i % 20 == 19:
            workers.write_record(RECORD, record, order, page(record, order))
    workers.write_record(RECORD, record, order, page(record, order))
    passed = sum(v == "pass" for v in record.values())
    print(f"{passed} of {len(order)} entries pass")
