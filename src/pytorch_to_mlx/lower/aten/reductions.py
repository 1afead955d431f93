"""Sums, means, extremes and tests over axes."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower._precision import in_single
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import (
    axes_of,
    count,
    is_complex,
    is_float,
    reduction,
    to_float,
)

_INT64 = DType("int64")


def _widened(x: Value, dtype: str | None) -> Value:
    """The input of a sum: in the dtype asked for, integers else as int64."""
    if dtype is not None:
        return x.astype(DType(dtype))
    return x if is_float(x) or is_complex(x) else x.astype(_INT64)


@lowers("aten.sum.default")
def sum_all(self: Value, dtype: str | None = None) -> Value:
    """sum(Tensor self, *, ScalarType? dtype=None) -> Tensor"""
    return call(mx.sum, _widened(self, dtype))


@lowers("aten.sum.dim_IntList")
def sum_(self: Value, dim: Any, keepdim: bool = False, dtype: str | None = None) -> Value:
    """sum.dim_IntList(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None)
    -> Tensor"""
    return call(mx.sum, _widened(self, dtype), **reduction(axes_of(dim, self.ndim), keepdim))


@lowers("aten.prod.default")
def prod_all(self: Value, dtype: str | None = None) -> Value:
    """prod(Tensor self, *, ScalarType? dtype=None) -> Tensor"""
    return call(mx.prod, _widened(self, dtype))


@lowers("aten.prod.dim_int")
def prod(self: Value, dim: int, keepdim: bool = False, dtype: str | None = None) -> Value:
    """prod.dim_int(Tensor self, int dim, bool keepdim=False, *, ScalarType? dtype=None)
    -> Tensor"""
    return call(mx.prod, _widened(self, dtype), **reduction(axes_of(dim, self.ndim), keepdim))


@lowers("aten.mean.default")
def mean_all(self: Value, dtype: str | None = None) -> Value:
    """mean(Tensor self, *, ScalarType? dtype=None) -> Tensor"""
    return mean_of(self if dtype is None else self.astype(DType(dtype)))


@lowers("aten.mean.dim")
def mean(self: Value, dim: Any, keepdim: bool = False, dtype: str | None = None) -> Value:
    """mean.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None)
    -> Tensor"""
    x = self if dtype is None else self.astype(DType(dtype))
    return mean_of(x, **reduction(axes_of(dim, self.ndim), keepdim))


def mean_of(x: Value, **how: Any) -> Value:
    """``mx.mean``, of half types in float32."""
    return in_single(x, lambda wide: call(mx.mean, wide, **how))


def variance_of(x: Value, **how: Any) -> Value:
    """``mx.var``, of half types in float32."""
    return in_single(x, lambda wide: call(mx.var, wide, **how))


@lowers("aten.nansum")
def nansum(self: Value, dim: Any = None, keepdim: bool = False, dtype: str | None = None) -> Value:
    """nansum(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None)
    -> Tensor"""
    known = call(mx.where, call(mx.isnan, self), 0, self) if is_float(self) else self
    return sum_(known, dim, keepdim, dtype)


@lowers("aten.nanmean")
def nanmean(self: Value, dim: Any = None, keepdim: bool = False, dtype: str | None = None) -> Value:
    """nanmean(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None)
    -> Tensor"""
    known = call(mx.logical_not, call(mx.isnan, self)).astype(DType(str(self.dtype)))
    return nansum(self, dim, keepdim, dtype) / sum_(known, dim, keepdim, dtype)


# -- spread --------------------------------------------------------------------------------------


def _spread(target: Any, x: Value, dim: Any, correction: Any, keepdim: bool) -> Value:
    axis = axes_of(dim, x.ndim)
    correction = 1 if correction is None else correction
    if is_complex(x):  # the spreads of both parts add up
        parts = (call(mx.real, x), call(mx.imag, x))
        real, imaginary = (_spread(mx.var, part, dim, correction, keepdim) for part in parts)
        return call(mx.sqrt, real + imaginary) if target is mx.std else real + imaginary
    if float(correction).is_integer():
        ddof = {"ddof": int(correction)} if correction else {}
        return in_single(x, lambda wide: call(target, wide, **reduction(axis, keepdim), **ddof))
    n = count(x, dim)
    scaled = variance_of(x, **reduction(axis, keepdim)) * (n / (n - correction))
    return call(mx.sqrt, scaled) if target is mx.std else scaled


@lowers("aten.var.correction")
def var(self: Value, dim: Any = None, correction: Any = None, keepdim: bool = False) -> Value:
    """var.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None,
    bool keepdim=False) -> Tensor"""
    return _spread(mx.var, self, dim, correction, keepdim)


@lowers("aten.var.dim")
def var_dim(self: Value, dim: Any, unbiased: bool = True, keepdim: bool = False) -> Value:
    """var.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> Tensor"""
    return _spread(mx.var, self, dim, int(unbiased), keepdim)


@lowers("aten.var.default")
def var_all(self: Value, unbiased: bool = True) -> Value:
    """var(Tensor self, bool unbiased=True) -> Tensor"""
    return _spread(mx.var, self, None, int(unbiased), False)


@lowers("aten.std.correction")
def std(self: Value, dim: Any = None, correction: Any = None, keepdim: bool = False) -> Value:
    """std.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None,
    bool keepdim=False) -> Tensor"""
    return _spread(mx.std, self, dim, correction, keepdim)


@lowers("aten.std.dim")
def std_dim(self: Value, dim: Any, unbiased: bool = True, keepdim: bool = False) -> Value:
    """std.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> Tensor"""
    return _spread(mx.std, self, dim, int(unbiased), keepdim)


@lowers("aten.std.default")
def std_all(self: Value, unbiased: bool = True) -> Value:
    """std(Tensor self, bool unbiased=True) -> Tensor"""
    return _spread(mx.std, self, None, int(unbiased), False)


@lowers("aten.var_mean.correction")
def var_mean(
    self: Value, dim: Any = None, correction: Any = None, keepdim: bool = False
) -> tuple[Value, Value]:
    """var_mean.correction(Tensor self, int[1]? dim=None, *, ...) -> (Tensor, Tensor)"""
    return var(self, dim, correction, keepdim), mean(self, dim, keepdim)


@lowers("aten.std_mean.correction")
def std_mean(
    self: Value, dim: Any = None, correction: Any = None, keepdim: bool = False
) -> tuple[Value, Value]:
    """std_mean.correction(Tensor self, int[1]? dim=None, *, ...) -> (Tensor, Tensor)"""
    return std(self, dim, correction, keepdim), mean(self, dim, keepdim)


@lowers("aten.var_mean.dim")
def var_mean_dim(
    self: Value, dim: Any, unbiased: bool = True, keepdim: bool = False
) -> tuple[Value, Value]:
    """var_mean.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False)
    -> (Tensor, Tensor)"""
    return var_mean(self, dim, int(unbiased), keepdim)


@lowers("aten.std_mean.dim")
def std_mean_dim(
    self: Value, dim: Any, unbiased: bool = True, keepdim: bool = False
) -> tuple[Value, Value]:
    """std_mean.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False)
    -> (Tensor, Tensor)"""
    return std_mean(self, dim, int(unbiased), keepdim)


@lowers("aten.var_mean.default")
def var_mean_all(self: Value, unbiased: bool = True) -> tuple[Value, Value]:
    """var_mean(Tensor self, bool unbiased=True) -> (Tensor, Tensor)"""
    return var_mean(self, None, int(unbiased))


@lowers("aten.std_mean.default")
def std_mean_all(self: Value, unbiased: bool = True) -> tuple[Value, Value]:
    """std_mean(Tensor self, bool unbiased=True) -> (Tensor, Tensor)"""
    return std_mean(self, None, int(unbiased))


# -- extremes ------------------------------------------------------------------------------------


@lowers("aten.amax")
def amax(self: Value, dim: Any = (), keepdim: bool = False) -> Value:
    """amax(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor"""
    return call(mx.max, self, **reduction(axes_of(dim, self.ndim), keepdim))


@lowers("aten.amin")
def amin(self: Value, dim: Any = (), keepdim: bool = False) -> Value:
    """amin(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor"""
    return call(mx.min, self, **reduction(axes_of(dim, self.ndim), keepdim))


@lowers("aten.max.default")
def max_all(self: Value) -> Value:
    """max(Tensor self) -> Tensor"""
    return call(mx.max, self)


@lowers("aten.min.default")
def min_all(self: Value) -> Value:
    """min(Tensor self) -> Tensor"""
    return call(mx.min, self)


@lowers("aten.aminmax")
def aminmax(self: Value, dim: int | None = None, keepdim: bool = False) -> tuple[Value, Value]:
    """aminmax(Tensor self, *, int? dim=None, bool keepdim=False) -> (Tensor min, Tensor max)"""
    how = reduction(axes_of(dim, self.ndim), keepdim)
    return call(mx.min, self, **how), call(mx.max, self, **how)


def _position(target: Any, x: Value, dim: int | None, keepdim: bool) -> Value:
    if x.ndim == 0:
        return call("mx.array", 0, dtype=_INT64)
    return call(target, x, **reduction(axes_of(dim, x.ndim), keepdim)).astype(_INT64)


@lowers("aten.argmax")
def argmax(self: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """argmax(Tensor self, int? dim=None, bool keepdim=False) -> Tensor"""
    return _position(mx.argmax, self, dim, keepdim)


@lowers("aten.argmin")
def argmin(self: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """argmin(Tensor self, int? dim=None, bool keepdim=False) -> Tensor"""
    return _position(mx.argmin, self, dim, keepdim)


@lowers("aten.max.dim")
def max_dim(self: Value, dim: int, keepdim: bool = False) -> tuple[Value, Value]:
    """max.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"""
    return amax(self, dim, keepdim), argmax(self, dim, keepdim)


@lowers("aten.min.dim")
def min_dim(self: Value, dim: int, keepdim: bool = False) -> tuple[Value, Value]:
    """min.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"""
    return amin(self, dim, keepdim), argmin(self, dim, keepdim)


# -- tests and counts ----------------------------------------------------------------------------


@lowers("aten.any.default", "aten._is_any_true.default")
def any_all(self: Value) -> Value:
    """any(Tensor self) -> Tensor"""
    return call(mx.any, self)


@lowers("aten.any.dim", "aten.any.dims")
def any_(self: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """any.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor"""
    if dim == ():
        return self.astype(DType("bool"))
    return call(mx.any, self, **reduction(axes_of(dim, self.ndim), keepdim))


@lowers("aten.all.default", "aten._is_all_true.default")
def all_all(self: Value) -> Value:
    """all(Tensor self) -> Tensor; _is_all_true(Tensor self) -> Tensor"""
    return call(mx.all, self)


@lowers("aten.all.dim", "aten.all.dims")
def all_(self: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """all.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor"""
    if dim == ():
        return self.astype(DType("bool"))
    return call(mx.all, self, **reduction(axes_of(dim, self.ndim), keepdim))


@lowers("aten.count_nonzero.default", "aten.count_nonzero.dim_IntList")
def count_nonzero(self: Value, dim: Any = None) -> Value:
    """count_nonzero.dim_IntList(Tensor self, int[] dim) -> Tensor"""
    return sum_(call(mx.not_equal, self, 0), dim)


@lowers("aten.logsumexp", "aten.special_logsumexp")
def logsumexp(self: Value, dim: Any, keepdim: bool = False) -> Value:
    """logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor"""
    how = reduction(axes_of(dim, self.ndim), keepdim)
    if is_complex(self):
        return call("ops.complex_logsumexp", self, **how)
    return call(mx.logsumexp, to_float(self), **how)
