"""Shape helpers that torch has and MLX lacks; axes are the caller's, negative ones too."""

from __future__ import annotations

import mlx.core as mx


def narrow(x: mx.array, axis: int, start: int, length: int) -> mx.array:
    """``length`` elements of an axis from ``start``; a negative start counts from the end."""
    axis %= x.ndim
    if start < 0:
        start += x.shape[axis]
    if start + length > x.shape[axis]:
        raise ValueError(f"narrow to {start}:{start + length} of axis {axis}: {x.shape[axis]} long")
    return x[(slice(None),) * axis + (slice(start, start + length),)]


def chunk_sizes(size: int, chunks: int) -> list[int]:
    """Sizes of ``torch.chunk``: equal but for a shorter last one, maybe fewer than ``chunks``."""
    each = max(-(-size // chunks), 1)
    if size == 0:
        return [0] * chunks
    return [min(each, size - start) for start in range(0, size, each)]


def tensor_split_sizes(size: int, sections: int) -> list[int]:
    """Sizes of ``torch.tensor_split``: exactly ``sections``, the first ones longer by one."""
    return [size // sections + (1 if i < size % sections else 0) for i in range(sections)]


def split_sizes(x: mx.array, sizes: list[int], axis: int = 0) -> list[mx.array]:
    """``torch.split`` with a list of sizes, which add up to the axis."""
    axis %= x.ndim
    if sum(sizes) != x.shape[axis]:
        raise ValueError(f"split sizes {sizes} do not add up to the axis of {x.shape[axis]}")
    parts, start = [], 0
    for size in sizes:
        parts.append(narrow(x, axis, start, size))
        start += size
    return parts


def split_every(x: mx.array, size: int, axis: int = 0) -> list[mx.array]:
    """``torch.split`` with one size: parts of ``size``, the last one maybe shorter."""
    length = x.shape[axis]
    if length == 0:
        return [x]
    return split_sizes(x, [min(size, length - i) for i in range(0, length, size)], axis)


def chunk(x: mx.array, chunks: int, axis: int = 0) -> list[mx.array]:
    """``torch.chunk``."""
    return split_sizes(x, chunk_sizes(x.shape[axis], chunks), axis)


def tensor_split(x: mx.array, where: int | tuple[int, ...], axis: int = 0) -> list[mx.array]:
    """``torch.tensor_split``: into ``where`` parts, or at the indices ``where``."""
    if isinstance(where, int):
        return split_sizes(x, tensor_split_sizes(x.shape[axis], where), axis)
    axis %= x.ndim
    before = (slice(None),) * axis
    starts, stops = [0, *where], [*where, x.shape[axis]]
    return [x[before + (slice(start, stop),)] for start, stop in zip(starts, stops, strict=True)]


def diff(
    x: mx.array,
    n: int = 1,
    axis: int = -1,
    prepend: mx.array | None = None,
    append: mx.array | None = None,
) -> mx.array:
    """``torch.diff``: the n-th difference along an axis, of the same dtype; bool means xor."""
    parts = [part for part in (prepend, x, append) if part is not None]
    x = mx.concatenate(parts, axis=axis) if len(parts) > 1 else x
    axis %= x.ndim
    for _ in range(min(n, x.shape[axis])):
        size = x.shape[axis]
        high, low = narrow(x, axis, 1, size - 1), narrow(x, axis, 0, size - 1)
        x = mx.not_equal(high, low) if x.dtype == mx.bool_ else high - low
    return x


def rot90(x: mx.array, k: int = 1, axes: tuple[int, int] = (0, 1)) -> mx.array:
    """``torch.rot90``: k quarter turns from the first of ``axes`` towards the second."""
    first, second = axes
    turns = k % 4
    if turns == 1:
        return mx.swapaxes(mx.flip(x, second), first, second)
    if turns == 2:
        return mx.flip(x, (first, second))
    if turns == 3:
        return mx.flip(mx.swapaxes(x, first, second), second)
    return x


def trace(x: mx.array) -> mx.array:
    """``torch.trace`` of a matrix: integers and bool sum to int64."""
    line = mx.diagonal(x)
    if not mx.issubdtype(x.dtype, mx.inexact):
        line = line.astype(mx.int64)
    return mx.sum(line)


def diag_embed(x: mx.array, offset: int = 0, axis1: int = -2, axis2: int = -1) -> mx.array:
    """``torch.diag_embed``: the last axis becomes the diagonal of a new pair of axes."""
    size = x.shape[-1]
    shift = abs(offset)
    # Row i of the square holds element i - max(-offset, 0), on the column it is shifted to.
    rows = mx.arange(size + shift)[:, None]
    columns = mx.arange(size + shift)[None, :]
    pads = [(0, 0)] * (x.ndim - 1) + [(max(-offset, 0), max(offset, 0))]
    line = mx.expand_dims(mx.pad(x, pads), -1)
    square = mx.where(columns - rows == offset, line, mx.array(0, dtype=x.dtype))
    first, second = axis1 % square.ndim, axis2 % square.ndim
    if first > second:
        square, first, second = mx.swapaxes(square, -1, -2), second, first
    return move_last_two(square, first, second)


def move_last_two(x: mx.array, first: int, second: int) -> mx.array:
    """The last two axes to positions ``first`` < ``second`` of the result."""
    order = list(range(x.ndim - 2))
    order.insert(first, x.ndim - 2)
    order.insert(second, x.ndim - 1)
    return x.transpose(order)


def block_diag(blocks: list[mx.array]) -> mx.array:
    """``torch.block_diag`` of matrices; vectors count as rows, scalars as 1 x 1."""
    matrices = [block if block.ndim == 2 else block.reshape(1, -1) for block in blocks]
    width = sum(matrix.shape[1] for matrix in matrices)
    rows, left = [], 0
    for matrix in matrices:
        right = width - left - matrix.shape[1]
        rows.append(mx.pad(matrix, [(0, 0), (left, right)]))
        left += matrix.shape[1]
    return mx.concatenate(rows, axis=0)


def meshgrid(arrays: list[mx.array], indexing: str = "ij") -> list[mx.array]:
    """``torch.meshgrid`` of vectors (scalars count as one element); "ij" is torch's default."""
    lines = [array.reshape(-1) for array in arrays]
    return list(mx.meshgrid(*lines, indexing=indexing))


def cartesian_prod(arrays: list[mx.array]) -> mx.array:
    """``torch.cartesian_prod`` of vectors: [product of the sizes, number], or the lone vector."""
    if len(arrays) == 1:
        return arrays[0]
    return mx.stack([grid.reshape(-1) for grid in meshgrid(arrays)], axis=-1)


def combination_rows(n: int, r: int, with_replacement: bool) -> list[list[int]]:
    """Ascending r-tuples of range(n), in lexicographic order."""
    rows: list[list[int]] = [[]]
    for _ in range(r):
        rows = [
            [*row, i]
            for row in rows
            for i in range((row[-1] + (0 if with_replacement else 1)) if row else 0, n)
        ]
    return rows


def combinations(x: mx.array, r: int = 2, with_replacement: bool = False) -> mx.array:
    """``torch.combinations`` of a vector: [number of combinations, r]."""
    if r == 0:
        return mx.zeros((0,), dtype=x.dtype)
    rows = combination_rows(x.shape[0], r, with_replacement)
    if not rows:
        return mx.zeros((0, r), dtype=x.dtype)
    return mx.take(x, mx.array(rows), axis=0)


def row_run_indices(starts: list[int], lengths: list[int]) -> mx.array:
    """int64 [2, n]: for each row i the coordinates of ``lengths[i]`` columns from ``starts[i]``."""
    total = sum(lengths)
    if total == 0:
        return mx.zeros((2, 0), dtype=mx.int64)
    ends = mx.cumsum(mx.array(lengths))
    place = mx.arange(total)
    row = mx.searchsorted(ends, place, side="right")
    column = place - mx.take(ends - mx.array(lengths) - mx.array(starts), row)
    return mx.stack([row.astype(mx.int64), column.astype(mx.int64)])


def vander(x: mx.array, columns: int | None = None, increasing: bool = False) -> mx.array:
    """``torch.vander``: powers of a vector as columns, falling unless ``increasing``."""
    columns = x.shape[0] if columns is None else columns
    if not mx.issubdtype(x.dtype, mx.inexact):
        x = x.astype(mx.int64)
    powers = [mx.ones_like(x)]
    for _ in range(columns - 1):
        powers.append(powers[-1] * x)
    powers = powers[:columns] if increasing else powers[:columns][::-1]
    return mx.stack(powers, axis=-1) if powers else mx.zeros((x.shape[0], 0), dtype=x.dtype)


def repeat_indices(repeats: mx.array, total: int | None = None) -> mx.array:
    """Index i ``repeats[i]`` times over, int64; evaluates ``repeats`` if ``total`` is not given.

    ``torch.repeat_interleave(repeats)`` of integers.
    """
    if repeats.size == 0:
        return mx.zeros((0,), dtype=mx.int64)
    ends = mx.cumsum(repeats.astype(mx.int32))
    if total is None:
        total = int(ends[-1])
    return mx.searchsorted(ends, mx.arange(total), side="right").astype(mx.int64)


def repeat_interleave(
    x: mx.array, repeats: mx.array, axis: int | None = None, total: int | None = None
) -> mx.array:
    """``torch.repeat_interleave`` with a count for each element of the axis (or one for all).

    Without an axis ``x`` is flattened. Evaluates ``repeats`` unless ``total``, their sum, is given.
    """
    if axis is None:
        x, axis = x.reshape(-1), 0
    repeats = mx.broadcast_to(repeats.reshape(-1), (x.shape[axis],))
    return mx.take(x, repeat_indices(repeats, total), axis=axis)
