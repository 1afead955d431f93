"""Views, joins and splits."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.dims import (
    Dim,
    is_static,
)
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import getitem, positive, same_shape


@lowers(
    "aten.alias",
    "aten.alias_copy",
    "aten.clone",
    "aten.contiguous",
    "aten.detach",
    "aten.detach_copy",
    "aten.lift",
    "aten.lift_fresh",
    "aten.lift_fresh_copy",
    "aten.resolve_conj",
    "aten.resolve_neg",
)
def identity(self: Value, memory_format: Any = None) -> Value:
    """clone(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor"""
    return self


@lowers("aten._to_copy", "aten.to.dtype_layout")
def to_copy(self: Value, dtype: DType | None = None, copy: bool = False) -> Value:
    """_to_copy(Tensor self, *, ScalarType? dtype=None, ...) -> Tensor"""
    return self if dtype is None else self.astype(dtype)


@lowers("aten.to.dtype")
def to_dtype(
    self: Value,
    dtype: DType,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> Value:
    """to.dtype(Tensor(a) self, ScalarType dtype, bool non_blocking=False, ...) -> Tensor(a)"""
    return self.astype(dtype)


@lowers("aten.to.device")
def to_device(
    self: Value,
    device: Any,
    dtype: DType,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> Value:
    """to.device(Tensor(a) self, Device device, ScalarType dtype, ...) -> Tensor(a)"""
    return self.astype(dtype)


@lowers("aten.type_as", "aten.to.other")
def type_as(self: Value, other: Value, *_: Any) -> Value:
    """type_as(Tensor self, Tensor other) -> Tensor"""
    return self.astype(DType(str(other.dtype)))


@lowers("aten.copy")
def copy(self: Value, src: Value, non_blocking: bool = False) -> Value:
    """copy(Tensor self, Tensor src, bool non_blocking=False) -> Tensor"""
    return expand(src.astype(DType(str(self.dtype))), self.dims)


# -- one array, another shape --------------------------------------------------------------------


@lowers(
    "aten.view.default",
    "aten.reshape",
    "aten._unsafe_view",
    "aten.view_copy.default",
    "aten._reshape_alias",
)
def view(self: Value, size: tuple[Dim, ...], stride: Any = None) -> Value:
    """view(Tensor(a) self, SymInt[] size) -> Tensor(a)"""
    if same_shape(self.dims, size):
        return self
    if -1 in size and 0 in self.dims:
        # MLX infers no size of an empty array.
        known = 1
        for d in size:
            known = known if d == -1 else known * d
        size = tuple(0 if d == -1 else d for d in size) if known else size
    return self.reshape(*size)


@lowers("aten._reshape_copy", "aten.view_as", "aten.reshape_as")
def view_as(self: Value, other: Any) -> Value:
    """reshape_as(Tensor(a) self, Tensor other) -> Tensor(a)"""
    return view(self, other.dims if isinstance(other, Value) else other)


@lowers("aten.view.dtype", "aten.view_copy.dtype")
def view_dtype(self: Value, dtype: DType) -> Value:
    """view.dtype(Tensor(a) self, ScalarType dtype) -> Tensor(a)"""
    return call("mx.view", self, dtype)


@lowers("aten.flatten.using_ints")
def flatten(self: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    """flatten.using_ints(Tensor(a) self, int start_dim=0, int end_dim=-1) -> Tensor(a)"""
    if self.ndim == 0:
        return self.reshape(1)
    if positive(start_dim, self.ndim) == positive(end_dim, self.ndim):
        return self
    return call(mx.flatten, self, start_dim, end_dim)


@lowers("aten.unflatten.int")
def unflatten(self: Value, dim: int, sizes: tuple[Dim, ...]) -> Value:
    """unflatten.int(Tensor(a) self, int dim, SymInt[] sizes) -> Tensor(a)"""
    return call(mx.unflatten, self, dim, sizes)


@lowers("aten.ravel")
def ravel(self: Value) -> Value:
    """ravel(Tensor(a) self) -> Tensor(a)"""
    return self if self.ndim == 1 else self.reshape(-1)


@lowers("aten.unsqueeze", "aten.unsqueeze_copy")
def unsqueeze(self: Value, dim: int) -> Value:
    """unsqueeze(Tensor(a) self, int dim) -> Tensor(a)"""
    return call(mx.expand_dims, self, dim)


@lowers("aten.squeeze.default", "aten.squeeze_copy.default")
def squeeze(self: Value) -> Value:
    """squeeze(Tensor(a) self) -> Tensor(a)"""
    return squeeze_dims(self, tuple(range(self.ndim)))


@lowers("aten.squeeze.dim", "aten.squeeze_copy.dim")
def squeeze_dim(self: Value, dim: int) -> Value:
    """squeeze.dim(Tensor(a) self, int dim) -> Tensor(a)"""
    return squeeze_dims(self, (dim,))


@lowers("aten.squeeze.dims", "aten.squeeze_copy.dims")
def squeeze_dims(self: Value, dim: tuple[int, ...]) -> Value:
    """squeeze.dims(Tensor(a) self, int[] dim) -> Tensor(a)"""
    axes = tuple(d for d in dim if self.ndim and is_static(self.dims[d]) and self.dims[d] == 1)
    if not axes:
        return self
    return call(mx.squeeze, self, axes[0] if len(axes) == 1 else axes)


@lowers("aten.permute", "aten.permute_copy")
def permute(self: Value, dims: tuple[int, ...]) -> Value:
    """permute(Tensor(a) self, int[] dims) -> Tensor(a)"""
    axes = tuple(positive(d, self.ndim) for d in dims)
    return self if axes == tuple(range(self.ndim)) else self.transpose(*axes)


@lowers("aten.transpose.int", "aten.transpose_copy.int", "aten.swapaxes", "aten.swapdims")
def transpose(self: Value, dim0: int, dim1: int) -> Value:
    """transpose.int(Tensor(a) self, int dim0, int dim1) -> Tensor(a)"""
    order = list(range(self.ndim))
    if order:
        order[dim0], order[dim1] = order[dim1], order[dim0]
    return permute(self, tuple(order))


@lowers("aten.t", "aten.t_copy", "aten.numpy_T")
def t(self: Value) -> Value:
    """t(Tensor(a) self) -> Tensor(a)"""
    return permute(self, tuple(reversed(range(self.ndim))))


@lowers("aten.mT", "aten.matrix_transpose")
def matrix_transpose(self: Value) -> Value:
    """mT(Tensor(a) self) -> Tensor(a)"""
    return transpose(self, -2, -1)


@lowers("aten.movedim.int", "aten.moveaxis.int")
def movedim(self: Value, source: int, destination: int) -> Value:
    """movedim.int(Tensor(a) self, int source, int destination) -> Tensor(a)"""
    return movedim_list(self, (source,), (destination,))


@lowers("aten.movedim.intlist", "aten.moveaxis.intlist")
def movedim_list(self: Value, source: tuple[int, ...], destination: tuple[int, ...]) -> Value:
    """movedim.intlist(Tensor(a) self, int[] source, int[] destination) -> Tensor(a)"""
    at = {
        positive(d, self.ndim): positive(s, self.ndim)
        for s, d in zip(source, destination, strict=True)
    }
    rest = iter(a for a in range(self.ndim) if a not in at.values())
    return permute(self, tuple(at[i] if i in at else next(rest) for i in range(self.ndim)))


@lowers("aten.expand", "aten.expand_copy")
def expand(self: Value, size: tuple[Dim, ...], implicit: bool = False) -> Value:
    """expand(Tensor(a) self, SymInt[] size, *, bool implicit=False) -> Tensor(a)"""
    lead = len(size) - self.ndim
    full = tuple(self.dims[i - lead] if s == -1 else s for i, s in enumerate(size))
    return self if same_shape(self.dims, full) else call(mx.broadcast_to, self, full)


@lowers("aten.expand_as", "aten.broadcast_to")
def expand_as(self: Value, other: Any) -> Value:
    """expand_as(Tensor(a) self, Tensor other) -> Tensor(a)"""
    return expand(self, other.dims if isinstance(other, Value) else other)


@lowers("aten.broadcast_tensors")
def broadcast_tensors(tensors: tuple[Value, ...]) -> tuple[Value, ...]:
    """broadcast_tensors(Tensor[] tensors) -> Tensor[]"""
    from pytorch_to_mlx.graph.rules import broadcast

    shape = broadcast(*(t.dims for t in tensors))
    return tuple(expand(t, shape) for t in tensors)


@lowers("aten.as_strided", "aten.as_strided_copy")
def as_strided(
    self: Value, size: tuple[Dim, ...], stride: tuple[Dim, ...], storage_offset: Dim | None = None
) -> Value:
    """as_strided(Tensor(a) self, SymInt[] size, SymInt[] stride, SymInt? storage_offset=None)
    -> Tensor(a)"""
    return call("mx.as_strided", self, size, stride, storage_offset or 0)


# -- slices --------------------------------------------------------------------------------------


@lowers("aten.repeat")
def repeat(self: Value, repeats: tuple[Dim, ...]) -> Value:
    """repeat(Tensor self, SymInt[] repeats) -> Tensor"""
    if all(r == 1 for r in repeats) and len(repeats) == self.ndim:
        return self
    return call(mx.tile, self, repeats)


@lowers("aten.tile")
def tile(self: Value, dims: tuple[Dim, ...]) -> Value:
    """tile(Tensor self, SymInt[] dims) -> Tensor"""
    return repeat(self, (1,) * (self.ndim - len(dims)) + tuple(dims))


@lowers("aten.repeat_interleave.self_int")
def repeat_interleave(
    self: Value, repeats: Dim, dim: int | None = None, output_size: Any = None
) -> Value:
    """repeat_interleave.self_int(Tensor self, SymInt repeats, int? dim=None, *,
    SymInt? output_size=None) -> Tensor"""
    return call(mx.repeat, self, repeats, **({} if dim is None else {"axis": dim}))


@lowers("aten.roll")
def roll(self: Value, shifts: tuple[Dim, ...], dims: tuple[int, ...] = ()) -> Value:
    """roll(Tensor self, SymInt[1] shifts, int[1] dims=[]) -> Tensor"""
    if not dims:
        return call(mx.roll, self, shifts[0])
    single = len(dims) == 1
    return call(mx.roll, self, shifts[0] if single else shifts, dims[0] if single else dims)


@lowers("aten.flip")
def flip(self: Value, dims: tuple[int, ...]) -> Value:
    """flip(Tensor self, int[] dims) -> Tensor"""
    axes = {positive(d, self.ndim) for d in dims}
    if not axes or self.ndim == 0:
        return self
    if axes == {self.ndim - 1} and self.ndim > 2:
        return getitem(self, Ellipsis, slice(None, None, -1))
    return getitem(
        self, *(slice(None, None, -1 if i in axes else None) for i in range(max(axes) + 1))
    )


@lowers("aten.fliplr")
def fliplr(self: Value) -> Value:
    """fliplr(Tensor self) -> Tensor"""
    return flip(self, (1,))


@lowers("aten.flipud")
def flipud(self: Value) -> Value:
    """flipud(Tensor self) -> Tensor"""
    return flip(self, (0,))
