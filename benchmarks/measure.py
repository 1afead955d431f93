"""One model, every side, in one process: torch and the emitted code, beside hand-written code."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import torch

from benchmarks import hand, limits, profiling
from benchmarks.models import Model
from pytorch_to_mlx.benchmark.check import TOLERANCES, BenchmarkError
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


def torch_model(model: Model) -> TorchModel:
    """The source on torch's device."""
    device = torch_device()
    return TorchModel(lambda: _TorchPicked(model.module(device).to(device), model.output))


def numpy_inputs(model: Model, case: str) -> tuple[np.ndarray, ...]:
    """forward's arguments; halves as float32."""
    return tuple((x.float() if x.is_floating_point() else x).numpy() for x in model.example(case))


def warm_compile(model: Model) -> dict[str, float]:
    """Fills torch.compile's cache on disk; seconds by case."""
    source = torch_model(model)
    seconds = {}
    for case in model.cases:
        tensors = source.convert(numpy_inputs(model, case), model.dtype)
        start = time.perf_counter()
        TorchTimed(source, tensors, compiled=True).call()
        seconds[case] = time.perf_counter() - start
    return seconds


def measure_model(
    model: Model, package: Path, *, min_time_s: float, compile_torch: bool, profile: bool
) -> dict[str, Any]:
    """Rows of every case, with limits, demands and (on a GPU) the kernels behind the MLX row."""
    device = torch_device()
    source = torch_model(model)
    emitted = MLXModel(lambda: _MLXPicked(package, model.output))
    notes: list[str] = []
    written = _written(model, source, notes)
    measured = limits.measured_limits(model.dtype, device)
    cases = []
    for case in model.cases:
        inputs = numpy_inputs(model, case)
        tensors = source.convert(inputs, model.dtype)
        arrays = emitted.convert(inputs, model.dtype)
        sides = _sides(source, emitted, written, tensors, arrays, compile_torch, notes)
        peaks = {side.name: side.first_call() for side in sides}
        rows = _timed(sides, _tolerance(model, device), min_time_s, notes)
        cases.append(
            {
                "case": case,
                "sizes": [list(x.shape) for x in inputs],
                "rows": {name: {**row, "peak_bytes": peaks[name]} for name, row in rows.items()},
                **_demands(model, case, source, tensors, measured),
                **({"profiles": _profiles(sides)} if profile and device == "cuda" else {}),
            }
        )
    return {
        "title": model.title,
        "dtype": model.dtype,
        "limits": measured,
        "cases": cases,
        "notes": notes,
    }


def _written(model: Model, source: TorchModel, notes: list[str]) -> MLXModel | None:
    if model.hand is None:
        return None
    write = hand.WRITTEN[model.hand]
    try:
        return MLXModel(lambda: write(source.function.module))
    except hand.Unavailable as error:
        notes.append(f"no hand-written module: {error}")
        return None


def _sides(
    source: TorchModel,
    emitted: MLXModel,
    written: MLXModel | None,
    tensors: Any,
    arrays: Any,
    compile_torch: bool,
    notes: list[str],
) -> list[Side]:
    sides: list[Side] = [TorchTimed(source, tensors, compiled=False)]
    wanted: list[tuple[str, Side]] = []
    if compile_torch:
        wanted.append(("torch compile", TorchTimed(source, tensors, compiled=True)))
    for model, prefix in ((emitted, "mlx"), (written, "hand")):
        if model is None:
            continue
        wanted.append((f"{prefix} eager", MLXTimed(model, arrays, compiled=False)))
        if not compile_obstacle():
            wanted.append((f"{prefix} compiled", MLXTimed(model, arrays, compiled=True)))
    for name, side in wanted:
        side.name = name
        try:
            side.call()
        except (RuntimeError, ValueError, TypeError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            notes.append(f"{name}: not measured: {type(error).__name__}: {first}")
            continue
        sides.append(side)
    return sides


def _timed(
    sides: list[Side], tolerance: float, min_time_s: float, notes: list[str]
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
            notes.append(f"not measured: {error}")
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


def _demands(
    model: Model, case: str, source: TorchModel, tensors: Any, measured: dict[str, Any]
) -> dict[str, Any]:
    with torch.inference_mode():
        out = source.function(*tensors)
    flops = limits.counted_flops(source.function, tensors) + model.flops(**model.cases[case])
    moved = limits.least_bytes(source.function, [*tensors, out])
    least, by = limits.limit_ms(flops, moved, measured)
    return {"flops": flops, "least_bytes": moved, "limit_ms": least, "limited_by": by}


def _profiles(sides: list[Side]) -> dict[str, Any]:
    return {
        side.name: profiling.kernels(side.call)
        for side in sides
        if side.name in ("torch eager", "mlx compiled")
    }
