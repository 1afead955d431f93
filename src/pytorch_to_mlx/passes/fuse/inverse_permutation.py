"""Numbers scattered to where a sort took them from are the inverse of its permutation.

Given (mixtures of experts sort their tokens by expert, and back)::

    %1 = mx.argsort(%0)
    %2 = mx.astype(%1, int64)
    %3 = ops.index_put(mx.zeros_like(%2), (%2,), mx.arange(N))     # or ops.scatter

Result: ``%3 = mx.argsort(%2)``. The indices must be a permutation (those of a whole sort are), and
as many as there are numbers.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Graph, Node, Value, call, dims_equal
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import apply, argument, produced_by, same_shape


def run(graph: Graph, report: PassReport) -> None:
    """Replaces every scatter of a whole range at a permutation."""
    apply(graph, report, ("ops.index_put",), _inverse)
    apply(graph, report, ("ops.scatter",), _scattered)


def _inverse(node: Node) -> Value | None:
    x, indices, values = node.args[:3]
    if argument(node, 3, "accumulate", False) or len(indices) != 1:
        return None
    order: Any = indices[0]
    if not _is_permutation(order) or not _counts_from_zero(values, order.dims[0]):
        return None
    if not isinstance(x, Value) or not same_shape(x.dims, order.dims):
        return None
    return call(mx.argsort, order).astype(DType(str(node.output.dtype)))


def _scattered(node: Node) -> Value | None:
    """The same by ``ops.scatter``, along the only axis."""
    x, axis, order, values = node.args[:4]
    if len(node.args) > 4 or node.kwargs or axis not in (0, -1) or not isinstance(x, Value):
        return None
    if not isinstance(order, Value) or x.shape is None or x.ndim != 1 or order.ndim != 1:
        return None
    if not _is_permutation(order) or not _counts_from_zero(values, order.dims[0]):
        return None
    if not same_shape(x.dims, order.dims):
        return None
    return call(mx.argsort, order).astype(DType(str(node.output.dtype)))


def _is_permutation(order: Any) -> bool:
    """Whether an array holds the places of a one-dimensional sort."""
    cast = produced_by(order, "mx.astype")
    if cast is not None and order.dtype == "int64":
        order = cast.args[0]
    sort = produced_by(order, "ops.sort")
    if sort is not None:
        return order.index == 1 and order.ndim == 1
    made = produced_by(order, "ops.argsort", "mx.argsort")
    return made is not None and order.ndim == 1


def _counts_from_zero(values: Any, length: Any) -> bool:
    made = produced_by(values, "mx.arange")
    if made is None or len(made.args) > 1 or set(made.kwargs) - {"dtype"}:
        return False
    return dims_equal(made.args[0], length)
