"""How far a quantized package is from another, how large, and how fast."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.package.run import Package
from pytorch_to_mlx.quantize import inputs
from pytorch_to_mlx.quantize.inputs import Call, Values

#: Largest error of an output (the norm of the difference as a fraction of the output's) that counts
#: as quantization's own, by the fewest bits of any layer. A weight's own error is about 0.006 at 8
#: affine bits and 0.1 at 4 in groups of 64; depth multiplies it by a few.
LIMITS = {8: 0.05, 6: 0.15, 5: 0.25, 4: 0.5, 3: 0.9, 2: 1.5}
FLOATING_8 = 0.25  # mxfp8 keeps 3 bits of mantissa: its weights are off by 0.026


def limit_of(bits: int, modes: set[str]) -> float:
    """The limit of a package whose layers have at least ``bits`` bits."""
    limit = LIMITS[bits]
    return max(limit, FLOATING_8) if "mxfp8" in modes else limit


def relative(want: mx.array, got: mx.array) -> float:
    """The norm of the difference over that of ``want``, finite elements only."""
    with mx.stream(mx.cpu):
        kind = mx.complex64 if want.dtype == mx.complex64 else mx.float32
        a, b = want.astype(kind), got.astype(kind)
        finite = mx.isfinite(a) & mx.isfinite(b)
        zero = mx.zeros_like(a)
        squares = [mx.sum(mx.square(mx.abs(mx.where(finite, v, zero)))) for v in (a - b, a)]
        error, norm = (float(np.array(v)) for v in squares)
    if error == 0:
        return 0.0
    return math.sqrt(error / norm) if norm else math.inf


def output_errors(wanted: Sequence[Values], got: Sequence[Values]) -> dict[str, float]:
    """The error of every floating output over a sequence of calls (the largest)."""
    errors: dict[str, float] = {}
    for want, found in zip(wanted, got, strict=True):
        for name, array in want.items():
            if name in found and mx.issubdtype(array.dtype, mx.inexact):
                errors[name] = max(errors.get(name, 0.0), relative(array, found[name]))
    return errors


def differing(wanted: Sequence[Values], got: Sequence[Values]) -> dict[str, float]:
    """The share of elements that differ, of every output that is no floating one."""
    shares: dict[str, float] = {}
    for want, found in zip(wanted, got, strict=True):
        for name, array in want.items():
            if name in found and not mx.issubdtype(array.dtype, mx.inexact):
                same = mx.mean((array == found[name]).astype(mx.float32)).item()
                assert isinstance(same, float)
                shares[name] = max(shares.get(name, 0.0), 1.0 - same)
    return shares


def recorded_outputs(package: Package) -> list[Values]:
    """The original's outputs at the recorded inputs."""
    recorded = inputs.read_golden(package.folder)
    return [
        {o["name"]: recorded[f"call{k}.output.{o['name']}"] for o in package.config["outputs"]}
        for k in range(package.config["golden"]["calls"])
    ]


def weight_bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.glob("model*.safetensors"))


def milliseconds(package: Package, call: Call, seconds: float = 0.5) -> float:
    """The median time of a call, warm, over about ``seconds`` (three calls at least)."""
    inputs.run(package, call)
    taken: list[float] = []
    while len(taken) < 3 or (sum(taken) < seconds and len(taken) < 50):
        started = time.perf_counter()
        inputs.run(package, call)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e3 / len(call)


def comparison(plain: Package, quantized: Package) -> dict[str, Any]:
    """Size, error and speed of a quantized package beside the one it was made from."""
    calls = inputs.golden_calls(plain)[0]
    before, after = inputs.run(plain, calls), inputs.run(quantized, calls)
    original = recorded_outputs(plain)
    random = "mx.random." in (plain.folder / "model.py").read_text(encoding="utf-8")
    rows = []
    if not random:
        unquantized, source = output_errors(before, after), output_errors(original, after)
        rows = [{"name": n, "unquantized": unquantized[n], "original": source[n]} for n in source]
        shares = differing(original, after)
        rows += [{"name": n, "differing": share} for n, share in shares.items()]
    sizes = weight_bytes(plain.folder), weight_bytes(quantized.folder)
    times = milliseconds(plain, calls), milliseconds(quantized, calls)
    return {
        "bytes": {"unquantized": sizes[0], "quantized": sizes[1]},
        "median_ms": {"unquantized": times[0], "quantized": times[1]},
        "outputs": rows,
    }
