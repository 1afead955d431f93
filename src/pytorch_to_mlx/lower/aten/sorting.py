"""Order: sort, top-k, medians, quantiles, uniques, bins."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph.build import call, call_many
from pytorch_to_mlx.graph.dims import Dim
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import as_array, is_array

Pair = tuple[Value, Value]


def _pair(target: str, *args: Any, **kwargs: Any) -> Pair:
    """A call of a function that returns values and int64 indices."""
    values, indices = call_many(target, 2, *args, **kwargs)
    return values, indices


@lowers("aten.sort.default")
def sort(self: Value, dim: int = -1, descending: bool = False) -> Pair:
    """sort(Tensor self, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)"""
    return sort_stable(self, True, dim, descending)


@lowers("aten.sort.stable")
def sort_stable(
    self: Value, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> Pair:
    """sort.stable(Tensor self, *, bool? stable, int dim=-1, bool descending=False)
    -> (Tensor values, Tensor indices)"""
    if self.ndim == 1 and not descending and self.dtype != "bool":
        order = argsort(self, dim)
        return call("getitem", self, (order,)), order
    return _pair("ops.sort", self, dim, descending)


@lowers("aten.argsort.default", "aten.argsort.dim")
def argsort(self: Value, dim: int = -1, descending: bool = False) -> Value:
    """argsort(Tensor self, int dim=-1, bool descending=False) -> Tensor"""
    if self.ndim and not descending and self.dtype != "bool":
        axis = {} if dim in (-1, self.ndim - 1) else {"axis": dim}
        return call("mx.argsort", self, **axis).astype(DType("int64"))
    return call("ops.argsort", self, dim, descending)


@lowers("aten.argsort.stable")
def argsort_stable(self: Value, stable: bool, dim: int = -1, descending: bool = False) -> Value:
    """argsort.stable(Tensor self, *, bool stable, int dim=-1, bool descending=False) -> Tensor"""
    return argsort(self, dim, descending)


@lowers("aten.msort")
def msort(self: Value) -> Value:
    """msort(Tensor self) -> Tensor"""
    return call(mx.sort, self, axis=0)


@lowers("aten.topk")
def topk(self: Value, k: Dim, dim: int = -1, largest: bool = True, sorted: bool = True) -> Pair:
    """topk(Tensor self, SymInt k, int dim=-1, bool largest=True, bool sorted=True)
    -> (Tensor values, Tensor indices)"""
    return _pair("ops.topk", self, k, dim, **({} if largest else {"largest": False}))


@lowers("aten.kthvalue.default")
def kthvalue(self: Value, k: Dim, dim: int = -1, keepdim: bool = False) -> Pair:
    """kthvalue(Tensor self, SymInt k, int dim=-1, bool keepdim=False)
    -> (Tensor values, Tensor indices)"""
    return _pair("ops.kthvalue", self, k, dim, keepdim)


@lowers("aten.median.default")
def median(self: Value) -> Value:
    """median(Tensor self) -> Tensor"""
    return call("ops.median_of_all", self)


@lowers("aten.nanmedian.default")
def nanmedian(self: Value) -> Value:
    """nanmedian(Tensor self) -> Tensor"""
    return call("ops.nanmedian_of_all", self)


@lowers("aten.median.dim")
def median_dim(self: Value, dim: int, keepdim: bool = False) -> Pair:
    """median.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"""
    return _pair("ops.median_with_indices", self, dim, keepdim)


@lowers("aten.nanmedian.dim")
def nanmedian_dim(self: Value, dim: int, keepdim: bool = False) -> Pair:
    """nanmedian.dim(Tensor self, int dim, bool keepdim=False)
    -> (Tensor values, Tensor indices)"""
    return _pair("ops.nanmedian_with_indices", self, dim, keepdim)


@lowers("aten.mode")
def mode(self: Value, dim: int = -1, keepdim: bool = False) -> Pair:
    """mode(Tensor self, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)"""
    return _pair("ops.mode_with_indices", self, dim, keepdim)


@lowers("aten.quantile")
def quantile(
    self: Value,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    interpolation: str = "linear",
) -> Value:
    """quantile(Tensor self, Tensor q, int? dim=None, bool keepdim=False, *,
    str interpolation="linear") -> Tensor"""
    return call("ops.quantile", self, q, dim, keepdim, interpolation)


@lowers("aten.nanquantile")
def nanquantile(
    self: Value,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    interpolation: str = "linear",
) -> Value:
    """nanquantile(Tensor self, Tensor q, int? dim=None, bool keepdim=False, *,
    str interpolation="linear") -> Tensor"""
    return call("ops.quantile", self, q, dim, keepdim, interpolation, ignore_nan=True)


# -- sets and bins -------------------------------------------------------------------------------


@lowers("aten._unique2", "aten._unique")
def unique(
    self: Value, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> tuple[Value, ...]:
    """_unique2(Tensor self, bool sorted=True, bool return_inverse=False,
    bool return_counts=False) -> (Tensor, Tensor, Tensor)"""
    return call_many("ops.unique", 3, self)


@lowers("aten.unique_dim")
def unique_dim(
    self: Value,
    dim: int,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
) -> tuple[Value, ...]:
    """unique_dim(Tensor self, int dim, bool sorted=True, bool return_inverse=False,
    bool return_counts=False) -> (Tensor, Tensor, Tensor)"""
    return call_many("ops.unique_dim", 3, self, dim)


@lowers("aten.unique_consecutive")
def unique_consecutive(
    self: Value, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> tuple[Value, ...]:
    """unique_consecutive(Tensor self, bool return_inverse=False, bool return_counts=False,
    int? dim=None) -> (Tensor, Tensor, Tensor)"""
    return call_many("ops.unique_consecutive", 3, self, dim)


@lowers("aten.searchsorted")
def searchsorted(
    sorted_sequence: Value,
    self: Any,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Value | None = None,
) -> Value:
    """searchsorted.Tensor(Tensor sorted_sequence, Tensor self, *, bool out_int32=False,
    bool right=False, str? side=None, Tensor? sorter=None) -> Tensor"""
    values = as_array(self, str(sorted_sequence.dtype)) if not is_array(self) else self
    after = right or side == "right"
    return call("ops.searchsorted", sorted_sequence, values, after, sorter, out_int32)


@lowers("aten.bucketize")
def bucketize(self: Any, boundaries: Value, out_int32: bool = False, right: bool = False) -> Value:
    """bucketize.Tensor(Tensor self, Tensor boundaries, *, bool out_int32=False,
    bool right=False) -> Tensor"""
    values = as_array(self, str(boundaries.dtype)) if not is_array(self) else self
    return call("ops.bucketize", values, boundaries, right).astype(
        DType("int32" if out_int32 else "int64")
    )


@lowers("aten.histc")
def histc(self: Value, bins: int = 100, min: Any = 0, max: Any = 0) -> Value:
    """histc(Tensor self, int bins=100, Scalar min=0, Scalar max=0) -> Tensor"""
    return call("ops.histc", self, bins, min, max)


@lowers("aten.bincount")
def bincount(self: Value, weights: Value | None = None, minlength: Dim = 0) -> Value:
    """bincount(Tensor self, Tensor? weights=None, SymInt minlength=0) -> Tensor"""
    return call("ops.bincount", self, weights, minlength)
