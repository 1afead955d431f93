"""Indexing as torch does it: advanced indexing, masks, gather, slices, lookups."""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.ops.reductions import renorm


def nonzero_tuple(x: mx.array) -> tuple[mx.array, ...]:
    """Coordinates of the non-zero elements, one int64 [n] array an axis, in row-major order.

    ``torch.nonzero(as_tuple=True)``. The length depends on the values, so this evaluates ``x``.
    """
    shape = x.shape if x.ndim > 0 else (1,)
    mask = (x != 0).reshape(-1)
    slots = mx.cumsum(mask.astype(mx.int32))
    count = int(slots[-1]) if mask.size else 0
    # Element k of the answer is written by the k-th hit; all misses share one slot past the end.
    flat = mx.zeros((count + 1,), dtype=mx.int64)
    if mask.size:
        flat[mx.where(mask, slots - 1, count)] = mx.arange(mask.size, dtype=mx.int64)
    flat = flat[:count]
    coordinates = []
    for size in reversed(shape):
        coordinates.append(flat % size if size else flat)
        flat = flat // size if size else flat
    return tuple(reversed(coordinates))


def nonzero(x: mx.array) -> mx.array:
    """Coordinates of the non-zero elements, int64 [n, ndim]: ``torch.nonzero``; evaluates ``x``."""
    coordinates = nonzero_tuple(x)
    if x.ndim == 0:
        return mx.zeros((coordinates[0].size, 0), dtype=mx.int64)
    return mx.stack(list(coordinates), axis=1)


def nonzero_static(x: mx.array, size: int, fill: int = -1) -> mx.array:
    """``torch.nonzero_static``: int64 [size, ndim], the first hits, then rows of ``fill``."""
    mask = (x != 0).reshape(-1)
    slots = mx.cumsum(mask.astype(mx.int32)) - 1
    flat = mx.full((size + 1,), -1, dtype=mx.int64)
    if mask.size:
        kept = mask & (slots < size)
        flat[mx.where(kept, slots, size)] = mx.arange(mask.size, dtype=mx.int64)
    flat = flat[:size]
    coordinates, rest = [mx.zeros((size, 0), dtype=mx.int64)], flat
    for length in reversed(x.shape):
        coordinates.insert(1, (rest % max(length, 1))[:, None])
        rest = rest // max(length, 1)
    return mx.where(flat[:, None] < 0, fill, mx.concatenate(coordinates, axis=1))


def argwhere(x: mx.array) -> mx.array:
    """``torch.argwhere``: int64 [n, ndim]; evaluates ``x``."""
    return nonzero(x)


def expand_mask_indices(
    x: mx.array, indices: tuple[mx.array | None, ...]
) -> tuple[mx.array, tuple[mx.array | None, ...]]:
    """Replace every bool (or uint8) index by the coordinates it selects; evaluates those masks."""
    expanded: list[mx.array | None] = []
    for item in indices:
        if item is None or item.dtype not in (mx.bool_, mx.uint8):
            expanded.append(item)
            continue
        if item.ndim == 0:  # a scalar mask indexes a new axis of size one
            x = mx.expand_dims(x, len(expanded))
        expanded.extend(nonzero_tuple(item))
    return x, tuple(expanded)


def index(x: mx.array, indices: tuple[mx.array | None, ...]) -> mx.array:
    """``x[indices]`` with integer or bool arrays, ``None`` standing for a whole axis.

    Equals ``torch.Tensor.__getitem__`` (``aten.index``): broadcast index axes replace the indexed
    axes where those are adjacent, and lead otherwise. Bool masks are evaluated.
    """
    x, indices = expand_mask_indices(x, indices)
    return x[tuple(slice(None) if item is None else item for item in indices)]


def masked_select(x: mx.array, mask: mx.array) -> mx.array:
    """Elements of ``x`` where ``mask`` holds, broadcast, as a 1-D array; evaluates ``mask``."""
    x, mask = mx.broadcast_arrays(x, mask)
    if x.size == 0:
        return x.reshape(-1)
    return x.reshape(-1)[nonzero_tuple(mask.reshape(-1))[0]]


def masked_fill(x: mx.array, mask: mx.array, value: mx.array | float) -> mx.array:
    """``torch.masked_fill``: ``value`` where ``mask`` (broadcast against ``x``), dtype of ``x``."""
    fill = value.astype(x.dtype) if isinstance(value, mx.array) else mx.array(value, dtype=x.dtype)
    return mx.where(mask, fill, x)


def masked_scatter(x: mx.array, mask: mx.array, source: mx.array) -> mx.array:
    """``torch.masked_scatter``: the k-th masked position takes the k-th element of ``source``."""
    x, mask = mx.broadcast_arrays(x, mask)
    if source.size == 0:
        return x
    order = mx.cumsum(mask.reshape(-1).astype(mx.int32)) - 1
    picked = source.reshape(-1)[mx.clip(order, 0, source.size - 1)].reshape(x.shape)
    return mx.where(mask, picked.astype(x.dtype), x)


def gather(x: mx.array, axis: int, indices: mx.array) -> mx.array:
    """``torch.gather``: result has the shape of ``indices``, which may be smaller than ``x``."""
    if indices.size == 0:
        return mx.zeros(indices.shape, dtype=x.dtype)
    if x.ndim == 0 or indices.ndim == 0:
        return mx.take(x.reshape(-1), indices)
    axis = axis % x.ndim
    corner = tuple(
        slice(None) if i == axis else slice(0, size) for i, size in enumerate(indices.shape)
    )
    return mx.take_along_axis(x[corner], indices, axis=axis)


def take_along_dim(x: mx.array, indices: mx.array, axis: int | None = None) -> mx.array:
    """``torch.take_along_dim``: ``x`` and ``indices`` broadcast on every other axis."""
    if axis is None:
        return x.reshape(-1)[indices.reshape(-1)]
    return mx.take_along_axis(x, indices, axis=axis)


def index_select(x: mx.array, axis: int, indices: mx.array) -> mx.array:
    """``torch.index_select``: rows ``indices`` (0-D or 1-D) of ``axis``, which stays an axis."""
    if x.ndim == 0:
        return x
    return mx.take(x, indices.reshape(-1), axis=axis)


def take(x: mx.array, indices: mx.array) -> mx.array:
    """``torch.take``: elements of the flattened ``x``, negative positions count from the end."""
    return x.reshape(-1)[indices]


def select(x: mx.array, axis: int, position: int) -> mx.array:
    """``x[..., position, ...]``: drop ``axis`` (``torch.select``; negative counts from the end)."""
    leading = (slice(None),) * (axis % x.ndim)
    return x[leading + (position % x.shape[axis],)]


def slice_with_step(
    x: mx.array, axis: int, start: int | None = None, end: int | None = None, step: int = 1
) -> mx.array:
    """``aten.slice``: negative bounds count from the end, bounds are clamped, ``step`` > 0."""
    begin, stop, _ = slice(start, end).indices(x.shape[axis])  # clamps
    leading = (slice(None),) * (axis % x.ndim)
    return x[leading + (slice(begin, stop, step),)]


def isin(x: mx.array, values: mx.array, invert: bool = False) -> mx.array:
    """Bool array of the shape of ``x``: is the element among ``values`` (``torch.isin``)?"""
    found = mx.zeros(x.shape, dtype=mx.bool_)
    if values.size:
        found = mx.any(mx.expand_dims(x, -1) == values.reshape(-1), axis=-1)
    return mx.logical_not(found) if invert else found


def count_nonzero(x: mx.array, axis: int | tuple[int, ...] | None = None) -> mx.array:
    """``torch.count_nonzero``: int64 (NaN counts)."""
    return mx.sum((x != 0).astype(mx.int64), axis=axis)


def one_hot(x: mx.array, num_classes: int = -1) -> mx.array:
    """int64 [..., num_classes]; ``num_classes=-1`` reads the largest class (evaluates ``x``)."""
    if num_classes == -1:
        num_classes = int(mx.max(x)) + 1
    return (mx.expand_dims(x, -1) == mx.arange(num_classes, dtype=x.dtype)).astype(mx.int64)


def tril_indices(row: int, col: int, offset: int = 0) -> mx.array:
    """int64 [2, n]: coordinates of the lower triangle of a [row, col] matrix, row by row."""
    pairs = [(i, j) for i in range(row) for j in range(min(max(i + offset + 1, 0), col))]
    return mx.array(pairs, dtype=mx.int64).reshape(-1, 2).T


def triu_indices(row: int, col: int, offset: int = 0) -> mx.array:
    """int64 [2, n]: coordinates of the upper triangle of a [row, col] matrix, row by row."""
    pairs = [(i, j) for i in range(row) for j in range(max(i + offset, 0), col)]
    return mx.array(pairs, dtype=mx.int64).reshape(-1, 2).T


def searchsorted(
    sorted_sequence: mx.array,
    values: mx.array,
    right: bool = False,
    sorter: mx.array | None = None,
    out_int32: bool = False,
) -> mx.array:
    """Insertion points along the last axis, int64 (int32 on request): ``torch.searchsorted``.

    ``sorted_sequence`` is [n] or has the leading axes of ``values``. ``sorter``
    gives the order that sorts an unsorted ``sorted_sequence``.
    """
    dtype = mx.int32 if out_int32 else mx.int64
    if sorter is not None:
        sorted_sequence = mx.take_along_axis(sorted_sequence, sorter, axis=-1)
    common = mx.result_type(sorted_sequence, values)
    sorted_sequence, values = sorted_sequence.astype(common), values.astype(common)
    n = sorted_sequence.shape[-1]
    if sorted_sequence.ndim == 1:
        queries = values.reshape(-1)
        low = mx.zeros(queries.shape, dtype=mx.int32)
        rows = mx.broadcast_to(sorted_sequence, (1, n))
        queries, low = queries[None], low[None]
    else:
        rows = sorted_sequence.reshape(-1, n)
        queries = values.reshape(rows.shape[0], -1)
        low = mx.zeros(queries.shape, dtype=mx.int32)
    high = mx.full(queries.shape, n, dtype=mx.int32)
    # Binary search, all queries at once: after bit_length(n) halvings every interval is empty.
    for _ in range(int(n).bit_length()):
        middle = (low + high) // 2
        entry = mx.take_along_axis(rows, mx.minimum(middle, n - 1), axis=1)
        # The negated form sends the search past NaN entries, as torch's does.
        before = mx.logical_not(entry > queries if right else entry >= queries)
        active = low < high
        low, high = (
            mx.where(active & before, middle + 1, low),
            mx.where(active & ~before, middle, high),
        )
    return low.reshape(values.shape).astype(dtype)


def embedding_renorm(
    weight: mx.array, indices: mx.array, max_norm: float, p: float = 2.0
) -> mx.array:
    """``nn.Embedding(max_norm=...)``: the rows named by ``indices`` whose p-norm is larger, shrunk.

    ``weight`` is [rows, D]; the other rows stay.
    """
    named = mx.zeros((weight.shape[0],), dtype=mx.bool_)
    named[indices.reshape(-1)] = True
    return mx.where(named[:, None], renorm(weight, p, 0, max_norm), weight)


def embedding_bag(
    weight: mx.array,
    indices: mx.array,
    offsets: mx.array | None = None,
    mode: str = "mean",
    per_sample_weights: mx.array | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> mx.array:
    """Sum, mean or max of the embeddings of each bag: [bags, D] (``nn.functional.embedding_bag``).

    ``indices`` is [bags, length], or [n] with ``offsets`` [bags] (int): where each bag starts.
    Rows equal to ``padding_idx`` do not count; an empty bag gives zeros.
    """
    if indices.ndim == 2:
        bags, length = indices.shape
        bag = mx.repeat(mx.arange(bags), length)
        indices = indices.reshape(-1)
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape(-1)
    else:
        assert offsets is not None
        starts = offsets[:-1] if include_last_offset else offsets
        bags = starts.size
        positions = mx.arange(indices.size)
        # The bag of position p is the number of starts at or before p, less one.
        bag = mx.sum((starts[None, :] <= positions[:, None]).astype(mx.int32), axis=1) - 1
    rows = mx.take(weight, indices, axis=0)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[:, None]
    keep = mx.ones(indices.shape, dtype=mx.bool_)
    if padding_idx is not None:
        keep = indices != padding_idx % weight.shape[0]
    zeros = mx.zeros((bags, weight.shape[1]), dtype=mx.float32)
    if indices.size == 0:
        return zeros.astype(weight.dtype)
    counts = mx.zeros((bags,), dtype=mx.float32).at[bag].add(keep.astype(mx.float32))[:, None]
    if mode == "max":
        floored = mx.where(keep[:, None], rows.astype(mx.float32), -mx.inf)
        top = (zeros - mx.inf).at[bag].maximum(floored)
        return mx.where(counts > 0, top, 0.0).astype(weight.dtype)
    total = zeros.at[bag].add(mx.where(keep[:, None], rows.astype(mx.float32), 0.0))
    if mode == "mean":
        total = total / mx.maximum(counts, 1.0)
    return total.astype(weight.dtype)
