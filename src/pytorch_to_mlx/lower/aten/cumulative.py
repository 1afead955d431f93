"""Running sums, products and extremes; differences."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower._precision import in_single
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import align, getitem, key, positive
from pytorch_to_mlx.lower.aten.reductions import _widened


@lowers("aten.cumsum")
def cumsum(self: Value, dim: int, dtype: str | None = None) -> Value:
    """cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor"""
    return _running("sum", _widened(self, dtype), dim)


@lowers("aten.cumprod")
def cumprod(self: Value, dim: int, dtype: str | None = None) -> Value:
    """cumprod(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor"""
    return _running("prod", _widened(self, dtype), dim)


def _running(kind: str, x: Value, dim: int) -> Value:
    """Running totals; those of half types are kept in float32, as torch keeps them."""
    if x.ndim == 0:
        return x
    return in_single(x, lambda wide: call(f"mx.cum{kind}", wide, axis=dim))


@lowers("aten.logcumsumexp")
def logcumsumexp(self: Value, dim: int) -> Value:
    """logcumsumexp(Tensor self, int dim) -> Tensor"""
    if self.ndim == 0:
        return self
    return in_single(self, lambda wide: call(mx.logcumsumexp, wide, axis=dim))


@lowers("aten.cummax")
def cummax(self: Value, dim: int) -> tuple[Value, Value]:
    """cummax(Tensor self, int dim) -> (Tensor values, Tensor indices)"""
    return call("ops.cummax", self, dim)


@lowers("aten.cummin")
def cummin(self: Value, dim: int) -> tuple[Value, Value]:
    """cummin(Tensor self, int dim) -> (Tensor values, Tensor indices)"""
    return call("ops.cummin", self, dim)


@lowers("aten.diff")
def diff(
    self: Value,
    n: int = 1,
    dim: int = -1,
    prepend: Value | None = None,
    append: Value | None = None,
) -> Value:
    """diff(Tensor self, int n=1, int dim=-1, Tensor? prepend=None, Tensor? append=None)
    -> Tensor"""
    if n == 0:
        return self  # torch joins nothing then
    parts = tuple(p for p in (prepend, self, append) if p is not None)
    x = call(mx.concatenate, align(*parts), axis=dim) if len(parts) > 1 else self
    axis = positive(dim, x.ndim)
    for _ in range(n):
        after: Any = getitem(x, *key(x.ndim, axis, slice(1, None)))
        before = getitem(x, *key(x.ndim, axis, slice(None, -1)))
        x = call(mx.not_equal if x.dtype == "bool" else mx.subtract, after, before)
    return x
