"""Runs ONNX's own backend tests against ``pytorch_to_mlx.onnx_backend`` and records the result.

All tests that need no download (node, simple, pytorch-converted, pytorch-operator), each in a
worker process with a time limit, so that a crash or an endless loop is a failed verdict.

    python scripts/onnx_conformance.py [--only REGEX] [--failing] [--shard 1/4] [--record]

``--record`` writes docs/onnx-conformance.json and docs/onnx-coverage.md. ``--cache FILE`` keeps the
generated test data, which takes half a minute to make.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import select
import signal
import sys
import time
import traceback
import unittest
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "onnx-conformance.json"
PAGE = ROOT / "docs" / "onnx-coverage.md"
KINDS = {
    "Node": "node",
    "Simple": "simple",
    "PyTorchConverted": "pytorch-converted",
    "PyTorchOperator": "pytorch-operator",
}


@dataclass
class Item:
    """One test of the suite."""

    name: str
    category: str
    run: Callable[[], None]


@dataclass
class Verdict:
    name: str
    category: str
    op: str
    outcome: str  # passed | failed | crashed | timeout
    reason: str = ""
    seconds: float = 0.0


def load_items(cache: Path | None) -> list[Item]:
    """Every test, bound to a backend that is imported where it runs."""
    import onnx.backend.test.runner as runner
    from onnx.backend.base import Backend

    load = runner.load_model_tests
    cases = _cached(cache, lambda: {k: load(kind=k) for k in KINDS.values()})
    runner.load_model_tests = lambda kind, **_: cases.get(kind, [])

    class Lazy(Backend):  # type: ignore[misc]
        @classmethod
        def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> Any:
            from pytorch_to_mlx import onnx_backend

            LAST["model"] = model
            return onnx_backend.prepare(model, device, **kwargs)

        @classmethod
        def supports_device(cls, device: str) -> bool:
            return device == "CPU"

    suite = runner.Runner(Lazy, __name__)
    out = []
    for category, kind in KINDS.items():
        for name, item in sorted(suite._test_items[f"{category}Model"].items()):
            if name.endswith("_cpu"):
                test = unittest.FunctionTestCase(lambda: None)
                run = lambda f=item.func, t=test: f(t)  # noqa: E731
                out.append(Item(name.removesuffix("_cpu"), kind, run))
    return out


LAST: dict[str, Any] = {}


def _cached(path: Path | None, make: Callable[[], Any]) -> Any:
    if path is None:
        return make()
    if path.exists():
        return pickle.loads(path.read_bytes())
    value = make()
    path.write_bytes(pickle.dumps(value))
    return value


# -- workers ---------------------------------------------------------------------------------------


@dataclass
class Worker:
    """A forked process that runs the items it is told to, and what it is at."""

    pid: int
    results: int
    todo: list[int]
    buffer: bytes = b""
    running: int = -1
    since: float = field(default_factory=time.monotonic)


def start(items: list[Item], todo: list[int]) -> Worker:
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return Worker(pid, read, todo)
    os.close(read)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        for i in todo:
            os.write(write, (json.dumps({"start": i}) + "\n").encode())
            os.write(write, (json.dumps({"done": i, **judge(items[i])}) + "\n").encode())
    finally:
        os._exit(0)


def judge(item: Item) -> dict[str, Any]:
    """Outcome and reason of one test, in the worker."""
    LAST.clear()
    begun = time.perf_counter()
    try:
        item.run()
        outcome, reason = "passed", ""
    except unittest.SkipTest as error:
        outcome, reason = "failed", f"skipped: {error}"
    except BaseException as error:  # noqa: BLE001 - every end but a pass is a failed verdict
        outcome, reason = "failed", describe(error)
    return {
        "outcome": outcome,
        "reason": reason,
        "op": main_op(LAST.get("model")),
        "seconds": round(time.perf_counter() - begun, 3),
    }


def describe(error: BaseException) -> str:
    """The first lines of an error, with the refusals of lowering."""
    ops = getattr(error, "ops", None)
    if ops:
        return "; ".join(dict.fromkeys(f"{o.op}: {o.reason}" for o in ops))[:400]
    if isinstance(error, AssertionError):
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return ("wrong result: " + " ".join(lines[:6]))[:300]
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text} ({Path(where.filename).name}:{where.lineno})"[:300]


def main_op(model: Any) -> str:
    """The op that a test is about: the first that is no constant."""
    if model is None:
        return "?"
    names = [f"{n.domain}.{n.op_type}".lstrip(".") for n in model.graph.node]
    return next((n for n in names if n != "Constant"), names[0] if names else "none")


def run_all(items: list[Item], workers: int, limit: float) -> dict[int, dict[str, Any]]:
    """Runs every item; one that takes too long or kills its process has failed."""
    results: dict[int, dict[str, Any]] = {}
    todo = [[i for i in range(len(items)) if i % workers == w] for w in range(workers)]
    live = [start(items, part) for part in todo if part]
    while live:
        ready, _, _ = select.select([w.results for w in live], [], [], 1.0)
        for w in list(live):
            ended = w.results in ready and not _drain(w, results)
            if not ended and w.running >= 0 and time.monotonic() - w.since > limit:
                os.kill(w.pid, signal.SIGKILL)
                results[w.running] = {"outcome": "timeout", "reason": f"longer than {limit:g} s"}
                ended = True
            if not ended:
                continue
            _, status = os.waitpid(w.pid, 0)
            os.close(w.results)
            live.remove(w)
            if w.running >= 0 and w.running not in results:
                reason = f"the process ended with status {status}"
                results[w.running] = {"outcome": "crashed", "reason": reason}
            rest = [i for i in w.todo if i not in results]
            if rest:
                live.append(start(items, rest))
        if sys.stderr.isatty():
            print(f"\r{len(results)}/{len(items)}", end="", file=sys.stderr)
    return results


def _drain(w: Worker, results: dict[int, dict[str, Any]]) -> bool:
    """Takes a worker's messages; False at its end."""
    data = os.read(w.results, 1 << 16)
    w.buffer += data
    *lines, w.buffer = w.buffer.split(b"\n")
    for line in lines:
        message = json.loads(line)
        if "start" in message:
            w.running, w.since = message["start"], time.monotonic()
        else:
            results[message.pop("done")] = message
            w.running = -1
    return bool(data)


# -- records ---------------------------------------------------------------------------------------


def table(verdicts: list[Verdict]) -> dict[str, Any]:
    import mlx.core as mx
    import onnx

    passed = sum(v.outcome == "passed" for v in verdicts)
    by_kind: dict[str, dict[str, int]] = {}
    for v in verdicts:
        entry = by_kind.setdefault(v.category, {"total": 0, "passed": 0})
        entry["total"] += 1
        entry["passed"] += v.outcome == "passed"
    failing = [v for v in verdicts if v.outcome != "passed"]
    return {
        "onnx": onnx.__version__,
        "mlx": mx.__version__,
        "total": len(verdicts),
        "passed": passed,
        "by_kind": by_kind,
        "failing": {
            v.name: {"kind": v.category, "op": v.op, "outcome": v.outcome, "reason": v.reason}
            for v in failing
        },
    }


def page(data: dict[str, Any]) -> str:
    """The table in words: figures, then every failing test with its reason, by op."""
    made = f"onnx {data['onnx']}, mlx {data['mlx']}; scripts/onnx_conformance.py --record"
    lines = [
        "# ONNX backend tests",
        "",
        f"{data['passed']} of {data['total']} tests of `onnx.backend.test` pass ({made}).",
        "",
        "| kind | passed | total |",
        "|---|---|---|",
    ]
    lines += [f"| {k} | {v['passed']} | {v['total']} |" for k, v in data["by_kind"].items()]
    lines += ["", "## What does not pass, by op", ""]
    by_op: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, entry in data["failing"].items():
        by_op[entry["op"]][entry["reason"]].append(name)
    for op in sorted(by_op):
        lines += [f"### {op}", ""]
        for reason, names in sorted(by_op[op].items()):
            lines += [f"- {reason.replace('|', '/')}: {', '.join(f'`{n}`' for n in names)}"]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="a regular expression of test names")
    parser.add_argument("--failing", action="store_true", help="only what the record says fails")
    parser.add_argument("--shard", default="1/1", help="N/M: every M-th test, from the N-th on")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a test may take")
    parser.add_argument("--record", action="store_true", help="write the table and the page")
    parser.add_argument("--cache", type=Path, help="keep the generated test data in this file")
    parser.add_argument("--json", type=Path, help="write the table of this run to a file")
    options = parser.parse_args(arguments)
    items = load_items(options.cache)
    if options.only:
        items = [i for i in items if re.search(options.only, i.name)]
    if options.failing:
        known = json.loads(TABLE.read_text(encoding="utf-8"))["failing"]
        items = [i for i in items if i.name in known]
    nth, of = (int(p) for p in options.shard.split("/"))
    items = items[nth - 1 :: of]
    results = run_all(items, max(1, options.workers), options.limit)
    verdicts = [
        Verdict(item.name, item.category, **{"op": "?", **results[i]})
        for i, item in enumerate(items)
    ]
    data = table(verdicts)
    for v in verdicts:
        if v.outcome != "passed":
            print(f"{v.outcome:8} {v.name} [{v.op}]: {v.reason}")
    counts = Counter(v.op for v in verdicts if v.outcome != "passed")
    if counts:
        print("by op:", ", ".join(f"{op} {n}" for op, n in counts.most_common(40)))
    print(f"{data['passed']} of {data['total']} pass")
    if options.json:
        options.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    if options.record:
        TABLE.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(page(data), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
