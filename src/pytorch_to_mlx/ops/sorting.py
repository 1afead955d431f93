"""Sorting, order statistics and unique, with torch's indices and NaN rules."""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.ops.elementwise import lerp


def sort(
    x: mx.array, axis: int = -1, descending: bool = False, stable: bool = True
) -> tuple[mx.array, mx.array]:
    """``torch.sort``: values and int64 indices; NaN is the largest; always stable."""
    indices = argsort(x, axis, descending, stable)
    if x.ndim == 0:
        return x, indices
    return mx.take_along_axis(x, indices, axis=axis), indices


def argsort(x: mx.array, axis: int = -1, descending: bool = False, stable: bool = True) -> mx.array:
    """``torch.argsort``: int64; NaN is the largest; always stable."""
    if x.ndim == 0:
        return mx.array(0, dtype=mx.int64)
    if x.dtype == mx.bool_:
        x = x.astype(mx.uint8)
    if not descending:
        return mx.argsort(x, axis=axis).astype(mx.int64)
    # Sorting the mirrored array and mirroring back keeps equal elements in their order.
    last = x.shape[axis] - 1
    order = mx.argsort(reverse_axis(x, axis), axis=axis)
    return last - reverse_axis(order, axis).astype(mx.int64)


def reverse_axis(x: mx.array, axis: int) -> mx.array:
    """``x`` read backwards along ``axis``."""
    return x[(slice(None),) * (axis % x.ndim) + (slice(None, None, -1),)]


def first_along(x: mx.array, count: int, axis: int) -> mx.array:
    """The first ``count`` elements along ``axis``."""
    return x[(slice(None),) * (axis % x.ndim) + (slice(0, count),)]


def msort(x: mx.array) -> mx.array:
    """``torch.msort``: sorted along the first axis."""
    return sort(x, 0)[0]


def topk(
    x: mx.array, k: int, axis: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[mx.array, mx.array]:
    """``torch.topk``: the ``k`` largest (or smallest) and their int64 indices, best first."""
    if x.ndim == 0:
        return x, mx.array(0, dtype=mx.int64)
    indices = first_along(argsort(x, axis, descending=largest), k, axis)
    return mx.take_along_axis(x, indices, axis=axis), indices


def kthvalue(
    x: mx.array, k: int, axis: int = -1, keepdims: bool = False
) -> tuple[mx.array, mx.array]:
    """``torch.kthvalue``: the ``k``-th smallest (from 1) and its int64 index."""
    if x.ndim == 0:
        return x, mx.array(0, dtype=mx.int64)
    leading = (slice(None),) * (axis % x.ndim)
    indices = argsort(x, axis)[leading + (slice(k - 1, k),)]
    values = mx.take_along_axis(x, indices, axis=axis)
    if keepdims:
        return values, indices
    return mx.squeeze(values, axis), mx.squeeze(indices, axis)


def median_of_all(x: mx.array) -> mx.array:
    """``torch.median`` of all elements: the lower of the two middle ones; NaN if there is one."""
    return median_with_indices(x.reshape(-1), 0)[0]


def nanmedian_of_all(x: mx.array) -> mx.array:
    """``torch.nanmedian`` of all elements: NaN does not count."""
    return nanmedian_with_indices(x.reshape(-1), 0)[0]


def median_with_indices(
    x: mx.array, axis: int = -1, keepdims: bool = False
) -> tuple[mx.array, mx.array]:
    """``torch.median(x, dim)``: lower median and an int64 index of it; a NaN wins."""
    values, indices = nanmedian_with_indices(x, axis, keepdims=True)
    if mx.issubdtype(x.dtype, mx.floating) and x.ndim:
        nans = mx.isnan(x)
        found = mx.any(nans, axis=axis, keepdims=True)
        first = mx.argmax(nans, axis=axis, keepdims=True).astype(mx.int64)
        values = mx.where(found, mx.array(mx.nan, dtype=x.dtype), values)
        indices = mx.where(found, first, indices)
    if keepdims or x.ndim == 0:
        return values, indices
    return mx.squeeze(values, axis), mx.squeeze(indices, axis)


def nanmedian_with_indices(
    x: mx.array, axis: int = -1, keepdims: bool = False
) -> tuple[mx.array, mx.array]:
    """``torch.nanmedian(x, dim)``: lower median of what is not NaN, and an int64 index of it."""
    if x.ndim == 0:
        return x, mx.array(0, dtype=mx.int64)
    valid = mx.sum((x == x).astype(mx.int64), axis=axis, keepdims=True)
    middle = mx.maximum(valid - 1, 0) // 2
    indices = mx.take_along_axis(argsort(x, axis), middle, axis=axis)
    values = mx.take_along_axis(x, indices, axis=axis)
    if keepdims:
        return values, indices
    return mx.squeeze(values, axis), mx.squeeze(indices, axis)


def mode_with_indices(
    x: mx.array, axis: int = -1, keepdims: bool = False
) -> tuple[mx.array, mx.array]:
    """``torch.mode``: most frequent value (the smallest of equals), last int64 index of it."""
    if x.ndim == 0:
        return x, mx.array(0, dtype=mx.int64)
    rows = mx.moveaxis(x, axis, -1)
    ordered, order = sort(rows)
    n = rows.shape[-1]
    position = mx.arange(n, dtype=mx.int64)
    begins = mx.concatenate(
        [mx.ones(ordered.shape[:-1] + (1,), dtype=mx.bool_), ordered[..., 1:] != ordered[..., :-1]],
        axis=-1,
    )
    # Length of the run of equal values that ends at each place; the longest, first found, wins.
    start = mx.cummax(mx.where(begins, position, 0), axis=-1)
    best = mx.argmax(position - start, axis=-1, keepdims=True)
    values = mx.take_along_axis(ordered, best, axis=-1)
    indices = mx.take_along_axis(order, best, axis=-1)
    if not keepdims:
        return values[..., 0], indices[..., 0]
    return mx.moveaxis(values, -1, axis), mx.moveaxis(indices, -1, axis)


def quantile(
    x: mx.array,
    q: mx.array | float,
    axis: int | None = None,
    keepdims: bool = False,
    interpolation: str = "linear",
    ignore_nan: bool = False,
) -> mx.array:
    """``torch.quantile`` (``nanquantile`` with ``ignore_nan``): [q..., reduced shape].

    ``interpolation`` is "linear", "lower", "higher", "midpoint" or "nearest".
    """
    points = q.astype(x.dtype) if isinstance(q, mx.array) else mx.array(q, dtype=x.dtype)
    axis = axis if x.ndim else None
    if axis is None:
        rows = x.reshape(-1)
    else:
        rows = mx.moveaxis(x, axis, -1)
    ordered = mx.sort(rows, axis=-1)
    n = ordered.shape[-1]
    if ignore_nan:
        last = mx.maximum(mx.sum(ordered == ordered, axis=-1, keepdims=True) - 1, 0)
        rank = points.reshape(-1) * last.astype(x.dtype)
    else:
        rank = mx.broadcast_to(points.reshape(-1) * (n - 1), ordered.shape[:-1] + (points.size,))
        # A NaN sorts last: every quantile of its row is that NaN.
        rank = mx.where(mx.isnan(ordered[..., -1:]), n - 1.0, rank)
    if interpolation == "nearest":
        rank = mx.round(rank)
    elif interpolation == "lower":
        rank = mx.floor(rank)
    elif interpolation == "higher":
        rank = mx.ceil(rank)
    below = mx.floor(rank).astype(mx.int64)
    weight = rank - mx.floor(rank)
    if interpolation == "midpoint":
        weight = mx.where(weight > 0, 0.5, 0.0).astype(x.dtype)
    low = mx.take_along_axis(ordered, below, axis=-1)
    if interpolation in ("linear", "midpoint"):
        high = mx.take_along_axis(ordered, mx.ceil(rank).astype(mx.int64), axis=-1)
        low = lerp(low, high, weight)
    values = mx.moveaxis(low, -1, 0)
    if keepdims and axis is None:
        values = values.reshape((points.size,) + (1,) * x.ndim)
    elif keepdims and axis is not None:
        values = mx.expand_dims(values, axis % x.ndim + 1)
    return values if points.ndim else values[0]


def group_sorted(
    ordered: mx.array, order: mx.array, begins: mx.array
) -> tuple[mx.array, mx.array, mx.array]:
    """From sorted rows: the first row of each run, which run each original row is in, run sizes.

    ``order`` is the int64 permutation that sorted the rows, ``begins`` [n] marks where runs begin;
    its count decides the result's size, so this evaluates it.
    """
    n = begins.size
    run = mx.cumsum(begins.astype(mx.int32)) - 1
    count = int(run[-1]) + 1 if n else 0
    firsts = mx.zeros((count,), dtype=mx.int64)
    counts = mx.zeros((count,), dtype=mx.int64)
    inverse = mx.zeros((n,), dtype=mx.int64)
    if n:
        # Written back to front, so that the first row of a run is the smallest place there.
        firsts = mx.full((count,), n, dtype=mx.int32).at[run].minimum(mx.arange(n, dtype=mx.int32))
        counts = counts.at[run].add(mx.ones((n,), dtype=mx.int64))
        inverse[order] = run.astype(mx.int64)
    return mx.take(ordered, firsts, axis=0), inverse, counts


def unique(x: mx.array) -> tuple[mx.array, mx.array, mx.array]:
    """``torch.unique``: sorted distinct values, int64 inverse (shape of ``x``), int64 counts.

    The size depends on the values, so this evaluates ``x``.
    """
    flat = x.reshape(-1)
    ordered, order = sort(flat)
    begins = mx.concatenate([mx.ones((min(flat.size, 1),)) > 0, ordered[1:] != ordered[:-1]])
    values, inverse, counts = group_sorted(ordered, order, begins)
    return values, inverse.reshape(x.shape), counts


def unique_dim(x: mx.array, axis: int) -> tuple[mx.array, mx.array, mx.array]:
    """``torch.unique(x, dim=axis)``: distinct slices in lexicographic order; evaluates ``x``."""
    rows = mx.moveaxis(x, axis, 0)
    table = rows.reshape(rows.shape[0], -1)
    order = mx.arange(table.shape[0], dtype=mx.int64)
    # Least significant column first: stable sorts add up to a lexicographic one.
    for column in range(table.shape[1] - 1, -1, -1):
        order = order[argsort(table[order, column])]
    ordered = table[order]
    changed = mx.any(ordered[1:] != ordered[:-1], axis=1)
    begins = mx.concatenate([mx.ones((min(table.shape[0], 1),)) > 0, changed])
    values, inverse, counts = group_sorted(rows[order], order, begins)
    return mx.moveaxis(values, 0, axis), inverse, counts


def unique_consecutive(x: mx.array, axis: int | None = None) -> tuple[mx.array, mx.array, mx.array]:
    """``torch.unique_consecutive``: first of each run of equal elements (or slices of ``axis``).

    Also int64 inverse and counts. The size depends on the values, so this evaluates ``x``.
    """
    rows = x.reshape(-1) if axis is None else mx.moveaxis(x, axis, 0)
    n = rows.shape[0]
    table = rows.reshape(n, -1) if rows.size else mx.zeros((n, 1))
    changed = mx.any(table[1:] != table[:-1], axis=1)
    begins = mx.concatenate([mx.ones((min(n, 1),)) > 0, changed])
    values, inverse, counts = group_sorted(rows, mx.arange(n, dtype=mx.int64), begins)
    if axis is None:
        return values, inverse.reshape(x.shape), counts
    return mx.moveaxis(values, 0, axis), inverse, counts


def unique_places(
    x: mx.array, axis: int | None = None, ordered: bool = True
) -> tuple[mx.array, mx.array, mx.array, mx.array]:
    """Distinct values (or slices along ``axis``), the int64 place of the first of each, the int64
    inverse and counts; sorted, or if not ``ordered`` as they first appear.

    The size depends on the values, so this evaluates ``x``. Source: ONNX ``Unique``.
    """
    values, inverse, counts = unique(x) if axis is None else unique_dim(x, axis)
    inverse = inverse.reshape(-1)
    first = mx.full(counts.shape, inverse.size, dtype=mx.int64)
    first = first.at[inverse].minimum(mx.arange(inverse.size, dtype=mx.int64))
    if ordered:
        return values, first, inverse, counts
    order = mx.argsort(first)
    rank = mx.argsort(order).astype(mx.int64)
    values = mx.take(values, order, axis=axis or 0)
    return values, first[order], rank[inverse], counts[order]
