"""Reading and writing by index and by mask."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.dims import Dim, dims_equal
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import align, as_array, getitem, is_array, positive

_MASKS = ("bool", "uint8")


def _trimmed(indices: tuple[Value | None, ...]) -> tuple[Value | None, ...]:
    end = len(indices)
    while end and indices[end - 1] is None:
        end -= 1
    return tuple(indices[:end])


@lowers("aten.index.Tensor", "aten._unsafe_index.Tensor")
def index(self: Value, indices: tuple[Value | None, ...]) -> Value:
    """index.Tensor(Tensor self, Tensor?[] indices) -> Tensor"""
    used = _trimmed(indices)
    if any(i is not None and i.dtype in _MASKS for i in used):
        return call("ops.index", self, used)
    return getitem(self, *(slice(None) if i is None else i for i in used))


@lowers("aten.index_put", "aten._unsafe_index_put")
def index_put(
    self: Value, indices: tuple[Value | None, ...], values: Value, accumulate: bool = False
) -> Value:
    """index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor"""
    used = _trimmed(indices)
    only = used[0] if len(used) == 1 else None
    if only is not None and only.dtype == "bool" and values.ndim == 0 and not accumulate:
        return masked_fill(self, _spread(only, self.ndim), values)
    return call("ops.index_put", self, used, values, **({"accumulate": True} if accumulate else {}))


def _spread(mask: Value, rank: int) -> Value:
    """A mask over the leading axes, with an axis of size one for each of the others."""
    if mask.ndim == rank:
        return mask
    return getitem(mask, *(slice(None),) * mask.ndim, *(None,) * (rank - mask.ndim))


@lowers("aten.index_select")
def index_select(self: Value, dim: int, index: Value) -> Value:
    """index_select(Tensor self, int dim, Tensor index) -> Tensor"""
    if self.ndim == 0:
        return self
    return call(mx.take, self, index if index.ndim else index.reshape(1), axis=dim)


@lowers("aten.gather")
def gather(self: Value, dim: int, index: Value, sparse_grad: bool = False) -> Value:
    """gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor"""
    axis = positive(dim, self.ndim)
    fits = self.ndim == index.ndim > 0 and all(
        i == axis or dims_equal(a, b)
        for i, (a, b) in enumerate(zip(self.dims, index.dims, strict=True))
    )
    if fits:
        return call(mx.take_along_axis, self, index, axis=dim)
    return call("ops.gather", self, dim, index)


@lowers("aten.take_along_dim")
def take_along_dim(self: Value, indices: Value, dim: int | None = None) -> Value:
    """take_along_dim(Tensor self, Tensor indices, int? dim=None) -> Tensor"""
    return call("ops.take_along_dim", self, indices, **({} if dim is None else {"axis": dim}))


@lowers("aten.take")
def take(self: Value, index: Value) -> Value:
    """take(Tensor self, Tensor index) -> Tensor"""
    return call(mx.take, self, index)


# -- masks ---------------------------------------------------------------------------------------


@lowers("aten.where.self", "aten.where.ScalarSelf", "aten.where.ScalarOther", "aten.where.Scalar")
def where(condition: Value, self: Any, other: Any) -> Value:
    """where.self(Tensor condition, Tensor self, Tensor other) -> Tensor"""
    a, b = align(self, other)
    mask = condition if condition.dtype == "bool" else condition.astype(DType("bool"))
    return call(mx.where, mask, a, b)


@lowers("aten.masked_fill")
def masked_fill(self: Value, mask: Value, value: Any) -> Value:
    """masked_fill.Scalar(Tensor self, Tensor mask, Scalar value) -> Tensor"""
    dtype = DType(str(self.dtype))
    if is_array(value):
        value = value.astype(dtype)
    elif dtype.is_integer and type(value) in (float, bool):
        value = int(value)
    elif dtype == "bool" and type(value) is not bool:
        value = bool(value)
    return call(mx.where, mask, value, self)


@lowers("aten.masked_scatter")
def masked_scatter(self: Value, mask: Value, source: Value) -> Value:
    """masked_scatter(Tensor self, Tensor mask, Tensor source) -> Tensor"""
    return call("ops.masked_scatter", self, mask, source)


@lowers("aten.masked_select")
def masked_select(self: Value, mask: Value) -> Value:
    """masked_select(Tensor self, Tensor mask) -> Tensor"""
    return call("ops.masked_select", self, mask)


@lowers("aten.nonzero.default", "aten.argwhere")
def nonzero(self: Value) -> Value:
    """nonzero(Tensor self) -> Tensor"""
    return call("ops.nonzero", self)


@lowers("aten.nonzero_numpy")
def nonzero_numpy(self: Value) -> tuple[Value, ...]:
    """nonzero_numpy(Tensor self) -> Tensor[]"""
    x = self if self.ndim else self.reshape(1)
    found = call("ops.nonzero", x)
    found.shape = found.shape or (0, x.ndim)
    return tuple(getitem(found, slice(None), i) for i in range(x.ndim))


@lowers("aten.isin.Tensor_Tensor", "aten.isin.Tensor_Scalar", "aten.isin.Scalar_Tensor")
def isin(
    elements: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False
) -> Value:
    """isin.Tensor_Tensor(Tensor elements, Tensor test_elements, *, bool assume_unique=False,
    ...) -> Tensor"""
    a, b = align(elements, test_elements)
    return call("ops.isin", as_array(a), as_array(b), **({"invert": True} if invert else {}))


# -- writes --------------------------------------------------------------------------------------


@lowers("aten.slice_scatter")
def slice_scatter(
    self: Value,
    src: Value,
    dim: int = 0,
    start: Dim | None = None,
    end: Dim | None = None,
    step: Dim = 1,
) -> Value:
    """slice_scatter(Tensor self, Tensor src, int dim=0, SymInt? start=None, SymInt? end=None,
    SymInt step=1) -> Tensor"""
    if step == 1 and dims_equal(self.dims[dim], src.dims[dim]):
        return src.astype(DType(str(self.dtype)))
    stop = None if isinstance(end, int) and end >= 2**62 else end
    return call("ops.slice_scatter", self, _one_number(src), dim, start, stop, step)


@lowers("aten.select_scatter")
def select_scatter(self: Value, src: Value, dim: int, index: Dim) -> Value:
    """select_scatter(Tensor self, Tensor src, int dim, SymInt index) -> Tensor"""
    return call("ops.select_scatter", self, _one_number(src), dim, index)


def _one_number(src: Value) -> Any:
    """What is written everywhere alike: the number (or the 0-D array) that was spread for it."""
    made = src.node
    if made is None or made.target != "mx.broadcast_to" or made.args[0].ndim:
        return src
    value: Value = made.args[0]
    constant = value.node is not None and value.node.target == "mx.array"
    number = value.node.args[0] if constant and value.node is not None else None
    return number if isinstance(number, (bool, int, float)) else value


@lowers("aten.diagonal_scatter")
def diagonal_scatter(
    self: Value, src: Value, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Value:
    """diagonal_scatter(Tensor self, Tensor src, int offset=0, int dim1=0, int dim2=1) -> Tensor"""
    return call("ops.diagonal_scatter", self, src, offset, dim1, dim2)


@lowers("aten.scatter.src")
def scatter_src(self: Value, dim: int, index: Value, src: Value) -> Value:
    """scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor"""
    return call("ops.scatter", self, dim, index, src)


@lowers("aten.scatter.value")
def scatter_value(self: Value, dim: int, index: Value, value: Any) -> Value:
    """scatter.value(Tensor self, int dim, Tensor index, Scalar value) -> Tensor"""
    return call("ops.scatter", self, dim, index, value)


@lowers("aten.scatter.reduce", "aten.scatter.value_reduce")
def scatter_with(self: Value, dim: int, index: Value, src: Any, reduce: str) -> Value:
    """scatter.reduce(Tensor self, int dim, Tensor index, Tensor src, *, str reduce) -> Tensor"""
    return call("ops.scatter", self, dim, index, src, reduce)


@lowers("aten.scatter_add")
def scatter_add(self: Value, dim: int, index: Value, src: Value) -> Value:
    """scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor"""
    return call("ops.scatter_add", self, dim, index, src)


@lowers("aten.scatter_reduce.two")
def scatter_reduce(
    self: Value, dim: int, index: Value, src: Value, reduce: str, include_self: bool = True
) -> Value:
    """scatter_reduce.two(Tensor self, int dim, Tensor index, Tensor src, str reduce, *,
    bool include_self=True) -> Tensor"""
    return call("ops.scatter_reduce", self, dim, index, src, reduce, include_self)


@lowers("aten.index_add")
def index_add(self: Value, dim: int, index: Value, source: Value, alpha: Any = 1) -> Value:
    """index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor"""
    scale = {} if alpha == 1 else {"alpha": align(source, alpha)[1]}
    return call("ops.index_add", self, dim, index, source, **scale)


@lowers("aten.index_copy")
def index_copy(self: Value, dim: int, index: Value, source: Value) -> Value:
    """index_copy(Tensor self, int dim, Tensor index, Tensor source) -> Tensor"""
    return call("ops.index_copy", self, dim, index, source)


@lowers("aten.index_fill")
def index_fill(self: Value, dim: int, index: Value, value: Any) -> Value:
    """index_fill.int_Scalar(Tensor self, int dim, Tensor index, Scalar value) -> Tensor"""
    return call("ops.index_fill", self, dim, index, value)


@lowers("aten.index_reduce")
def index_reduce(
    self: Value, dim: int, index: Value, source: Value, reduce: str, include_self: bool = True
) -> Value:
    """index_reduce(Tensor self, int dim, Tensor index, Tensor source, str reduce, *,
    bool include_self=True) -> Tensor"""
    return call("ops.index_reduce", self, dim, index, source, reduce, include_self)


@lowers("aten.put")
def put(self: Value, index: Value, source: Value, accumulate: bool = False) -> Value:
    """put(Tensor self, Tensor index, Tensor source, bool accumulate=False) -> Tensor"""
    return call("ops.put", self, index, source, accumulate)
