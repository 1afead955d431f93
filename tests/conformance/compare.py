"""Are the emitted code's outputs torch's: count, shape, dtype, non-finite places, values."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
import numpy as np
import torch

from pytorch_to_mlx.package.arrays import from_torch

# Of the output's scale; half types have few digits.
TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2}.get(os.environ.get("P2M_DTYPE", ""), 1e-4)
_LEAST_SCALE = 1e-2
_DRAWS = 40
_SIGMAS = 6.0

Outputs = Sequence[Any]


class Mismatch(AssertionError):
    """What differs, in one line."""


def check_kind(want: Outputs, got: Outputs) -> None:
    """Count, shape and dtype."""
    if len(want) != len(got):
        raise Mismatch(f"{len(got)} outputs instead of {len(want)}")
    for i, (w, g) in enumerate(zip(want, got, strict=True)):
        if not isinstance(w, torch.Tensor):
            if isinstance(g, mx.array):
                raise Mismatch(f"output {i}: an array instead of {type(w).__name__}")
            continue
        if not isinstance(g, mx.array):
            raise Mismatch(f"output {i}: {type(g).__name__} instead of a tensor")
        if tuple(g.shape) != tuple(w.shape):
            raise Mismatch(f"output {i}: shape {tuple(g.shape)} instead of {tuple(w.shape)}")
        dtype = from_torch(torch.empty(0, dtype=w.dtype)).dtype
        if g.dtype != dtype:
            raise Mismatch(f"output {i}: dtype {g.dtype} instead of {dtype}")


def check_values(want: Outputs, got: Outputs, tolerance: float = TOLERANCE) -> None:
    """Everything: kinds, then values; integers and bools must be equal."""
    check_kind(want, got)
    for i, (w, g) in enumerate(zip(want, got, strict=True)):
        if isinstance(w, torch.Tensor):
            _check_arrays(i, numpy(w), numpy(g), tolerance)
        elif isinstance(w, float):
            _check_arrays(i, np.asarray(w), np.asarray(g), tolerance)
        elif w != g:
            raise Mismatch(f"output {i}: {g!r} instead of {w!r}")


def numpy(x: Any) -> np.ndarray[Any, Any]:
    """An array of a tensor or an MLX array; float64 as MLX has it."""
    array = from_torch(x) if isinstance(x, torch.Tensor) else x
    return np.array(array.astype(mx.float32) if array.dtype == mx.bfloat16 else array)


def _check_arrays(
    i: int, want: np.ndarray[Any, Any], got: np.ndarray[Any, Any], tolerance: float
) -> None:
    if want.dtype.kind not in "fc":
        if not np.array_equal(want, got):
            bad = int((want != got).sum())
            raise Mismatch(f"output {i}: {bad} of {want.size} elements differ")
        return
    for part, name in ((np.real, "real"), (np.imag, "imaginary")):
        a, b = part(want), part(got)
        if not np.array_equal(np.isnan(a), np.isnan(b)):
            raise Mismatch(f"output {i}: NaN elsewhere ({name} part)")
        infinite = np.isinf(a) | np.isinf(b)
        if not np.array_equal(a[infinite], b[infinite]):
            raise Mismatch(f"output {i}: infinite elsewhere ({name} part)")
    finite = np.isfinite(want)
    if not finite.any():
        return
    a, b = want[finite].astype(np.complex128), got[finite].astype(np.complex128)
    scale = max(float(np.abs(a).max()), _LEAST_SCALE)
    error = float(np.abs(a - b).max())
    if error > tolerance * scale:
        raise Mismatch(f"output {i}: off by {error:.2g} at a scale of {scale:.2g}")


def check_distribution(reference: Callable[[], Outputs], emitted: Callable[[], Outputs]) -> None:
    """Means and mean squares of every element over several draws, within sampling error."""
    torch.manual_seed(3)
    mx.random.seed(3)
    want, got = [reference() for _ in range(_DRAWS)], [emitted() for _ in range(_DRAWS)]
    for w, g in zip(want, got, strict=True):
        check_kind(w, g)
    for i, first in enumerate(want[0]):
        if not isinstance(first, torch.Tensor) or first.numel() == 0:
            continue
        a = np.stack([numpy(w[i]) for w in want]).astype(np.complex128)
        b = np.stack([numpy(g[i]) for g in got]).astype(np.complex128)
        for power in (1, 2):
            _check_means(i, np.abs(a) ** power if power == 2 else a, b, power)


def _check_means(i: int, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], power: int) -> None:
    b = np.abs(b) ** 2 if power == 2 else b
    spread = np.sqrt((a.var(0) + b.var(0)) / _DRAWS)
    off = np.abs(a.mean(0) - b.mean(0))
    scale = max(float(np.abs(a).max()), _LEAST_SCALE)
    # A rare value may be seen by one side only: at least the spread of one draw in forty.
    floor = scale / _DRAWS
    if not (off <= _SIGMAS * np.maximum(spread, floor)).all():
        raise Mismatch(f"output {i}: the mean of power {power} is off by {float(off.max()):.2g}")
    pooled = np.abs(a.mean() - b.mean())
    allowed = _SIGMAS * np.sqrt(
        (a.mean(tuple(range(1, a.ndim))).var() + b.mean(tuple(range(1, b.ndim))).var()) / _DRAWS
    )
    if pooled > allowed + TOLERANCE * scale:
        raise Mismatch(
            f"output {i}: another distribution (mean of power {power} off by {pooled:.2g})"
        )
