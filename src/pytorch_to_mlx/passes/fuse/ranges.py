"""Subscripts by arrays that count up become slices.

Given (``%mask`` is [B, T])::

    %1 = mx.expand_dims(mx.arange(B), (1, 2, 3))
    %2 = mx.expand_dims(mx.arange(T), (0, 1, 2))
    %3 = getitem(%mask, (%1, %2))
    %4 = getitem(@weight, (mx.tile(mx.expand_dims(mx.arange(T), 0), (B, 1)),))

Result::

    %3 = getitem(%mask, (:, None, None))
    %4 = mx.broadcast_to(getitem(@weight, (:T,)), (B, T, 8))

Index arrays are recognised by their values, at sizes as for masks. Each has to count up along an
axis of its own, in the order of the axes that they index; a constant start is allowed. A single
constant place is a slice of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pytorch_to_mlx.graph import Graph, Node, Value, call, dims_equal, is_static
from pytorch_to_mlx.graph.dims import Dim, as_dim
from pytorch_to_mlx.passes import evaluate
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.clean.views import index_of, short
from pytorch_to_mlx.passes.match import apply, argument, is_array, same_shape


@dataclass(frozen=True)
class Range:
    """An index array that counts from ``start`` along ``axis`` (numbered from the end)."""

    start: int
    length: Dim
    axis: int

    def over(self, size: Dim) -> slice:
        """The slice of an axis of ``size`` elements."""
        if self.start == 0 and dims_equal(self.length, size):
            return slice(None)
        stop = as_dim(self.length + self.start)
        return slice(self.start or None, None if self.start < 0 and stop == 0 else stop)


def run(graph: Graph, report: PassReport) -> None:
    """Rewrites subscripts and ``mx.take`` whose indices depend on sizes alone."""
    seen: dict[Value, Range | None] = {}

    def known(value: Value) -> Range | None:
        if value not in seen:
            seen[value] = _range(value, graph)
        return seen[value]

    def subscript(node: Node) -> Value | None:
        x, given = node.args
        index: tuple[Any, ...] = given if isinstance(given, tuple) else (given,)
        return _sliced(node, x, index, known) if is_array(x) else None

    def take(node: Node) -> Value | None:
        x: Any = node.args[0]
        axis = argument(node, 2, "axis")
        if not isinstance(axis, int):
            return None
        index = (*(slice(None),) * (axis % x.ndim), node.args[1])
        return _sliced(node, x, index, known)

    apply(graph, report, ("getitem",), subscript)
    apply(graph, report, ("mx.take",), take)


def _range(value: Value, graph: Graph) -> Range | None:
    """What an integer array counts, if it depends on sizes alone and does."""
    if value.ndim == 0 or value.dtype == "bool":
        return None
    tables = evaluate.tables(value, graph)
    if tables is None or any(t.dtype.kind not in "iu" or not t.size for t in tables):
        return None
    start = int(tables[0].flat[0])
    if all(d == 1 for d in value.dims):
        return Range(start, 1, -1) if all(t.flat[0] == start for t in tables) else None
    for axis in range(value.ndim):
        if start >= 0 and all(_counts(t, start, axis) for t in tables):
            moves = not is_static(value.dims[axis]) or value.dims[axis] != 1
            return Range(start, value.dims[axis], axis - value.ndim) if moves else None
    return None


def _counts(table: np.ndarray[Any, Any], start: int, axis: int) -> bool:
    shape = [1] * table.ndim
    shape[axis] = table.shape[axis]
    return bool((table == (start + np.arange(table.shape[axis])).reshape(shape)).all())


def _sliced(node: Node, x: Value, index: tuple[Any, ...], known: Any) -> Value | None:
    places = [n for n, i in enumerate(index) if isinstance(i, Value)]
    if not places or places[-1] - places[0] != len(places) - 1 or node.output.shape is None:
        return None
    if any(isinstance(i, (int, bool, tuple)) for i in index) or x.shape is None:
        return None
    ranges = [known(index[n]) for n in places]
    axes = [r.axis for r in ranges if r is not None]
    if len(axes) != len(ranges) or axes != sorted(set(axes)):
        return None
    first = _axis_of(index, places[0], x.ndim)
    slices = {r.axis: r.over(x.dims[first + n]) for n, r in enumerate(ranges)}
    if any(_past(s, x.dims[first + n]) for n, s in enumerate(slices.values())):
        return None
    rank = max(index[n].ndim for n in places)
    block = tuple(slices.get(axis) for axis in range(-rank, 0))
    return _build(node, x, index[: places[0]], block, index[places[-1] + 1 :])


def _axis_of(index: tuple[Any, ...], place: int, rank: int) -> int:
    """The axis that the entry at ``place`` indexes."""
    if Ellipsis in index[:place]:
        return rank - sum(1 for i in index[place:] if i is not None)
    return sum(1 for i in index[:place] if i is not None)


def _past(s: slice, size: Dim) -> bool:
    """Whether a slice is known to run over the end (which the source would refuse)."""
    if not is_static(size):
        return False
    first, stop = s.start or 0, s.stop
    return first < -int(size) or (is_static(stop) and int(stop) > int(size))


def _build(
    node: Node, x: Value, before: tuple[Any, ...], block: tuple[Any, ...], after: tuple[Any, ...]
) -> Value:
    """``x`` sliced; repeated along the axes on which no index changes."""
    wanted = node.output.dims
    out = _part(x, (*before, *block, *after))
    if same_shape(out.dims, wanted):
        return out
    if not before:
        lead = next(n for n, i in enumerate(block) if i is not None)
        if lead:
            out = _part(x, (*block[lead:], *after))
    return call("mx.broadcast_to", out, wanted)


def _part(x: Value, index: tuple[Any, ...]) -> Value:
    probe = Node("getitem", (x, index))
    plain = index_of(probe)
    probe.set_args((), {}, {})
    if plain is None or all(i == slice(None) for i in plain):
        return x
    return call("getitem", x, short(plain))
