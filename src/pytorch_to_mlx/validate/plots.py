"""Drawings for the report: the original's outputs and the package's, one over the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytorch_to_mlx.validate.compare import is_inexact
from pytorch_to_mlx.validate.result import Case

MOST = 4
LONGEST = 200_000


def plots_of(given: Case | None, ignored: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """A curve of the first row and a scatter of all values of the first few float outputs, at the
    given inputs; none where one side did not run."""
    if given is None or not given.wanted or not given.got:
        return []
    want, got = given.wanted[0], given.got[0]
    found: list[dict[str, Any]] = []
    for name, a in want.items():
        b = got.get(name)
        usable = b is not None and a.values.shape == b.values.shape and a.values.size > 1
        if name in ignored or not usable or not is_inexact(a.dtype) or len(found) >= 2 * MOST:
            continue
        assert b is not None
        found += _pair(name, a.values, b.values)
    return found


def _pair(name: str, want: np.ndarray, got: np.ndarray) -> list[dict[str, Any]]:
    step = max(1, want.size // LONGEST)
    series = {"source": want.ravel()[::step], "mlx": got.ravel()[::step]}
    plots: list[dict[str, Any]] = []
    if want.shape[-1] > 1:
        row = {
            "source": want.reshape(-1, want.shape[-1])[0],
            "mlx": got.reshape(-1, got.shape[-1])[0],
        }
        title = f"{name}: the first row" if want.ndim > 1 else name
        plots.append({"title": title, "kind": "line", "series": row, "x_label": "index"})
    return [*plots, {"title": f"{name}: all values", "kind": "scatter", "series": series}]
