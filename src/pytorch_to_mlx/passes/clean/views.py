"""Merges chains of views into one.

Given::

    %1 = mx.transpose(%0, (0, 2, 1))
    %2 = mx.transpose(%1, (0, 2, 1))       -> %0
    %4 = mx.reshape(%3, (B, 6))
    %5 = mx.reshape(%4, (B, 2, 3))         -> one reshape
    %7 = mx.expand_dims(%6, 1)
    %8 = mx.expand_dims(%7, 1)             -> %6[:, None, None]
    %a = getitem(%9, (0:4,))
    %b = getitem(%a, (1:2, None))          -> %9[1:2, None]
    %d = mx.reshape(%9[0, :, None], (1, 6))  -> %9[0, None]

Swaps of axes become transposes, and those go below added axes. A part of an array that others read
as well is not read past.
"""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Graph, Node, Value, call, dims_equal, is_static
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import apply, argument, produced_by, same_shape, single_use

_RESHAPES = ("mx.reshape", "mx.flatten", "mx.unflatten")
_INDEXING = ("getitem", "mx.expand_dims", "mx.squeeze")


def run(graph: Graph, report: PassReport) -> None:
    """Merges transposes, reshapes, and subscripts with the views right before them."""
    apply(graph, report, ("mx.swapaxes",), _swap)
    apply(graph, report, ("mx.transpose",), _transposes)
    apply(graph, report, ("mx.reshape",), _moved_ones)
    apply(graph, report, (*_RESHAPES, *_INDEXING), _reshapes)
    apply(graph, report, _INDEXING, _subscripts)


def permutation(node: Node) -> tuple[int, ...]:
    """The axes of a transpose, counted from the front."""
    axes = argument(node, 1, "axes")
    rank = node.output.ndim
    return tuple(reversed(range(rank))) if axes is None else tuple(a % rank for a in axes)


def _swap(node: Node) -> Value:
    x, i, j = node.args
    order = list(range(x.ndim))
    order[i], order[j] = order[j], order[i]
    return x.transpose(*order)


def _transposes(node: Node) -> Value | None:
    inner = produced_by(node.args[0], "mx.transpose")
    if inner is None:
        return _below_new_axes(node)
    before = permutation(inner)
    order = tuple(before[a] for a in permutation(node))
    source: Value = inner.args[0]
    return source if order == tuple(range(len(order))) else source.transpose(*order)


def _below_new_axes(node: Node) -> Value | None:
    """A transpose of an array with added axes transposes the array, then adds them."""
    inner = produced_by(node.args[0], "mx.expand_dims", "getitem")
    index = index_of(inner) if inner is not None else None
    if inner is None or index is None or any(i not in (None, slice(None)) for i in index):
        return None
    axes = [n for n, i in enumerate(index) if i is not None]
    order = permutation(node)
    kept = tuple(axes.index(a) for a in order if a in axes)
    source: Value = inner.args[0]
    if kept != tuple(range(len(kept))):
        source = source.transpose(*kept)
    placed = tuple(None if index[a] is None else slice(None) for a in order)
    return call("getitem", source, short(placed))


def _reshapes(node: Node) -> Value | None:
    """A reshape of a reshape, or of added and dropped axes, is one reshape."""
    inner = produced_by(node.args[0], *_RESHAPES, "mx.expand_dims", "mx.squeeze")
    if inner is None or node.output.shape is None:
        return None
    if node.target == "getitem" and not _only_reshapes(node):
        return None
    reshaping = node.target in _RESHAPES or (inner.target in _RESHAPES and single_use(inner.output))
    if not reshaping:
        return None
    source: Value = inner.args[0]
    shape = node.output.dims
    if source.shape is not None and same_shape(source.dims, shape):
        return source
    return source.reshape(*shape)


def _only_reshapes(node: Node) -> bool:
    """Whether a subscript only adds axes of size 1 and drops such."""
    index = index_of(node)
    if index is None:
        return False
    sizes = iter(node.args[0].dims)
    pairs = [(i, 1 if i is None else next(sizes)) for i in index]
    return all(i is None or i == slice(None) or (i in (0, -1) and n == 1) for i, n in pairs)


def _moved_ones(node: Node) -> Value | None:
    """A reshape of a part that only moves, adds or drops axes of size 1 is a subscript."""
    inner = produced_by(node.args[0], "getitem")
    index = index_of(inner) if inner is not None else None
    if inner is None or index is None or node.output.shape is None or not single_use(inner.output):
        return None
    sizes = iter(d for i, d in zip(_kept(index), inner.output.dims, strict=True) if i is not None)
    out: list[Any] = []
    wanted = list(node.output.dims)
    for entry in index:
        if entry is None:
            continue
        if not isinstance(entry, slice):
            out.append(entry)
            continue
        size = next(sizes)
        while wanted and is_static(wanted[0]) and wanted[0] == 1 and not dims_equal(size, 1):
            out.append(None)
            wanted.pop(0)
        if not wanted or not dims_equal(wanted.pop(0), size):
            return None
        out.append(entry)
    if any(not is_static(d) or d != 1 for d in wanted):
        return None
    out += [None] * len(wanted)
    return call("getitem", inner.args[0], short(tuple(out)))


def _kept(index: tuple[Any, ...]) -> list[Any]:
    """The entries of a subscript that have an axis in the result."""
    return [i for i in index if i is None or isinstance(i, slice)]


def index_of(node: Node) -> tuple[Any, ...] | None:
    """A call as a subscript of ints, plain slices and ``None``, one entry for every axis of the
    operand.

    None for subscripts by arrays.
    """
    x: Any = node.args[0]
    if not isinstance(x, Value) or x.shape is None:
        return None
    if node.target == "mx.expand_dims":
        axis = node.args[1]
        axes = {a % node.output.ndim for a in ((axis,) if isinstance(axis, int) else axis)}
        return tuple(None if i in axes else slice(None) for i in range(node.output.ndim))
    if node.target == "mx.squeeze":
        axis = argument(node, 1, "axis")
        if axis is None:
            return None
        axes = {a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis)}
        return tuple(0 if i in axes else slice(None) for i in range(x.ndim))
    index: Any = node.args[1]
    index = index if isinstance(index, tuple) else (index,)
    if any(isinstance(i, (Value, tuple, bool)) for i in index):
        return None
    used = sum(1 for i in index if i is not None and i is not Ellipsis)
    fill = (slice(None),) * (x.ndim - used)
    if Ellipsis in index:
        at = index.index(Ellipsis)
        return _plain((*index[:at], *fill, *index[at + 1 :]))
    return _plain((*index, *fill))


def _plain(index: tuple[Any, ...]) -> tuple[Any, ...]:
    """``0:`` and ``::1`` as ``:``."""

    def plain(i: Any) -> Any:
        if not isinstance(i, slice):
            return i
        step = None if i.step == 1 else i.step
        return slice(None if i.start == 0 and step is None else i.start, i.stop, step)

    return tuple(plain(i) for i in index)


def _subscripts(node: Node) -> Value | None:
    inner = produced_by(node.args[0], *_INDEXING)
    if inner is None:
        return None
    first, second = index_of(inner), index_of(node)
    if first is None or second is None:
        return None
    index = compose(first, second)
    if index is None:
        return None
    source: Value = inner.args[0]
    if all(i == slice(None) for i in index):
        return source
    if not single_use(inner.output) and any(i not in (None, slice(None)) for i in first):
        return None  # a part that others read too has a meaning of its own
    out: Value = call("getitem", source, short(index))
    out.shape = node.output.shape  # sizes that data decides may be written in another way
    return out


def short(index: tuple[Any, ...]) -> tuple[Any, ...]:
    """A full subscript as one writes it: no whole slices at its end, ``...`` before the last."""
    last = len(index)
    while last > 1 and index[last - 1] == slice(None):
        last -= 1
    kept = index[:last]
    lead = next((n for n, i in enumerate(kept) if i != slice(None)), 0)
    if last == len(index) and lead >= 2:
        return (Ellipsis, *kept[lead:])
    return kept


def compose(first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The subscript that does ``x[first][second]``; None where unknown bounds would be added."""
    out: list[Any] = []
    rest = iter(second)
    for entry in first:
        if not (entry is None or isinstance(entry, slice)):
            out.append(entry)
            continue
        following = next(rest, slice(None))
        while following is None:
            out.append(None)
            following = next(rest, slice(None))
        merged = _merge(entry, following)
        if merged is False:
            return None
        if merged != ():
            out.append(merged)
    out.extend(rest)
    return tuple(out)


def _merge(entry: Any, following: Any) -> Any:
    """One axis twice subscripted; ``()`` if it comes and goes, False where that cannot be said."""
    if entry is None:
        if following == slice(None):
            return None
        return () if following in (0, -1) and is_static(following) else False
    if following == slice(None):
        return entry
    if entry == slice(None):
        return following
    return _merge_known(entry, following)


def _merge_known(entry: slice, following: Any) -> Any:
    start, step = entry.start or 0, 1 if entry.step is None else entry.step
    if not isinstance(following, slice):
        known = all(isinstance(n, int) for n in (start, step, following))
        return (
            start + step * following
            if known and start >= 0 and step > 0 and following >= 0
            else False
        )
    parts = (start, step, following.start or 0, following.step or 1)
    if not all(isinstance(n, int) and n >= 0 for n in parts) or step != 1:
        return False
    a, b = following.start or 0, following.stop
    if b is None:
        stop = entry.stop
    elif isinstance(b, int) and b >= 0 and (entry.stop is None or isinstance(entry.stop, int)):
        if entry.stop is not None and entry.stop < 0:
            return False
        stop = start + b if entry.stop is None else min(start + b, entry.stop)
    else:
        return False
    return slice(start + a or None, stop, following.step)
