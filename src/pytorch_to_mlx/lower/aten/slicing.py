"""Lowerings of slices, parts and joins."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.dims import (
    Dim,
    FloorDiv,
    as_dim,
    dims_equal,
    evaluate,
    free_symbols,
    is_static,
)
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower.aten import Unsupported, lowers
from pytorch_to_mlx.lower.aten._common import align, getitem, key

_END = 2**62  # torch writes "to the end" as the largest int64


def _bound(value: Any, size: Dim, default: Dim) -> Any:
    """A slice bound as one would write it: ``None`` where it changes nothing."""
    if value is None or dims_equal(value, default):
        return None
    if is_static(value):
        v = int(value)
        if v >= _END or (default != 0 and is_static(size) and v >= int(size)):
            return None
        if v < 0 and is_static(size) and -v >= int(size):
            return None if default == 0 else 0
        return v
    return value


@lowers("aten.slice.Tensor", "aten.slice_copy.Tensor")
def slice_(self: Value, dim: int = 0, start: Any = None, end: Any = None, step: Any = 1) -> Value:
    """slice.Tensor(Tensor(a) self, int dim=0, SymInt? start=None, SymInt? end=None,
    SymInt step=1) -> Tensor(a)"""
    size = self.dims[dim]
    part = slice(_bound(start, size, 0), _bound(end, size, size), None if step == 1 else step)
    if part == slice(None):
        return self
    return getitem(self, *key(self.ndim, dim, part))


@lowers("aten.narrow.default", "aten.narrow_copy")
def narrow(self: Value, dim: int, start: Any, length: Any) -> Value:
    """narrow(Tensor(a) self, int dim, SymInt start, SymInt length) -> Tensor(a)"""
    if is_static(start) and int(start) < 0:
        start = as_dim(self.dims[dim] + start)
    return slice_(self, dim, start, as_dim(start + length))


@lowers("aten.select.int", "aten.select_copy.int")
def select(self: Value, dim: int, index: Any) -> Value:
    """select.int(Tensor(a) self, int dim, SymInt index) -> Tensor(a)"""
    return getitem(self, *key(self.ndim, dim, index))


@lowers("aten.unbind.int", "aten.unbind_copy.int")
def unbind(self: Value, dim: int = 0) -> tuple[Value, ...]:
    """unbind.int(Tensor(a -> *) self, int dim=0) -> Tensor(a)[]"""
    size = self.dims[dim]
    if not is_static(size):
        raise Unsupported("unbind of a dynamic dimension; export with that dimension static")
    return tuple(select(self, dim, i) for i in range(int(size)))


def _split_at(x: Value, edges: list[Dim], axis: int) -> tuple[Value, ...]:
    """Parts between increasing edges (without 0 and the size)."""
    if not edges:
        return (x,)
    parts = call(mx.split, x, tuple(edges), axis=axis)
    return parts if isinstance(parts, tuple) else (parts,)


def _part_count(size: Dim, part: Dim) -> int:
    """How many parts of a size there are; the same at every size,
    or torch would not have traced it."""
    if is_static(size) and is_static(part):
        return max(1, -(-int(size) // int(part))) if part else 1
    symbols = sorted(free_symbols((size, part)), key=str)
    counts = {
        -(-evaluate(size, at) // evaluate(part, at))
        for at in ({s: base + 16 * i for i, s in enumerate(symbols)} for base in (24, 120, 360))
    }
    if len(counts) != 1:
        raise Unsupported("the number of parts of a split depends on a dynamic dimension")
    return int(counts.pop())


@lowers("aten.split.Tensor", "aten.split_copy.Tensor", "aten.unsafe_split.Tensor")
def split(self: Value, split_size: Dim, dim: int = 0) -> tuple[Value, ...]:
    """split.Tensor(Tensor(a -> *) self, SymInt split_size, int dim=0) -> Tensor(a)[]"""
    size = self.dims[dim]
    n = _part_count(size, split_size)
    if n == 1:
        return (self,)
    if dims_equal(as_dim(split_size * n), size):
        return call(mx.split, self, n, axis=dim)
    return _split_at(self, [as_dim(split_size * i) for i in range(1, n)], dim)


@lowers(
    "aten.split_with_sizes",
    "aten.split_with_sizes_copy",
    "aten.unsafe_split_with_sizes",
    "aten.split.sizes",
)
def split_with_sizes(self: Value, split_sizes: tuple[Dim, ...], dim: int = 0) -> tuple[Value, ...]:
    """split_with_sizes(Tensor(a -> *) self, SymInt[] split_sizes, int dim=0) -> Tensor(a)[]"""
    first = split_sizes[0]
    if len(split_sizes) > 1 and all(dims_equal(s, first) for s in split_sizes):
        return call(mx.split, self, len(split_sizes), axis=dim)
    edges: list[Dim] = []
    for s in split_sizes[:-1]:
        edges.append(as_dim((edges[-1] if edges else 0) + s))
    return _split_at(self, edges, dim)


@lowers("aten.chunk", "aten.unsafe_chunk")
def chunk(self: Value, chunks: int, dim: int = 0) -> tuple[Value, ...]:
    """chunk(Tensor(a -> *) self, int chunks, int dim=0) -> Tensor(a)[]"""
    size = self.dims[dim]
    part = -(-size // chunks) if isinstance(size, int) else as_dim(-FloorDiv(-size, chunks))
    return split(self, part, dim)


@lowers("aten.tensor_split.sections")
def tensor_split(self: Value, sections: int, dim: int = 0) -> tuple[Value, ...]:
    """tensor_split.sections(Tensor(a -> *) self, SymInt sections, int dim=0) -> Tensor(a)[]"""
    size = self.dims[dim]
    if not isinstance(size, int):
        raise Unsupported("tensor_split of a dynamic dimension")
    base, extra = divmod(size, sections)
    return split_with_sizes(self, tuple(base + (i < extra) for i in range(sections)), dim)


@lowers("aten.tensor_split.indices")
def tensor_split_indices(self: Value, indices: tuple[Dim, ...], dim: int = 0) -> tuple[Value, ...]:
    """tensor_split.indices(Tensor(a -> *) self, SymInt[] indices, int dim=0) -> Tensor(a)[]"""
    edges = [0, *indices, None]
    return tuple(slice_(self, dim, a, b) for a, b in pairwise(edges))


# -- joins ---------------------------------------------------------------------------------------


@lowers("aten.cat", "aten.concat", "aten.concatenate")
def cat(tensors: tuple[Value, ...], dim: int = 0) -> Value:
    """cat(Tensor[] tensors, int dim=0) -> Tensor"""
    # torch lets a 1-D empty tensor join arrays of any rank.
    kept = tuple(t for t in tensors if t.dims != (0,)) or tensors[:1]
    if len(kept) == 1:
        return align(*tensors)[tensors.index(kept[0])]
    dtype = align(*tensors)[tensors.index(kept[0])].dtype if len(kept) < len(tensors) else None
    return call(mx.concatenate, align(*kept, dtype=dtype), axis=dim)


@lowers("aten.stack")
def stack(tensors: tuple[Value, ...], dim: int = 0) -> Value:
    """stack(Tensor[] tensors, int dim=0) -> Tensor"""
    return call(mx.stack, align(*tensors), axis=dim)
