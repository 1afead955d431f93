"""Converts each model and times it against PyTorch: ``python -m benchmarks.run --help``.

First every model is converted (and torch.compile's cache filled), several processes at once; then
each is timed alone, in a process of its own that holds both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PRESETS = ("full", "cpu", "tiny")


def main() -> int:
    """Runs one model's step, or all steps of all models. 1 if a model was not measured."""
    args = _arguments()
    if args.step:
        return _step(args)
    return _orchestrate(args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="full")
    parser.add_argument("--models", default="", help="comma-separated; default: the preset's")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--machine", default="", help="the machine's name in the results")
    parser.add_argument("--min-time", type=float, default=0.5, help="seconds a row, at least")
    parser.add_argument("--no-torch-compile", action="store_true")
    parser.add_argument("--no-profile", action="store_true")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1) // 2))
    parser.add_argument("--deadline", type=float, default=3600.0, help="seconds for everything")
    parser.add_argument("--step", choices=("convert", "warm", "measure"), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


# -- one model, in its own process -----------------------------------------------------------------


def _step(args: argparse.Namespace) -> int:
    from pytorch_to_mlx.blas import load_blas

    load_blas()
    from benchmarks.models import PRESETS as MODELS

    model = MODELS[args.preset][args.models]()
    folder = args.work / args.models
    if args.step == "convert":
        result = _convert(model, folder)
    elif args.step == "warm":
        from benchmarks.measure import warm_compile

        result = {"torch_compile_s": warm_compile(model)}
    else:
        from benchmarks.measure import measure_model

        result = measure_model(
            model,
            folder / "package",
            min_time_s=args.min_time,
            compile_torch=not args.no_torch_compile,
            profile=not args.no_profile,
        )
    args.out.write_text(json.dumps(result), encoding="utf-8")
    return 0


def _convert(model: Any, folder: Path) -> dict[str, Any]:
    import resource

    import pytorch_to_mlx as p2m

    module = model.module()
    example = model.example(next(iter(model.cases)))
    weights = sum(t.numel() * t.element_size() for t in module.parameters())
    start = time.perf_counter()
    converted = p2m.convert(
        module,
        example,
        dynamic_shapes=model.dynamic_shapes,
        output=folder / "package",
        overwrite=True,
    )
    seconds = time.perf_counter() - start
    return {
        "convert_s": seconds,
        "stages_s": converted.report["timings"],
        "weight_bytes": weights,
        "peak_process_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


# -- all of them -----------------------------------------------------------------------------------


def _orchestrate(args: argparse.Namespace) -> int:
    end = time.monotonic() + args.deadline
    with tempfile.TemporaryDirectory(prefix="p2m_bench_") as work:
        names = args.models.split(",") if args.models else _names(args.preset)
        steps = [("convert", n) for n in names]
        if not args.no_torch_compile:
            steps += [("warm", n) for n in names]
        with ThreadPoolExecutor(args.jobs) as pool:
            done = pool.map(lambda s: _run_step(args, Path(work), *s, end), steps)
            prepared = dict(zip(steps, done, strict=True))
        results: dict[str, Any] = {"machine": _machine(args.machine), "models": {}}
        failed = False
        for name in names:
            entry = {k: prepared[s, n] for k, (s, n) in _keys(name, steps)}
            if "error" not in prepared["convert", name]:
                entry["measured"] = _run_step(args, Path(work), "measure", name, end)
            failed |= "error" in entry.get("measured", {"error": ""})
            results["models"][name] = entry
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return int(failed)


def _keys(name: str, steps: list[tuple[str, str]]) -> list[tuple[str, tuple[str, str]]]:
    return [(step, (step, n)) for step, n in steps if n == name]


def _names(preset: str) -> list[str]:
    from benchmarks.models import PRESETS as MODELS

    return list(MODELS[preset])


def _run_step(
    args: argparse.Namespace, work: Path, step: str, name: str, end: float
) -> dict[str, Any]:
    """One step of one model in a process; ``{"error": ...}`` with its last lines if it fails."""
    (work / name).mkdir(exist_ok=True)
    out = work / name / f"{step}.json"
    command = [sys.executable, "-m", "benchmarks.run", "--step", step, "--models", name]
    command += ["--preset", args.preset, "--work", str(work), "--out", str(out)]
    command += ["--min-time", str(args.min_time)]
    command += ["--no-torch-compile"] * args.no_torch_compile + ["--no-profile"] * args.no_profile
    start = time.monotonic()
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=max(1.0, end - start), check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": "out of time"}
    finally:
        _say(f"{step} {name}: {time.monotonic() - start:.1f} s")
    if ran.returncode:
        _say(ran.stderr[-2500:])
        return {"error": (ran.stderr.strip().splitlines() or ["no message"])[-1]}
    return json.loads(out.read_text(encoding="utf-8"))


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _machine(name: str) -> dict[str, Any]:
    from pytorch_to_mlx.benchmark.machine import describe, mlx_backend

    facts = describe("cpu" if mlx_backend() == "cpu" else "cuda")
    if name:
        facts["device"]["name"] = name
        facts["device"].pop("cpu")
    return facts


if __name__ == "__main__":
    sys.exit(main())
