"""Writes at computed places, as new arrays: scatter, index_put, index_add and their kin."""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.ops.indexing import expand_mask_indices


def axis_key(indices: mx.array, axis: int) -> tuple[mx.array, ...]:
    """Index arrays that address element (i, .., indices[i, .., j], .., k), axis by axis."""
    ndim = indices.ndim
    key = []
    for i, size in enumerate(indices.shape):
        place = mx.arange(size).reshape((1,) * i + (size,) + (1,) * (ndim - 1 - i))
        key.append(indices if i == axis else place)
    return tuple(key)


def row_key(indices: mx.array, axis: int) -> tuple[slice | mx.array, ...]:
    """Index of whole rows: everything on the axes before ``axis``, ``indices`` on it."""
    return (*((slice(None),) * axis), indices.reshape(-1))


def write_at(x: mx.array, key: tuple[slice | mx.array, ...], values: mx.array | float) -> mx.array:
    """A copy of ``x`` with ``values`` (broadcast) written at ``key``."""
    out = mx.array(x)
    out[key] = values.astype(x.dtype) if isinstance(values, mx.array) else values
    return out


def reduce_at(
    x: mx.array, key: tuple[slice | mx.array, ...], src: mx.array, reduce: str, include_self: bool
) -> mx.array:
    """Combine the ``src`` elements that share a place of ``x``.

    ``reduce`` is "sum", "prod", "mean", "amax" or "amin"; untouched places keep their value, and
    without ``include_self`` the touched ones forget theirs. NaN wins in amax and amin.
    """
    if src.size == 0:
        return x
    if x.dtype in (mx.float16, mx.bfloat16) and reduce in ("sum", "mean", "prod"):
        # A running sum in half precision stops growing; torch keeps it in float32.
        wide = x.astype(mx.float32), key, src.astype(mx.float32), reduce, include_self
        return reduce_at(*wide).astype(x.dtype)
    touched = mx.zeros(x.shape, dtype=mx.int32).at[key].add(mx.ones(src.shape, dtype=mx.int32))
    start = x
    if not include_self and reduce in ("sum", "mean", "prod"):
        start = mx.where(touched > 0, mx.array(1 if reduce == "prod" else 0, dtype=x.dtype), x)
    if reduce == "sum":
        return start.at[key].add(src)
    if reduce == "prod":
        return start.at[key].multiply(src)
    if reduce == "mean":
        count = mx.maximum(touched + (1 if include_self else 0), 1)
        total = start.at[key].add(src)
        if mx.issubdtype(x.dtype, mx.inexact):
            return mx.where(touched > 0, total / count.astype(x.dtype), x)
        return mx.where(touched > 0, total // count.astype(x.dtype), x)
    return extreme_at(x, key, src, reduce == "amax", include_self, touched)


def extreme_at(
    x: mx.array,
    key: tuple[slice | mx.array, ...],
    src: mx.array,
    largest: bool,
    include_self: bool,
    touched: mx.array,
) -> mx.array:
    """Largest (or smallest) of the ``src`` elements that share a place of ``x``; NaN wins."""
    if x.dtype == mx.bool_:
        whole = extreme_at(
            x.astype(mx.int32), key, src.astype(mx.int32), largest, include_self, touched
        )
        return whole.astype(mx.bool_)
    start = x
    floating = mx.issubdtype(x.dtype, mx.floating)
    if not include_self:
        # Any element of src is a neutral start: begin with whichever was written last.
        start = write_at(x, key, src)
    out = start.at[key].maximum(src) if largest else start.at[key].minimum(src)
    if floating:
        nans = mx.zeros(x.shape, dtype=mx.int32).at[key].add(mx.isnan(src).astype(mx.int32)) > 0
        if include_self:
            nans = nans | (mx.isnan(x) & (touched > 0))
        out = mx.where(nans, mx.array(mx.nan, dtype=x.dtype), out)
    return out


def index_put(
    x: mx.array,
    indices: tuple[mx.array | None, ...],
    values: mx.array,
    accumulate: bool = False,
) -> mx.array:
    """``x[indices] = values`` (or ``+=``) as a new array: ``torch.index_put``.

    ``indices`` as in ``index`` (integer or bool arrays, ``None`` for a whole axis); ``values``
    broadcast to what they address. Bool masks are evaluated, unless one mask takes one value.
    """
    values = values.astype(x.dtype)
    if len(indices) == 1 and values.size == 1 and not accumulate:
        mask = indices[0]
        if mask is not None and mask.dtype == mx.bool_:
            mask = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
            return mx.where(mask, values.reshape(()), x)
    shape = x.shape
    x, indices = expand_mask_indices(x, indices)
    if any(item is not None and item.size == 0 for item in indices):
        return x.reshape(shape)
    key = tuple(slice(None) if item is None else item for item in indices)
    out = x.at[key].add(values) if accumulate else write_at(x, key, values)
    return out.reshape(shape)


def index_add(
    x: mx.array, axis: int, indices: mx.array, source: mx.array, alpha: float = 1
) -> mx.array:
    """``torch.index_add``: add ``alpha * source`` to the rows ``indices`` of ``axis``."""
    if x.ndim == 0:
        return index_add(x.reshape(1), 0, indices, source.reshape(-1), alpha).reshape(())
    if indices.size == 0 or x.size == 0:
        return x
    if alpha != 1:
        source = source * alpha
    return x.at[row_key(indices, axis % x.ndim)].add(source.astype(x.dtype))


def index_copy(x: mx.array, axis: int, indices: mx.array, source: mx.array) -> mx.array:
    """``torch.index_copy``: replace the rows ``indices`` of ``axis`` by those of ``source``."""
    if x.ndim == 0:
        return index_copy(x.reshape(1), 0, indices, source.reshape(-1)).reshape(())
    if indices.size == 0 or x.size == 0:
        return x
    return write_at(x, row_key(indices, axis % x.ndim), source)


def index_fill(x: mx.array, axis: int, indices: mx.array, value: mx.array | float) -> mx.array:
    """``torch.index_fill``: set the rows ``indices`` of ``axis`` to ``value``."""
    if x.ndim == 0:
        return index_fill(x.reshape(1), 0, indices, value).reshape(())
    if indices.size == 0 or x.size == 0:
        return x
    return write_at(x, row_key(indices, axis % x.ndim), value)


def index_reduce(
    x: mx.array,
    axis: int,
    indices: mx.array,
    source: mx.array,
    reduce: str,
    include_self: bool = True,
) -> mx.array:
    """``torch.index_reduce``: combine rows of ``source`` by "prod", "mean", "amax" or "amin"."""
    if indices.size == 0 or x.size == 0:
        return x
    if x.ndim == 0:
        rows = source.reshape(-1)
        return index_reduce(x[None], 0, indices, rows, reduce, include_self)[0]
    key = row_key(indices, axis % x.ndim)
    return reduce_at(x, key, source.astype(x.dtype), reduce, include_self)


def scatter_part(
    x: mx.array, axis: int, indices: mx.array, src: mx.array | float
) -> tuple[mx.array, tuple[mx.array, ...], mx.array]:
    """The operands of a scatter as arrays of equal rank: target, places, and what goes there."""
    target, indices = (x, indices) if x.ndim else (x.reshape(1), indices.reshape(-1))
    if not isinstance(src, mx.array):
        values = mx.full(indices.shape, src, dtype=x.dtype)
    else:
        src = src if x.ndim else src.reshape(-1)
        values = src[tuple(slice(0, size) for size in indices.shape)].astype(x.dtype)
    return target, axis_key(indices, axis % target.ndim), values


def scatter(
    x: mx.array,
    axis: int,
    indices: mx.array,
    src: mx.array | float,
    reduce: str | None = None,
) -> mx.array:
    """``torch.scatter``: write ``src`` (array or number) at ``indices`` along ``axis``.

    ``indices`` may be smaller than ``x`` and ``src``; ``reduce`` is ``None``, "add" or "multiply".
    """
    if indices.size == 0:
        return x
    target, key, values = scatter_part(x, axis, indices, src)
    if reduce is None:
        out = write_at(target, key, values)
    else:
        # A running sum in half precision stops growing; torch keeps it in float32.
        half = x.dtype in (mx.float16, mx.bfloat16)
        wide, more = (v.astype(mx.float32) if half else v for v in (target, values))
        place = wide.at[key]
        out = (place.add(more) if reduce == "add" else place.multiply(more)).astype(x.dtype)
    return out.reshape(x.shape)


def scatter_add(x: mx.array, axis: int, indices: mx.array, src: mx.array) -> mx.array:
    """``torch.scatter_add``: add ``src`` at ``indices`` along ``axis``."""
    return scatter(x, axis, indices, src, "add")


def scatter_reduce(
    x: mx.array,
    axis: int,
    indices: mx.array,
    src: mx.array,
    reduce: str,
    include_self: bool = True,
) -> mx.array:
    """``torch.scatter_reduce``: "sum", "prod", "mean", "amax" or "amin" of what meets."""
    if indices.size == 0:
        return x
    target, key, values = scatter_part(x, axis, indices, src)
    return reduce_at(target, key, values, reduce, include_self).reshape(x.shape)


def slice_scatter(
    x: mx.array,
    src: mx.array | float,
    axis: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> mx.array:
    """``x`` with ``x[start:end:step]`` along ``axis`` replaced by ``src`` (bounds clamped), an
    array of that shape or one number.
    """
    axis = axis % x.ndim
    begin, stop, _ = slice(start, end).indices(x.shape[axis])
    if begin >= stop or (isinstance(src, mx.array) and src.size == 0):
        return x
    return write_at(x, (*((slice(None),) * axis), slice(begin, stop, step)), src)


def select_scatter(x: mx.array, src: mx.array | float, axis: int, position: int) -> mx.array:
    """``x`` with its slice ``position`` of ``axis`` replaced by ``src`` (an array or a number)."""
    axis = axis % x.ndim
    position = position % x.shape[axis]
    key = (*((slice(None),) * axis), slice(position, position + 1))
    if isinstance(src, mx.array) and src.ndim:
        return write_at(x, key, mx.expand_dims(src, axis)) if src.size else x
    return write_at(x, key, src)


def diagonal_scatter(
    x: mx.array, src: mx.array, offset: int = 0, axis1: int = 0, axis2: int = 1
) -> mx.array:
    """``x`` with the diagonal of the axes ``axis1``, ``axis2`` replaced by ``src`` [..., n]."""
    first, second = axis1 % x.ndim, axis2 % x.ndim
    order = [i for i in range(x.ndim) if i not in (first, second)] + [first, second]
    moved = x.transpose(order)
    if src.size == 0:
        return x
    steps = mx.arange(src.shape[-1])
    rows, columns = steps + max(-offset, 0), steps + max(offset, 0)
    out = write_at(moved, (*((slice(None),) * (x.ndim - 2)), rows, columns), src)
    return out.transpose([order.index(i) for i in range(x.ndim)])


def put(x: mx.array, indices: mx.array, source: mx.array, accumulate: bool = False) -> mx.array:
    """``torch.Tensor.put``: write (or add) ``source`` at places of the flattened ``x``."""
    if indices.size == 0:
        return x
    flat, places = x.reshape(-1), indices.reshape(-1)
    values = source.reshape(-1).astype(x.dtype)
    out = flat.at[places].add(values) if accumulate else write_at(flat, (places,), values)
    return out.reshape(x.shape)


def as_strided_scatter(
    x: mx.array, src: mx.array, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0
) -> mx.array:
    """``torch.as_strided_scatter``: a copy of ``x`` with ``src`` where a strided view would be."""
    place = mx.array(offset)
    for length, step in zip(size, stride, strict=True):
        place = mx.expand_dims(place, -1) + mx.arange(length) * step
    flat = mx.array(x.reshape(-1))
    flat[place.reshape(-1)] = mx.broadcast_to(src, size).reshape(-1).astype(x.dtype)
    return flat.reshape(x.shape)
