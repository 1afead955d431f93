"""Histograms and reductions over segments."""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.ops.indexing import searchsorted


def bin_edges(x: mx.array, bins: int, low: float | None = None, high: float = 0.0) -> mx.array:
    """``bins + 1`` equal steps from ``low`` to ``high``; without them, over the data's range.

    Equal limits are moved half a unit apart each; without data the range is from 0 to 1.
    """
    if low is None:
        known = x if x.size else mx.arange(2, dtype=x.dtype)
        start, stop = mx.min(known), mx.max(known)
    else:
        start, stop = mx.array(low, dtype=x.dtype), mx.array(high, dtype=x.dtype)
    same = start == stop
    start, stop = mx.where(same, start - 0.5, start), mx.where(same, stop + 0.5, stop)
    step = (stop - start) / bins
    # From both ends, so that the last edge is exact.
    index = mx.arange(bins + 1)
    return mx.where(index <= bins // 2, start + step * index, stop - step * (bins - index))


def bin_places(x: mx.array, edges: mx.array) -> tuple[mx.array, mx.array]:
    """Index of the bin of each element, the last bin closed, and whether it is in any."""
    place = searchsorted(edges, x, right=True) - 1
    place = mx.where(x == edges[-1], edges.size - 2, place)
    inside = (x >= edges[0]) & (x <= edges[-1])
    return mx.where(inside, place, 0), inside


def histogramdd(
    x: mx.array,
    edges: tuple[mx.array, ...],
    weight: mx.array | None = None,
    density: bool = False,
) -> mx.array:
    """``torch.histogramdd`` of points [..., D] over the bins between ``edges``, one array an axis.

    Points outside count nowhere. ``density`` makes the integral over the bins one.
    """
    points = x.reshape(-1, len(edges))
    count = mx.ones((points.shape[0],), dtype=x.dtype) if weight is None else weight.reshape(-1)
    flat = mx.zeros((points.shape[0],), dtype=mx.int64)
    volume = mx.ones((1,), dtype=x.dtype)
    for axis, edge in enumerate(edges):
        place, inside = bin_places(points[:, axis], edge)
        flat = flat * (edge.size - 1) + place
        count = mx.where(inside, count, mx.zeros_like(count))
        volume = mx.expand_dims(volume, -1) * (edge[1:] - edge[:-1])
    sizes = tuple(edge.size - 1 for edge in edges)
    total = 1
    for size in sizes:
        total *= size
    found = mx.zeros((total,), dtype=x.dtype).at[flat].add(count.astype(x.dtype))
    found = found.reshape(sizes)
    return found / mx.sum(found) / volume.reshape(sizes) if density else found


def histogram(
    x: mx.array,
    bins: int | mx.array,
    limits: tuple[float, float] | None = None,
    weight: mx.array | None = None,
    density: bool = False,
) -> tuple[mx.array, mx.array]:
    """``torch.histogram``: counts (or weights, or density) and edges; ``bins`` may be the edges."""
    if isinstance(bins, mx.array):
        edges = bins
    else:
        low, high = limits if limits is not None else (None, 0.0)
        edges = bin_edges(x, bins, low, high)
    return histogramdd(x.reshape(x.size, 1), (edges,), weight, density), edges


def histogramdd_edges(
    x: mx.array, bins: tuple[int, ...], limits: tuple[float, ...] | None = None
) -> tuple[mx.array, ...]:
    """The edges of ``torch.histogramdd`` for points [..., D]; limits are low, high of each axis."""
    points = x.reshape(-1, len(bins))
    edges = []
    for axis, count in enumerate(bins):
        low = None if limits is None else limits[2 * axis]
        high = 0.0 if limits is None else limits[2 * axis + 1]
        edges.append(bin_edges(points[:, axis], count, low, high))
    return tuple(edges)


def segment_reduce(
    x: mx.array,
    reduce: str,
    lengths: mx.array | None = None,
    offsets: mx.array | None = None,
    axis: int = 0,
    initial: float | None = None,
) -> mx.array:
    """``torch.segment_reduce``: "sum", "mean", "max", "min" or "prod" of runs along ``axis``.

    ``lengths`` [..., s] or ``offsets`` [..., s + 1] share the axes before ``axis`` with ``x``. An
    empty run gives ``initial``, or NaN (mean), -inf (max), inf (min), 0 (sum), 1 (prod).

    Raises:
        ValueError: neither lengths nor offsets.
    """
    if lengths is not None:
        ends = mx.cumsum(lengths, axis=-1)
        starts = ends - lengths
    elif offsets is not None:
        starts, ends = offsets[..., :-1], offsets[..., 1:]
    else:
        raise ValueError("segments need lengths or offsets")
    outer, n, inner = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    runs = ends.shape[-1]
    places = mx.arange(n)[:, None]
    # [..., n, runs]: which elements each run holds.
    member = (places >= mx.expand_dims(starts, -2)) & (places < mx.expand_dims(ends, -2))
    mask = member.reshape(*outer, n, runs, *(1 for _ in inner))
    values = mx.expand_dims(x, axis + 1)
    idle = {"max": -mx.inf, "min": mx.inf, "prod": 1.0}.get(reduce, 0.0)
    chosen = mx.where(mask, values, mx.array(idle, dtype=x.dtype))
    if reduce in ("max", "min"):
        first = idle if initial is None else initial
        extreme = mx.max if reduce == "max" else mx.min
        bound = mx.full((*outer, 1, runs, *inner), first, dtype=x.dtype)
        return extreme(mx.concatenate([chosen, bound], axis=axis), axis=axis)
    if reduce == "prod":
        return mx.prod(chosen, axis=axis) * (1.0 if initial is None else initial)
    total = mx.sum(chosen, axis=axis) + (0.0 if initial is None else initial)
    if reduce == "sum":
        return total
    count = mx.sum(mask.astype(x.dtype), axis=axis)
    if initial is None:
        return total / count
    return mx.where(count > 0, total / mx.maximum(count, 1), total)
