"""Distinct values."""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Value
from pytorch_to_mlx.lower.onnx import lowers
from pytorch_to_mlx.lower.onnx._common import axis_of, call_as, fresh
from pytorch_to_mlx.ops.sorting import unique_places


@lowers("Unique")
def unique(X: Value, axis: int | None = None, sorted: int = 1) -> Any:
    """Unique(T X, int axis, int sorted=1) -> (T Y, int64 indices, int64 inverse_indices, int64
    counts)"""
    count = fresh("count")
    dims: tuple[Any, ...] = (count,)
    total: Any = 1
    for d in X.dims:
        total = total * d
    options: dict[str, Any] = {}
    if axis is not None:
        at = axis_of(axis, X.ndim)
        dims, total = (*X.dims[:at], count, *X.dims[at + 1 :]), X.dims[at]
        options["axis"] = at
    if not sorted:
        options["ordered"] = False
    places = [((n,), "int64") for n in (count, total, count)]
    return call_as(unique_places, [(dims, X.dtype), *places], X, **options)
