"""One output against the original's: structure first, then non-finite positions, then values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

TOLERANCE = 1e-4  # float32: largest error as a fraction of the output's scale
FLOOR = 1e-6  # scales below this are taken for this

# What MLX makes of dtypes that it cannot store.
STORED = {
    "float64": "float32",
    "complex128": "complex64",
    "complex32": "complex64",
    "int": "int64",
    "float": "float32",
}


@dataclass(frozen=True)
class Array:
    """Values (bfloat16 as float32) with the true dtype's name."""

    values: np.ndarray
    dtype: str


@dataclass
class Comparison:
    """How one output compares; the fields are those of the report's ``outputs``."""

    name: str
    ok: bool
    reason: str | None = None
    shape: list[int] = field(default_factory=list)
    dtype: str = ""
    max_abs: float | None = None
    max_rel: float | None = None
    mean_abs: float | None = None
    cosine: float | None = None
    snr_db: float | None = None
    scale: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def relative(self) -> float:
        """The largest error as a fraction of the scale; infinite where none could be measured."""
        if self.max_abs is None or self.scale is None:
            return 0.0 if self.ok else math.inf
        return 0.0 if self.max_abs == 0 else self.max_abs / max(self.scale, FLOOR)


def is_inexact(dtype: str) -> bool:
    return dtype.startswith(("float", "bfloat", "complex"))


def compare(
    name: str,
    want: Array,
    got: Array | None,
    tolerance: float = TOLERANCE,
    *,
    least_scale: float = FLOOR,
) -> Comparison:
    """Compares ``got`` with ``want``.

    Shape and dtype must be equal (float64 counts as float32), integers and bools too; floats may be
    off by ``tolerance`` times the largest finite magnitude of ``want`` (at least ``least_scale``).
    NaN and infinities must be in the same places, infinities with the same sign (a complex number
    that is not finite in any part only in the same place).
    """
    if got is None:
        return Comparison(name, False, "the package does not give this output")
    dtype = STORED.get(want.dtype, want.dtype)
    result = Comparison(name, False, shape=list(got.values.shape), dtype=got.dtype)
    if got.values.shape != want.values.shape:
        result.reason = f"shape {got.values.shape}, the original gives {want.values.shape}"
        return result
    if got.dtype not in (dtype, want.dtype):
        result.reason = f"dtype {got.dtype}, the original gives {dtype}"
        return result
    if not is_inexact(dtype):
        return _exact(result, want.values, got.values)
    if (reason := _non_finite(want.values, got.values)) is not None:
        measure(result, want.values, got.values)
        result.reason = reason
        return result
    measure(result, want.values, got.values)
    assert result.max_abs is not None
    assert result.scale is not None
    allowed = tolerance * max(result.scale, least_scale)
    result.ok = result.max_abs <= allowed
    if not result.ok:
        result.reason = (
            f"off by {result.max_abs:.3g} at scale {result.scale:.3g}: {allowed:.3g} is allowed"
        )
    return result


def _exact(result: Comparison, want: np.ndarray, got: np.ndarray) -> Comparison:
    different = np.asarray(want != got)
    count = int(different.sum())
    measure(result, want, got)
    result.ok = count == 0
    if count:
        where = tuple(int(i) for i in np.argwhere(np.atleast_1d(different))[0])
        result.reason = (
            f"{count} of {want.size} values differ, the first at {where}: "
            f"{np.atleast_1d(got)[where]} for {np.atleast_1d(want)[where]}"
        )
    return result


def _non_finite(want: np.ndarray, got: np.ndarray) -> str | None:
    """What is wrong with the places of NaN and infinities; ``None`` if nothing is."""
    tests: list[tuple[str, Callable[[Any], Any]]]
    tests = [("NaN", np.isnan), ("+inf", np.isposinf), ("-inf", np.isneginf)]
    if np.iscomplexobj(want):  # which part is NaN is a matter of the algorithm (a transform's, say)
        tests = [("NaN or infinity", lambda z: ~np.isfinite(z))]
    for kind, test in tests:
        in_want, in_got = test(want), test(got)
        if not np.array_equal(in_want, in_got):
            extra, missing = int((in_got & ~in_want).sum()), int((in_want & ~in_got).sum())
            return f"{kind}: {extra} where the original has none, {missing} missing"
    return None


def measure(result: Comparison, want: np.ndarray, got: np.ndarray) -> None:
    """Fills in the figures, over the entries that are finite on both sides."""
    wide = np.complex128 if np.iscomplexobj(want) else np.float64
    a, b = want.astype(wide).ravel(), got.astype(wide).ravel()
    finite = np.isfinite(a)
    result.scale = float(np.abs(a[finite]).max()) if finite.any() else 0.0
    finite &= np.isfinite(b)
    a, b = a[finite], b[finite]
    error = np.abs(a - b)
    magnitude = np.abs(a)
    result.max_abs = float(error.max()) if a.size else 0.0
    result.mean_abs = float(error.mean()) if a.size else 0.0
    positive = magnitude > 0
    result.max_rel = float((error[positive] / magnitude[positive]).max()) if positive.any() else 0.0
    result.cosine = cosine(a, b)
    signal, noise = float((magnitude**2).sum()), float((error**2).sum())
    result.snr_db = math.inf if noise == 0 else 10 * math.log10(max(signal, 1e-300) / noise)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The cosine of the angle between two vectors; 1 where both are zero."""
    norms = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if norms == 0:
        return 1.0 if np.array_equal(a, b) else 0.0
    return float(min(1.0, np.real(np.vdot(a, b)) / norms))
