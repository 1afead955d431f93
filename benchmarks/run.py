"""Converts each model and times it against PyTorch: ``python -m benchmarks.run --help``.

Every model has a process of its own that holds both sides. Several prepare at once (conversion and
torch.compile take minutes); then they are timed one after the other, while the others wait.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PRESETS = ("full", "cpu", "tiny")
POLL_S = 0.2


def main() -> int:
    """Times all models, or serves one of them. 1 if a model was not timed."""
    args = _arguments()
    # As MLX has it. Importing the converter turns it off, in this process and those it starts.
    os.environ.setdefault("MLX_ENABLE_TF32", "1")
    if args.serve:
        return _serve(args)
    return _orchestrate(args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="full")
    parser.add_argument("--models", default="", help="comma-separated; default: the preset's")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--machine", default="", help="the machine's name in the results")
    parser.add_argument("--min-time", type=float, default=0.5, help="seconds a row, at least")
    parser.add_argument("--no-profile", action="store_true", help="on a GPU: count no kernels")
    parser.add_argument("--jobs", type=int, default=1, help="models that prepare at once")
    parser.add_argument(
        "--compile-for",
        type=float,
        default=600.0,
        help="begin torch.compile only so long (s)",
    )
    parser.add_argument("--prepare-for", type=float, default=1800.0, help="limit of preparing (s)")
    parser.add_argument("--deadline", type=float, default=7200.0, help="limit of everything (s)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


# -- one model, in its own process -----------------------------------------------------------------


def _serve(args: argparse.Namespace) -> int:
    """Prepares a model, then does what each line of stdin asks; answers are files in a folder."""
    start = time.monotonic()
    from pytorch_to_mlx.blas import load_blas

    load_blas()
    from benchmarks.measure import prepare
    from benchmarks.models import PRESETS as MODELS

    model = MODELS[args.preset][args.models]()
    bench = prepare(model, args.serve, compile_for=args.compile_for)
    bench.seconds["prepare"] = time.monotonic() - start
    _answer(args.serve / "ready.json", {})
    for line in sys.stdin:
        asked = line.strip()
        begun = time.monotonic()
        result = bench.timed(args.min_time) if asked == "timed" else bench.profiles()
        bench.seconds[asked] = time.monotonic() - begun
        _answer(args.serve / f"{asked}.json", result)
    return 0


def _answer(path: Path, data: Any) -> None:
    """Writes a file that others see only when it is complete."""
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(data), encoding="utf-8")
    beside.replace(path)


# -- all of them -----------------------------------------------------------------------------------


class _Server:
    """The process of one model."""

    def __init__(self, args: argparse.Namespace, name: str, work: Path) -> None:
        self.name = name
        self.folder = work / name
        self.folder.mkdir()
        self.error = ""
        command = [sys.executable, "-m", "benchmarks.run", "--serve", str(self.folder)]
        command += ["--models", name, "--preset", args.preset, "--out", str(args.out)]
        command += ["--min-time", str(args.min_time), "--compile-for", str(args.compile_for)]
        self.log = (self.folder / "log").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=self.log, stderr=self.log, text=True
        )

    def wait(self, what: str, until: float) -> Any:
        """The answer ``what``; ``None`` (and ``error``) if it does not come."""
        path = self.folder / f"{what}.json"
        while not path.exists():
            if self.process.poll() is not None:
                self.log.seek(0)
                text = self.log.read().strip()
                self.error = (text.splitlines() or ["no message"])[-1]
                _say(f"{self.name} failed in {what}:\n{text[-2500:]}")
                return None
            if time.monotonic() > until:
                self.error = f"out of time ({what})"
                self.close()
                return None
            time.sleep(POLL_S)
        return json.loads(path.read_text(encoding="utf-8"))

    def ask(self, what: str, until: float) -> Any:
        """Has the process do ``what`` and returns its answer, or ``None``."""
        if self.error:
            return None
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.wait(what, until)

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()


def _orchestrate(args: argparse.Namespace) -> int:
    end = time.monotonic() + args.deadline
    names = args.models.split(",") if args.models else _names(args.preset)
    results: dict[str, Any] = {"machine": _machine(args.machine), "models": {}}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="p2m_bench_") as work:
        for first in range(0, len(names), args.jobs):
            for name, entry in _wave(args, names[first : first + args.jobs], Path(work), end):
                results["models"][name] = entry
                args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return int(any("error" in entry for entry in results["models"].values()))


def _wave(
    args: argparse.Namespace, names: list[str], work: Path, end: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Some models: prepared at once, timed in turn, then profiled in turn; (name, entry)."""
    start = time.monotonic()
    servers = [_Server(args, name, work) for name in names]
    entries: dict[str, dict[str, Any]] = {}
    try:
        for server in servers:
            server.wait("ready", min(end, start + args.prepare_for))
            _say(f"{server.name} ready after {time.monotonic() - start:.0f} s {server.error}")
        for server in servers:
            entries[server.name] = server.ask("timed", end) or {"error": server.error}
            _say(f"{server.name} timed after {time.monotonic() - start:.0f} s {server.error}")
            yield server.name, entries[server.name]
        for server in servers:
            if args.no_profile or server.error or results_on_cpu(entries[server.name]):
                continue
            profiles = server.ask("profiles", end)
            for case in entries[server.name]["cases"] if profiles else ():
                case["profiles"] = profiles[case["case"]]
            yield server.name, entries[server.name]
            _say(f"{server.name} profiled after {time.monotonic() - start:.0f} s {server.error}")
    finally:
        for server in servers:
            server.close()


def results_on_cpu(entry: dict[str, Any]) -> bool:
    """Whether a model was timed on a CPU, where there are no kernels to count."""
    return entry["conversion"]["on"] == "cpu"


def _names(preset: str) -> list[str]:
    from benchmarks.models import PRESETS as MODELS

    return list(MODELS[preset])


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _machine(name: str) -> dict[str, Any]:
    from pytorch_to_mlx.benchmark.machine import describe, mlx_backend
    from pytorch_to_mlx.benchmark.sides import torch_on

    facts = describe(torch_on("cpu" if mlx_backend() == "cpu" else "cuda"))
    if name:
        facts["device"]["name"] = name
        facts["device"].pop("cpu")
    return facts


if __name__ == "__main__":
    sys.exit(main())
