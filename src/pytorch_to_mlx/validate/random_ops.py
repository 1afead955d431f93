"""Models that draw random numbers: what they draw is compared by distribution.

The generators differ, so values cannot agree. Shapes and dtypes must; over repeated draws, every
element's mean and mean square must agree within their own standard errors, and all values pooled
must have one distribution (Kolmogorov-Smirnov).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.package.run import Package
from pytorch_to_mlx.validate.compare import STORED, Array, Comparison
from pytorch_to_mlx.validate.result import Case
from pytorch_to_mlx.validate.subject import PackageFailed, SourceRefuses, Subject

DRAWS = 256
MOST_Z = 5.5  # standard errors
NOTE = "random numbers cannot be equal: compared by shape, dtype, moments and distribution"


def is_random(package: Package) -> bool:
    """Whether the emitted code draws random numbers."""
    return "mx.random." in (package.folder / "model.py").read_text(encoding="utf-8")


def compare_distributions(subject: Subject, seed: int) -> tuple[dict[str, Any], Case]:
    """The report's ``random_ops`` section and a case with the random outputs."""
    case = Case(f"distribution of {DRAWS} draws", calls=[subject.examples])
    section: dict[str, Any] = {"draws": DRAWS, "how": NOTE, "outputs": [], "failed": []}
    try:
        theirs = [subject.run_source(case.calls, seed=seed + k)[0] for k in range(DRAWS)]
        ours = []
        for k in range(DRAWS):
            mx.random.seed(seed + k)
            ours.append(subject.run_package(case.calls)[0])
    except (PackageFailed, SourceRefuses) as error:
        case.outputs.append(Comparison("all", False, str(error)))
        section["failed"].append("all")
        return section, case
    for name, first in theirs[0].items():
        want = [d[name] for d in theirs]
        if all(np.array_equal(first.values, w.values, equal_nan=_inexact(first)) for w in want):
            continue
        section["outputs"].append(name)
        found = _distribution(name, want, [d.get(name) for d in ours])
        case.outputs.append(found)
        if not found.ok:
            section["failed"].append(name)
    if not case.outputs:
        case.outputs = [Comparison("none random at these inputs", True)]
    return section, case


def skipped(ignored: Collection[str], outputs: Collection[str]) -> str:
    """A note of what a proof lacks where some outputs are random."""
    which = "all" if len(ignored) == len(outputs) else " and ".join(sorted(ignored))
    return (
        f"random outputs ({which}) are compared by distribution at the given inputs; weights were "
        "not changed, modules not compared one by one, and a fault is not searched for"
    )


def _inexact(a: Array) -> bool:
    return a.values.dtype.kind in "fc"


def _distribution(name: str, want: list[Array], got: list[Array | None]) -> Comparison:
    first, other = want[0], got[0]
    dtype = STORED.get(first.dtype, first.dtype)
    result = Comparison(name, False, shape=list(first.values.shape), dtype=dtype)
    present = [g for g in got if g is not None]
    if other is None or len(present) < len(got):
        result.reason = "the package does not give this output"
        return result
    if any(g.dtype != dtype for g in present):
        result.reason = f"dtype {other.dtype}, the original gives {dtype}"
        return result
    if {g.values.shape for g in present} != {w.values.shape for w in want}:
        result.reason = f"shape {other.values.shape}, the original gives {first.values.shape}"
        return result
    a = np.stack([w.values.astype(np.float64).ravel() for w in want])
    b = np.stack([g.values.astype(np.float64).ravel() for g in present])
    result.scale = float(np.abs(a).max(initial=0.0))
    result.reason = different(a, b)
    result.ok = result.reason is None
    result.max_abs = float(np.abs(a.mean(0) - b.mean(0)).max(initial=0.0))
    return result


def different(a: np.ndarray, b: np.ndarray) -> str | None:
    """Why two samples (draws by elements) are not of one distribution; ``None`` if they may be."""
    if np.isfinite(a).all() != np.isfinite(b).all():
        return "only one side has non-finite values"
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    if np.array_equal(b[0], b[-1]) and np.array_equal(b[0], b[len(b) // 2]):
        return "the package draws the same values every time"
    for label, x, y in (("mean", a, b), ("mean square", a**2, b**2)):
        error = np.sqrt((x.var(0) + y.var(0)) / len(x))
        gap = np.abs(x.mean(0) - y.mean(0))
        z = gap / np.maximum(error, 1e-6 * max(float(np.abs(x).max(initial=0.0)), 1e-12))
        if z.max(initial=0.0) > MOST_Z:
            at = int(z.argmax())
            ours, theirs = y.mean(0)[at], x.mean(0)[at]
            return f"the {label} of element {at} is {ours:.4g}, the original's {theirs:.4g}"
    distance, allowed = kolmogorov_smirnov(a.ravel(), b.ravel()), 2.2 * math.sqrt(2 / len(a))
    if distance > allowed:
        return f"another distribution: Kolmogorov-Smirnov distance {distance:.3f}"
    return None


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """The largest distance between two samples' distribution functions."""
    a, b = np.sort(a), np.sort(b)
    points = np.concatenate([a, b])
    below_a = np.searchsorted(a, points, side="right") / len(a)
    below_b = np.searchsorted(b, points, side="right") / len(b)
    return float(np.abs(below_a - below_b).max())
