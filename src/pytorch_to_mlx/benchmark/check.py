"""The check that ends every timing: evaluated outputs against the other side's."""

from __future__ import annotations

import numpy as np

Outputs = dict[str, np.ndarray]

# Largest difference allowed, as a fraction of the output's scale (its largest finite magnitude).
# A timing's check asks "is this the same computation?"; the proof of parity is validation's work.
TOLERANCES = {
    "float64": 1e-4,  # MLX computes it in float32
    "float32": 1e-4,
    "tf32": 1e-2,  # 10 bits of mantissa in each product
    "float16": 2e-2,
    "bfloat16": 5e-2,
}


class BenchmarkError(RuntimeError):
    """A timing that cannot be trusted: outputs differ, or a figure is beyond the hardware."""


def check_outputs(side: str, outputs: Outputs, reference: Outputs, tolerance: float | None) -> None:
    """Compare one timed call's outputs with the reference's, output by output.

    ``tolerance`` is a fraction of the reference's scale; ``None`` compares names and shapes only
    (for models with random ops). Raises BenchmarkError naming ``side`` and the output.
    """
    if not reference:
        raise BenchmarkError(f"{side}: there is no output to check")
    if outputs.keys() != reference.keys():
        raise BenchmarkError(f"{side}: outputs {sorted(outputs)}, expected {sorted(reference)}")
    for name, expected in reference.items():
        reason = difference(outputs[name], expected, tolerance)
        if reason:
            raise BenchmarkError(f"{side}: output {name!r} {reason}; its timing means nothing")


def difference(actual: np.ndarray, expected: np.ndarray, tolerance: float | None) -> str:
    """Why ``actual`` is not ``expected`` within ``tolerance`` of its scale, or ``""``."""
    if actual.shape != expected.shape:
        return f"has shape {actual.shape}, expected {expected.shape}"
    if tolerance is None or actual.size == 0:
        return ""
    wide = np.complex128 if np.iscomplexobj(expected) or np.iscomplexobj(actual) else np.float64
    a, e = actual.astype(wide), expected.astype(wide)
    finite = np.isfinite(e)
    if not np.array_equal(np.isfinite(a), finite):
        return "is not finite at other positions than the reference"
    if not np.array_equal(a[~finite], e[~finite], equal_nan=True):
        return "has other infinities or NaNs than the reference"
    if not finite.any():
        return ""
    scale = float(np.abs(e[finite]).max())
    worst = float(np.abs(a[finite] - e[finite]).max())
    if worst > tolerance * scale:
        return f"differs by {worst:.3g} at scale {scale:.3g} (allowed {tolerance:g} of it)"
    return ""
