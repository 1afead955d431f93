"""Slices, gathers and scatters."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import sympy

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dims import dims_equal, is_static, product
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.onnx import lowers
from pytorch_to_mlx.lower.onnx._common import (
    Ints,
    array,
    axes_of,
    axis_of,
    call_as,
    cast,
    fresh,
    getitem,
    ints,
)
from pytorch_to_mlx.lower.onnx._decisions import bound_sizes
from pytorch_to_mlx.lower.onnx._values import Known
from pytorch_to_mlx.ops.indexing import gather as gather_along
from pytorch_to_mlx.ops.indexing import nonzero as find_nonzero
from pytorch_to_mlx.ops.layers import embedding
from pytorch_to_mlx.ops.rearrange import (
    gather_nd,
    scatter_elements,
    scatter_nd,
    slice_at,
    tensor_scatter,
)

_END = 2**31 - 1  # exporters write "to the end" as the largest int32 or int64


@lowers("Slice", since=10)
def slice_(
    data: Any, starts: Ints, ends: Ints, axes: Ints | None = None, steps: Ints | None = None
) -> Value:
    """Slice(T data, Tind starts, Tind ends, Tind? axes, Tind? steps) -> T output"""
    table, data = isinstance(data, Known), array(data)
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    given = all(is_static(v) for v in (*axes, *steps))
    if not given or not (
        (table and _first_rows(data, starts, ends, axes, steps))
        or not _unsure(data, starts, ends, axes, steps)
    ):
        at = {int(a) % data.ndim for a in axes if is_static(a)}
        moving = not all(is_static(a) for a in axes)
        dims = tuple(fresh() if moving or i in at else d for i, d in enumerate(data.dims))
        return call_as(slice_at, [(dims, data.dtype)], data, starts, ends, axes, steps)
    key: list[Any] = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes_of(axes, data.ndim), starts, ends, steps, strict=True):
        key[axis] = _part(data.dims[axis], start, end, int(step))
    while key and key[-1] == slice(None):
        key.pop()
    return getitem(data, *key) if key else data


def _first_rows(data: Value, starts: Ints, ends: Ints, axes: Ints, steps: Ints) -> bool:
    """Whether a table is cut to a length from its start (positions, say); it is taken to be as long
    as the model asks for, and the sizes are bounded so."""
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = data.dims[int(axis) % data.ndim]
        plain = is_static(size) and is_static(start) and int(start) == 0 and int(step) == 1
        if not plain or is_static(end) or not end.is_positive:
            return False
    for axis, end in zip(axes, ends, strict=True):
        bound_sizes(sympy.Le(end, data.dims[int(axis) % data.ndim]))
    return True


def _unsure(data: Value, starts: Ints, ends: Ints, axes: Ints, steps: Ints) -> bool:
    """Whether a bound could lie outside the array, or be negative, at some sizes."""
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = data.dims[int(axis) % data.ndim]
        if is_static(size) and is_static(start) and is_static(end):
            continue
        if int(step) < 0:
            whole = is_static(start) and is_static(end) and int(start) in (-1, _END)
            if not whole or int(end) > -_END:
                return True
            continue
        if not all(_plain_bound(b, size) for b in (start, end)):
            return True
    return False


def _plain_bound(bound: Any, size: Any) -> bool:
    """A number (MLX clamps those as numpy does), or a size that is provably within."""
    if is_static(bound):
        return int(bound) >= 0 or int(bound) == -1 or is_static(size)
    if not all(s.is_positive for s in bound.free_symbols):
        return False
    rest = size - bound
    return bool(bound.is_nonnegative) and (dims_equal(size, bound) or bool(rest.is_nonnegative))


def _part(size: Any, start: Any, end: Any, step: int) -> slice:
    """A slice as one would write it."""
    if step < 0:
        first = None if is_static(start) and int(start) in (-1, _END) else start
        if is_static(size) and is_static(start) and int(start) >= int(size) - 1:
            first = None
        last = None if is_static(end) and is_static(size) and int(end) < -int(size) else end
        last = None if is_static(end) and int(end) <= -_END else last
        return slice(first, last, step)
    first = None if is_static(start) and int(start) == 0 else start
    if is_static(start) and is_static(size) and int(start) <= -int(size):
        first = None
    last = end
    beyond = is_static(end) and (int(end) >= _END or (is_static(size) and int(end) >= int(size)))
    if beyond or (not is_static(end) and dims_equal(end, size)):
        last = None
    return slice(first, last, None if step == 1 else step)


@lowers("Slice")
def slice_1(data: Value, starts: tuple[int, ...], ends: tuple[int, ...], axes: Any = None) -> Value:
    """Slice(T data, ints starts, ints ends, ints axes) -> T output"""
    return slice_(data, starts, ends, axes)


@lowers("Gather")
def gather(data: Any, indices: Any, axis: int = 0) -> Any:
    """Gather(T data, Tind indices, int axis=0) -> T output"""
    if isinstance(indices, Known) and indices.ndim == 0:
        x, at = array(data), indices.item()
        where = axis_of(axis, x.ndim)
        return getitem(x, *(slice(None),) * where, at)
    x, places = array(data), array(indices)
    if isinstance(data, Known) and data.source and data.ndim == 2 and axis_of(axis, 2) == 0:
        return call(embedding, x, places)
    return call(mx.take, x, places, axis=axis_of(axis, x.ndim))


@lowers("GatherElements")
def gather_elements(data: Value, indices: Value, axis: int = 0) -> Value:
    """GatherElements(T data, Tind indices, int axis=0) -> T output"""
    return call(gather_along, data, axis_of(axis, data.ndim), indices)


@lowers("GatherND")
def gather_nd_(data: Value, indices: Value, batch_dims: int = 0) -> Value:
    """GatherND(T data, int64 indices, int batch_dims=0) -> T output"""
    count = int(indices.dims[-1])
    dims = (*indices.dims[:-1], *data.dims[batch_dims + count :])
    extra = (batch_dims,) if batch_dims else ()
    return call_as(gather_nd, [(dims, data.dtype)], data, indices, *extra)


@lowers("ScatterND")
def scatter_nd_(data: Value, indices: Value, updates: Value, reduction: str = "none") -> Value:
    """ScatterND(T data, int64 indices, T updates, string reduction="none") -> T output"""
    extra = () if reduction == "none" else (reduction,)
    return call_as(scatter_nd, [(data.dims, data.dtype)], data, indices, updates, *extra)


@lowers("ScatterElements", "Scatter")
def scatter_elements_(
    data: Value, indices: Value, updates: Value, axis: int = 0, reduction: str = "none"
) -> Value:
    """ScatterElements(T data, Tind indices, T updates, int axis=0, string reduction) -> T output"""
    extra = (axis,) if reduction == "none" else (axis, reduction)
    return call_as(scatter_elements, [(data.dims, data.dtype)], data, indices, updates, *extra)


@lowers("TensorScatter")
def tensor_scatter_(
    past_cache: Value,
    update: Value,
    write_indices: Value | None = None,
    axis: int = -2,
    mode: str = "linear",
) -> Value:
    """TensorScatter(T past_cache, T update, int64? write_indices, string mode="linear", int
    axis=-2) -> T present_cache"""
    options: dict[str, Any] = {} if axis == -2 else {"axis": axis}
    if mode == "circular":
        options["circular"] = True
    starts = () if write_indices is None else (write_indices,)
    result = [(past_cache.dims, past_cache.dtype)]
    out: Value = call_as(tensor_scatter, result, past_cache, update, *starts, **options)
    return out


@lowers("NonZero")
def nonzero(X: Value) -> Value:
    """NonZero(T X) -> int64 Y [rank, count]"""
    x = X if X.ndim else X.reshape(1)
    found = call_as(find_nonzero, [((fresh("count"), max(X.ndim, 1)), "int64")], x)
    return cast(found.transpose(1, 0), "int64")


@lowers("Compress")
def compress(input: Value, condition: Value, axis: int | None = None) -> Value:
    """Compress(T input, B condition, int axis) -> T output"""
    x, at = (input.reshape(product(input.dims)), 0) if axis is None else (input, axis)
    places = call_as(find_nonzero, [((fresh("count"), 1), "int64")], condition)
    return call(mx.take, x, getitem(places, slice(None), 0), axis=axis_of(at, x.ndim))


@lowers("OneHot")
def one_hot(indices: Value, depth: Any, values: Value, axis: int = -1) -> Value:
    """OneHot(T1 indices, T2 depth, T3 values, int axis=-1) -> T3 output"""
    (count,) = ints(depth) if isinstance(depth, Known) else ints(cast(array(depth), "int64"))
    count = int(count) if isinstance(count, float) else count
    rank = indices.ndim + 1
    at = axis % rank
    whole = cast(indices, "int64")
    wrapped = call(mx.where, call(mx.less, whole, 0), whole + count, whole)
    steps = call(mx.arange, count, dtype=DType("int64")).reshape(count, *(1,) * (rank - 1 - at))
    chosen = call(mx.equal, call(mx.expand_dims, wrapped, at), steps)
    return call(mx.where, chosen, getitem(values, 1), getitem(values, 0))
