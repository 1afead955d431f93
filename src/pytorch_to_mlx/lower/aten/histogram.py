"""Histograms, segments, hashes, entries of a fixed count, and strided or resized memory."""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph.build import call, call_many
from pytorch_to_mlx.graph.dims import Dim, is_static, product
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower.aten import Unsupported, lowers

Limits = tuple[float, ...] | None


@lowers("aten.histogram.bin_ct")
def histogram(
    self: Value,
    bins: int = 100,
    range: Limits = None,
    weight: Value | None = None,
    density: bool = False,
) -> tuple[Value, ...]:
    """histogram.bin_ct(Tensor self, int bins=100, *, float[]? range=None, Tensor? weight=None,
    bool density=False) -> (Tensor hist, Tensor bin_edges)"""
    return call_many("ops.histogram", 2, self, bins, range, weight, density)


@lowers("aten.histogram.bins_tensor")
def histogram_between(
    self: Value, bins: Value, weight: Value | None = None, density: bool = False
) -> tuple[Value, ...]:
    """histogram.bins_tensor(Tensor self, Tensor bins, *, Tensor? weight=None, bool density=False)
    -> (Tensor hist, Tensor bin_edges)"""
    return call_many("ops.histogram", 2, self, bins, None, weight, density)


@lowers("aten._histogramdd_bin_edges.default")
def histogramdd_edges(
    self: Value,
    bins: tuple[int, ...],
    range: Limits = None,
    weight: Value | None = None,
    density: bool = False,
) -> tuple[Value, ...]:
    """_histogramdd_bin_edges(Tensor self, int[] bins, *, float[]? range=None,
    Tensor? weight=None, bool density=False) -> Tensor[]"""
    edges = call_many("ops.histogramdd_edges", len(bins), self, bins, range)
    for edge, count in zip(edges, bins, strict=True):
        edge.shape, edge.dtype = (count + 1,), self.dtype
    return edges


@lowers("aten._histogramdd_from_bin_cts.default")
def histogramdd(
    self: Value,
    bins: tuple[int, ...],
    range: Limits = None,
    weight: Value | None = None,
    density: bool = False,
) -> Value:
    """_histogramdd_from_bin_cts(Tensor self, int[] bins, *, float[]? range=None,
    Tensor? weight=None, bool density=False) -> Tensor"""
    return call("ops.histogramdd", self, histogramdd_edges(self, bins, range), weight, density)


@lowers("aten._histogramdd_from_bin_tensors.default")
def histogramdd_between(
    self: Value, bins: tuple[Value, ...], weight: Value | None = None, density: bool = False
) -> Value:
    """_histogramdd_from_bin_tensors(Tensor self, Tensor[] bins, *, Tensor? weight=None,
    bool density=False) -> Tensor"""
    return call("ops.histogramdd", self, tuple(bins), weight, density)


@lowers("aten.segment_reduce.default")
def segment_reduce(
    data: Value,
    reduce: str,
    lengths: Value | None = None,
    indices: Value | None = None,
    offsets: Value | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: Any = None,
) -> Value:
    """segment_reduce(Tensor data, str reduce, *, Tensor? lengths=None, Tensor? indices=None,
    Tensor? offsets=None, int axis=0, bool unsafe=False, Scalar? initial=None) -> Tensor"""
    if indices is not None:
        raise Unsupported("segments by indices; give lengths or offsets")
    return call("ops.segment_reduce", data, reduce, lengths, offsets, axis, initial)


@lowers("aten.hash_tensor.default")
def hash_tensor(self: Value, dim: Any = (), keepdim: bool = False, mode: int = 0) -> Value:
    """hash_tensor(Tensor self, int[1] dim=[], *, bool keepdim=False, int mode=0) -> Tensor"""
    if mode != 0:
        raise Unsupported(f"mode {mode} of hash_tensor; only mode 0 (xor) is known")
    return call("ops.hash_tensor", self, tuple(dim), keepdim)


@lowers("aten.nonzero_static.default")
def nonzero_static(self: Value, size: Dim, fill_value: int = -1) -> Value:
    """nonzero_static(Tensor self, *, SymInt size, int fill_value=-1) -> Tensor"""
    return call("ops.nonzero_static", self, size, fill_value)


@lowers("aten.as_strided_scatter.default")
def as_strided_scatter(
    self: Value,
    src: Value,
    size: tuple[Dim, ...],
    stride: tuple[Dim, ...],
    storage_offset: Dim | None = None,
) -> Value:
    """as_strided_scatter(Tensor self, Tensor src, SymInt[] size, SymInt[] stride,
    SymInt? storage_offset=None) -> Tensor"""
    return call("ops.as_strided_scatter", self, src, size, stride, storage_offset or 0)


@lowers("aten.resize.default")
def resize(self: Value, size: tuple[Dim, ...], memory_format: Any = None) -> Value:
    """resize(Tensor self, SymInt[] size, *, MemoryFormat? memory_format=None) -> Tensor

    The first elements in row-major order; zeros where torch leaves new memory as it is.
    """
    have, want = product(self.dims), product(size)
    if not (is_static(have) and is_static(want)):
        raise Unsupported("resize to a size that is not known at conversion; use reshape or slices")
    flat = self.reshape(-1)
    if want < have:
        flat = call("getitem", flat, (slice(0, want),))
    elif want > have:
        flat = call("mx.pad", flat, (0, want - have))
    return flat.reshape(*size)
