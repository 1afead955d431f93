"""torch's OpInfo table in dtypes beside its usual one: ``docs/op-dtypes.{json,md}``."""

from __future__ import annotations

from typing import Any

import workers
from opinfo_record import WORKERS, told

RECORD = workers.ROOT / "docs" / "op-dtypes.json"
DTYPES = ("bfloat16", "float16", "int64", "int32", "uint8", "bool", "complex64")
_HEAD = """# OpInfo in other dtypes

The same table and judge as in [op-conformance.md](op-conformance.md), the first sample of each
entry, in every dtype below that torch's kernels take. Integers and bools must be equal, complex
numbers within 1e-4 of the output's scale, float16 within 2e-3 and bfloat16 within 2e-2. Written by
`python scripts/conformance.py --dtypes`; do not edit.

`sort`, `argsort`, `topk` and `kthvalue` fail by the indices of equal elements, whose order torch
does not define; the values agree. `grid_sample` of half types is nearer to float64 here than
torch's own. LU of complex matrices with NaN or infinity may choose other pivots than torch's.

| dtype | pass | entries |
|---|---|---|"""
_FAILS = """
## What fails

| dtype | op | reason | sample |
|---|---|---|---|"""


def every(dtype: str) -> list[str]:
    """The entries that take the dtype, in order of torch's table."""
    ask = f"from tests.conformance.samples import entries_in; print(*entries_in({dtype!r}))"
    return workers.ask(ask)


def page(record: dict[str, Any], order: dict[str, list[str]]) -> str:
    """The figures by dtype, and what fails with its reason."""
    figures, fails = [], []
    for dtype, names in order.items():
        verdicts = {n: record.get(f"{dtype} {n}") for n in names}
        passed = sum(v == "pass" for v in verdicts.values())
        figures.append(f"| {dtype} | {passed} | {len(names)} |")
        fails += [
            f"| {dtype} | `{n}` | {workers.cell(v['fail'])} | {workers.cell(v['sample'])} |"
            for n, v in verdicts.items()
            if v not in ("pass", None)
        ]
    return "\n".join([_HEAD, *figures, _FAILS, *fails, ""])


def run(dtypes: list[str], *, failing: bool, table: bool) -> None:
    """Judges all entries in the named dtypes (all without names) into the record, and its page."""
    order = {dtype: every(dtype) for dtype in DTYPES}
    keys = [f"{dtype} {n}" for dtype, names in order.items() for n in names]
    record = workers.read_record(RECORD)
    for dtype in dtypes or DTYPES:
        wanted = [n for n in order[dtype] if not failing or record.get(f"{dtype} {n}") != "pass"]
        judged = WORKERS.verdicts([] if table else wanted, P2M_SAMPLES="1", P2M_DTYPE=dtype)
        for name, verdict, seconds in judged:
            record[f"{dtype} {name}"] = told(verdict)
            print(f"{dtype} {name} {seconds:.1f} s: {told(verdict)}", flush=True)
        workers.write_record(RECORD, record, keys, page(record, order))
