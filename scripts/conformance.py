"""Runs torch's OpInfo table through the conversion and writes ``docs/op-conformance.{json,md}``.

``python scripts/conformance.py`` runs all; with names, those only, merged into what is on record;
``--failing`` runs again what failed, ``--table`` only rewrites the table.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "docs" / "op-conformance.json"
TABLE = ROOT / "docs" / "op-conformance.md"
SILENCE = 110.0  # seconds without a verdict after which a worker is taken for dead
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
SHARD = 120  # entries a process: torch's caches grow with every export


def verdicts(names: list[str], samples: int) -> Iterator[tuple[str, Any, float]]:
    """Judges entries in fresh processes, one at a time; what kills its process fails."""
    left = list(names)
    while left:
        shard = left[:SHARD]
        done = 0
        fate: list[str] = []
        for name, verdict, seconds in _worker(shard, samples, fate):
            assert name == shard[done]
            done += 1
            yield name, verdict, seconds
        if done < len(shard):
            yield shard[done], {"fail": fate[0], "sample": ""}, 0.0
            done += 1
        left = left[done:]


def _worker(names: list[str], samples: int, fate: list[str]) -> Iterator[tuple[str, Any, float]]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    env |= {"P2M_SAMPLES": str(samples), "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.worker"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, cwd=ROOT, env=env,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n".join(names))
    process.stdin.close()
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
    reader.start()
    try:
        while line := lines.get(timeout=SILENCE):
            found = json.loads(line)
            yield found["op"], found["verdict"], found["seconds"]
        fate.append(f"the process died with code {process.wait()}")
    except queue.Empty:
        fate.append(f"no verdict in {SILENCE:.0f} s")
    finally:
        process.kill()
        process.wait()


def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def read_record() -> dict[str, Any]:
    return dict(json.loads(RECORD.read_text(encoding="utf-8"))) if RECORD.is_file() else {}


def _relative(text: str) -> str:
    """Paths below the repository without where it lies on this machine."""
    return text.replace(f"{ROOT}{os.sep}", "")


def write_record(record: dict[str, Any], order: list[str]) -> None:
    """The record in order of torch's table, one entry a line, and the table made of it."""
    lines = [f"{json.dumps(n)}: {json.dumps(record[n])}" for n in order if n in record]
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(_relative("{\n" + ",\n".join(lines) + "\n}\n"), encoding="utf-8")
    TABLE.write_text(_relative(table(record, order)), encoding="utf-8")


def table(record: dict[str, Any], order: list[str]) -> str:
    """The page: the figure, what fails and why, and every entry."""
    known = [n for n in order if n in record]
    passed = [n for n in known if record[n] == "pass"]
    failed = [n for n in known if record[n] != "pass"]
    rows = [
        f"| `{n}` | {_cell(record[n]['fail'])} | {_cell(record[n]['sample'])} |" for n in failed
    ]
    head = _HEAD.format(passed=len(passed), all=len(order))
    listed = ", ".join(f"`{n}`" for n in passed)
    return "\n".join([head, *rows, "", "## What passes", "", listed, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def order() -> list[str]:
    """The entries in order of torch's table."""
    code = "from tests.conformance.samples import entries; print(*entries())"
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--failing", action="store_true", help="run again what failed")
    parser.add_argument("--table", action="store_true", help="only write the table")
    parser.add_argument("--samples", type=int, default=5)
    options = parser.parse_args()
    every, record = order(), read_record()
    names = options.names or every
    if options.failing:
        names = [n for n in every if record.get(n, "new") != "pass"]
    if options.table:
        names = []
    for i, (name, verdict, seconds) in enumerate(verdicts(names, options.samples)):
        record[name] = verdict
        print(f"[{i + 1}/{len(names)}] {name} {seconds:.1f} s: {verdict}", flush=True)
        if i % 20 == 19:
            write_record(record, every)
    write_record(record, every)
    passed = sum(v == "pass" for v in record.values())
    print(f"{passed} of {len(every)} pass")
    return 0


if __name__ == "__main__":
    sys.exit(main())
