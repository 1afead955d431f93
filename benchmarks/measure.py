"""One model, every side, in one process: torch and the emitted code, beside hand-written code."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import torch

from benchmarks import hand, limits, profiling
from benchmarks.conversion import conversion_of
from benchmarks.models import Model
from pytorch_to_mlx.benchmark.check import TOLERANCES, BenchmarkError
from pytorch_to_mlx.benchmark.load import OtherLoad
from pytorch_to_mlx.benchmark.machine import compile_obstacle, mlx_backend
from pytorch_to_mlx.benchmark.sides import MLXModel, MLXTimed, TorchModel, TorchTimed
from pytorch_to_mlx.benchmark.timing import measure
from pytorch_to_mlx.package.run import import_model

Side = MLXTimed | TorchTimed


class _TorchPicked(torch.nn.Module):
    """A source model that gives the one output that is compared."""

    def __init__(self, module: torch.nn.Module, output: str | None) -> None:
        super().__init__()
        self.module = module
        self.output = output

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        out = self.module(*args)
        return out if self.output is None else getattr(out, self.output)


class _MLXPicked(nn.Module):
    """An emitted model that gives the one output that is compared."""

    def __init__(self, folder: Path, output: str | None) -> None:
        super().__init__()
        self.model = import_model(folder).load(folder)
        self.output = output

    def __call__(self, *args: mx.array) -> mx.array:
        out = self.model(*args)
        return out if self.output is None else out[self.output]


def torch_device() -> str:
    """Where torch runs so that both sides share a device."""
    return "cpu" if mlx_backend() == "cpu" else "cuda"


@dataclass
class Case:
    """One size of a model with its sides, each called once."""

    name: str
    sizes: list[list[int]]
    sides: list[Side]
    peaks: dict[str, int | None]
    flops: int
    least_bytes: int


@dataclass
class Bench:
    """A model that is converted, loaded and compiled on every side: ready to be timed."""

    model: Model
    conversion: dict[str, Any]
    cases: list[Case] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, min_time_s: float) -> dict[str, Any]:
        """The result of this model: rows by case, with the machine's limits."""
        device = torch_device()
        measured = limits.measured_limits(self.model.dtype, device)
        tolerance = _tolerance(self.model, device)
        with OtherLoad() as others:
            cases = [self._case(c, tolerance, min_time_s, measured) for c in self.cases]
        return {
            "title": self.model.title,
            "dtype": self.model.dtype,
            "conversion": self.conversion,
            "limits": measured,
            "cases": cases,
            "other_load_cpus": others.cpus,
            "notes": self.notes,
            "seconds": self.seconds,
        }

    def _case(
        self, case: Case, tolerance: float, min_time_s: float, measured: dict[str, Any]
    ) -> dict[str, Any]:
        rows = _timed(case.sides, tolerance, min_time_s, self.notes, case.name)
        least, by = limits.limit_ms(case.flops, case.least_bytes, measured)
        return {
            "case": case.name,
            "sizes": case.sizes,
            "rows": {n: {**row, "peak_bytes": case.peaks[n]} for n, row in rows.items()},
            "flops": case.flops,
            "least_bytes": case.least_bytes,
            "limit_ms": least,
            "limited_by": by,
        }

    def profiles(self) -> dict[str, dict[str, Any]]:
        """By case and side: the kernels behind a row (GPU only)."""
        return {
            case.name: {
                side.name: profiling.kernels(side.call)
                for side in case.sides
                if side.name in ("torch eager", "mlx compiled", "hand compiled")
            }
            for case in self.cases
        }


def prepare(model: Model, work: Path, *, compile_for: float) -> Bench:
    """Builds, converts and loads a model, and calls every side of every case once.

    ``compile_for`` seconds after the other sides are ready no further torch.compile is begun.
    """
    device = torch_device()
    if device == "cuda":  # as MLX does by default; set before torch.compile, which guards on it
        torch.set_float32_matmul_precision("high")
    start = time.monotonic()
    module = model.module(device).to(device)
    packages, conversion, notes = conversion_of(model, module, work)
    bench = Bench(model, conversion, notes=notes)
    bench.seconds["build and convert"] = time.monotonic() - start
    source = TorchModel(lambda: _TorchPicked(module, model.output))
    written = _written(model, module, notes)
    emitted: dict[Path, MLXModel] = {}
    compiled: list[tuple[Case, TorchTimed]] = []
    for name, package in packages.items():
        if package not in emitted:
            emitted[package] = MLXModel(partial(_MLXPicked, package, model.output))
        values = tuple(
            (x.float() if x.is_floating_point() else x).numpy() for x in model.example(name)
        )
        tensors = source.convert(values, model.dtype)
        arrays = emitted[package].convert(values, model.dtype)
        bench.cases.append(
            _case(model, name, source, emitted[package], written, tensors, arrays, notes)
        )
        compiled.append((bench.cases[-1], TorchTimed(source, tensors, compiled=True)))
    compile_until = time.monotonic() + compile_for
    for case, side in compiled:
        start = time.monotonic()
        if start >= compile_until:
            notes.append(
                f"{case.name}: torch compile: not measured: begun only within {compile_for:g} s"
            )
        elif _called(side, case, notes):
            case.sides.insert(1, side)
            bench.seconds[f"torch compile {case.name}"] = time.monotonic() - start
    mx.clear_cache()
    if device == "cuda":
        torch.cuda.empty_cache()
    return bench


def _case(
    model: Model,
    name: str,
    source: TorchModel,
    emitted: MLXModel,
    written: MLXModel | None,
    tensors: Any,
    arrays: Any,
    notes: list[str],
) -> Case:
    with torch.inference_mode():
        out = source.function(*tensors)
    flops = limits.counted_flops(source.function, tensors) + model.flops(**model.cases[name])
    moved = limits.least_bytes(source.function, [*tensors, out])
    case = Case(name, [list(x.shape) for x in tensors], [], {}, flops, moved)
    wanted: list[tuple[str, Side]] = [("torch eager", TorchTimed(source, tensors, compiled=False))]
    for side, prefix in ((emitted, "mlx"), (written, "hand")):
        if side is None:
            continue
        wanted.append((f"{prefix} eager", MLXTimed(side, arrays, compiled=False)))
        if not compile_obstacle():
            wanted.append((f"{prefix} compiled", MLXTimed(side, arrays, compiled=True)))
    for label, timed in wanted:
        timed.name = label
        if _called(timed, case, notes):
            case.sides.append(timed)
    return case


def _called(side: Side, case: Case, notes: list[str]) -> bool:
    """Whether a side runs; where it does not, a note says why."""
    try:
        case.peaks[side.name] = side.first_call()
    except Exception as error:  # noqa: BLE001 (a compiler raises anything; the note tells it)
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        notes.append(f"{case.name}: {side.name}: not measured: {type(error).__name__}: {first}")
        return False
    return True


def _written(model: Model, module: torch.nn.Module, notes: list[str]) -> MLXModel | None:
    if model.hand is None:
        return None
    write = hand.WRITTEN[model.hand]
    try:
        return MLXModel(lambda: write(module))
    except hand.Unavailable as error:
        notes.append(f"no hand-written module: {error}")
        return None


def _timed(
    sides: list[Side], tolerance: float, min_time_s: float, notes: list[str], case: str
) -> dict[str, dict[str, Any]]:
    """Rows by side; a side whose output is wrong is left out and said so (never torch eager)."""
    kept = list(sides)
    while True:
        try:
            result = measure(kept, tolerance=tolerance, min_time_s=min_time_s, paired=False)
        except BenchmarkError as error:
            wrong = next((s for s in kept[1:] if str(error).startswith(f"{s.name}:")), None)
            if wrong is None:
                raise
            notes.append(f"{case}: not measured: {error}")
            kept.remove(wrong)
            continue
        return {
            m.side.name: {
                "median_ms": m.median_s * 1e3,
                "p95_ms": m.p95_s * 1e3,
                "runs": len(m.seconds),
            }
            for m in result
        }


def _tolerance(model: Model, device: str) -> float:
    tf32 = device == "cuda" and model.dtype == "float32"
    return TOLERANCES["tf32" if tf32 else model.dtype]
