"""Indices and conditions that depend on sizes alone are recognised by their values.

Given::

    %1 = mx.cumsum(mx.ones((B, T)), axis=1)
    %2 = mx.add(mx.astype(%1, int64), 1)
    %3 = ops.embedding(@positions.weight, %2)
    %5 = mx.where(mx.greater_equal(mx.arange(T), 0), %4, -inf)

Result::

    %2 = mx.arange(2, T + 2)
    %3 = ops.embedding(@positions.weight, %2)     # and broadcast where more axes are wanted
    %4

Ranges and zeros among the indices of embeddings, conditions that always or never hold, and places
that are all of an array's in their order (``x[mx.arange(B)[:, None], mx.arange(T)]``). As with
masks, one of the sizes lies beyond every integer that the calls mention.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.graph import Graph, Node, Value, call
from pytorch_to_mlx.graph.dims import as_dim, dims_equal, product
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes import evaluate
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import apply, is_array, produced_by, same_shape

Array = np.ndarray[Any, Any]


def run(graph: Graph, report: PassReport) -> None:
    """Shortens the indices of embeddings and settles conditions."""
    seen: dict[Value, list[Array] | None] = {}

    def tables(value: Value) -> list[Array] | None:
        if value not in seen:
            seen[value] = evaluate.tables(value, graph)
        return seen[value]

    def embedding(node: Node) -> Value | None:
        weight: Any = node.args[0]
        ids: Any = node.args[1]
        if not is_array(ids) or _is_short(ids) or node.output.shape is None:
            return None
        found = tables(ids)
        short = _indices(ids.dims, found) if found is not None else None
        if short is None:
            return None
        out = call("ops.embedding", weight, short)
        same = same_shape(out.dims, node.output.dims)
        return out if same else call("mx.broadcast_to", out, node.output.dims)

    def condition(node: Node) -> Value | None:
        test: Any = node.args[0]
        yes, no = node.args[1:]
        kept: Any
        found = tables(test) if is_array(test) else None
        if found is None or not all(t.dtype == np.bool_ for t in found):
            return None
        holds = all(t.all() for t in found)
        if not holds and any(t.any() for t in found):
            return None
        kept = yes if holds else no
        if not is_array(kept) or kept.dtype != node.output.dtype:
            return None
        same = same_shape(kept.dims, node.output.dims)
        return kept if same else call("mx.broadcast_to", kept, node.output.dims)

    def places(node: Node) -> Value | None:
        x, indices = node.args[:2]
        if not is_array(x) or not is_array(indices) or len(node.args) > 2:
            return None
        found = tables(indices)
        if found is None or any(t.dtype.kind not in "iu" for t in found):
            return None
        if node.target == "ops.gather_nd":
            return _spread(x, indices, found)
        in_order = all((t.reshape(-1) == np.arange(t.size)).all() for t in found)
        whole = node.kwargs.get("axis") == 0 and dims_equal(x.dims[0], product(indices.dims))
        return x.reshape(*indices.dims, *x.dims[1:]) if in_order and whole else None

    apply(graph, report, ("ops.embedding",), embedding)
    apply(graph, report, ("mx.where",), condition)
    apply(graph, report, ("ops.gather_nd", "mx.take"), places)


def _spread(x: Value, indices: Value, found: list[Array]) -> Value | None:
    """``x`` with axes of size 1, where each column of the indices counts along its own axis."""
    rank, count = indices.ndim - 1, found[0].shape[-1]
    axes: list[int] = []
    for column in range(count):
        first = axes[-1] + 1 if axes else 0
        axis = next(
            (
                a
                for a in range(first, rank)
                if dims_equal(indices.dims[a], x.dims[column])
                and all(_counts(t[..., column], a) for t in found)
            ),
            None,
        )
        if axis is None:
            return None
        axes.append(axis)
    key = tuple(slice(None) if a in axes else None for a in range(rank))
    out: Value = call("getitem", x, key)
    dims = (*indices.dims[:-1], *x.dims[count:])
    return out if same_shape(out.dims, dims) else call("mx.broadcast_to", out, dims)


def _counts(table: Array, axis: int) -> bool:
    """Whether a table's values are the places along one axis."""
    steps = np.arange(table.shape[axis]).reshape(-1, *(1,) * (table.ndim - 1 - axis))
    return bool((table == steps).all())


def _is_short(ids: Any) -> bool:
    return produced_by(ids, "mx.arange", "mx.zeros") is not None


def _indices(dims: tuple[Any, ...], found: list[Array]) -> Value | None:
    """``arange`` or ``zeros`` for indices that are the same along all axes but the last."""
    if not dims or any(t.dtype.kind not in "iu" for t in found):
        return None
    if not any(t.shape[-1] > 1 for t in found):
        return None
    start = int(found[0].flat[0])
    if all((t == start + np.arange(t.shape[-1])).all() for t in found):
        length = dims[-1]
        bounds = (length,) if start == 0 else (start, as_dim(length + start))
        return call(mx.arange, *bounds)
    if all((t == 0).all() for t in found):
        return call(mx.zeros, dims, dtype=DType("int32"))
    return None
