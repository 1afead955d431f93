"""Masks of attention stay as small as attention takes them.

Given (``%1`` is all true, ``%2`` is [B, 1, 1, S], ``%bias`` is [T, S, 1, H])::

    %1 = mx.greater_equal(mx.reshape(mx.arange(T), (1, 1, T, 1)), 0)
    %3 = mx.logical_and(%1, %2)                                       # [B, 1, T, S]
    %4 = mx.transpose(mx.broadcast_to(%bias, (T, S, B, H)), (2, 3, 0, 1))
    %5 = mx.where(%3, %4, -3e38)
    %6 = mx.fast.scaled_dot_product_attention(%q, %k, %v, scale=1.0, mask=%5)

Result::

    %4 = mx.transpose(%bias, (2, 3, 0, 1))
    %5 = mx.where(%2, %4, -3e38)

Attention broadcasts its mask over batches, heads and queries. Only values that nothing but masks
is made of change their shape; conditions that always hold are recognised by their values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pytorch_to_mlx.graph import Builder, Graph, Node, Value, call
from pytorch_to_mlx.graph.infer import infer
from pytorch_to_mlx.passes import evaluate
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import MASKED_ROWS, graphs, is_array, pairs, reroute, same_shape

ATTENTION = "mx.fast.scaled_dot_product_attention"
_FOLLOWS = {
    f"mx.{name}"
    for name in (
        "add subtract multiply divide maximum minimum where logical_and logical_or logical_not "
        "equal not_equal less less_equal greater greater_equal negative astype transpose "
        "broadcast_to"
    ).split()
}
"""Calls whose result may have smaller axes when their operands have."""


def run(graph: Graph, report: PassReport) -> None:
    """Drops repeats and conditions that always hold from everything that only masks read."""
    seen: dict[Value, bool] = {}
    for g in graphs(graph):
        masks = _mask_only(g)
        changed: set[Value] = set()
        with Builder(g) as builder:
            for node in list(g.nodes):
                if len(node.outputs) != 1 or node.output not in masks:
                    continue
                if changed.intersection(node.inputs()):
                    _reshape(node, changed)
                with builder.before(node):
                    new = _smaller(node, graph, seen)
                if new is not None:
                    changed.add(new)
                    reroute(graph, node.output, new)
                    report.applied += 1


def is_mask(user: Node, value: Value) -> bool:
    """Whether a call reads the value as attention's mask and as nothing else."""
    if user.target in MASKED_ROWS:
        return user.args[1] is value and user.args[0] is not value
    used = user.target == ATTENTION and user.kwargs.get("mask") is value
    return used and not any(a is value for a in user.args)


def _mask_only(g: Graph) -> set[Value]:
    """Values that reach nothing but masks."""
    found: set[Value] = set()
    for node in reversed(g.nodes):
        if len(node.outputs) != 1 or not is_array(node.output) or node.output.shape is None:
            continue
        users = node.output.users
        if users and all(is_mask(u, node.output) or _follows(u, found) for u in users):
            found.add(node.output)
    return found


def _follows(user: Node, found: set[Value]) -> bool:
    return user.target in _FOLLOWS and user.output in found


def _reshape(node: Node, changed: set[Value]) -> None:
    """A call's own shape after its operands have become smaller."""
    if node.target == "mx.broadcast_to":
        return  # it still gives the shape that it names
    ((shape, _),) = infer(node)
    old = node.output.shape
    if shape is not None and old is not None and not same_shape(shape, old):
        node.output.shape = shape
        changed.add(node.output)


def _smaller(node: Node, graph: Graph, seen: dict[Value, bool]) -> Value | None:
    """What may stand for the result of a repeat, or of a joint with what always holds."""
    if node.target == "mx.broadcast_to":
        return _lifted(node.args[0], node.output.ndim)
    if node.target != "mx.logical_and":
        return None
    for other, part in pairs(node):
        if is_array(other) and is_array(part) and _always(part, graph, seen):
            return _lifted(other, node.output.ndim) if other.dtype == "bool" else None
    return None


def _lifted(x: Any, rank: int) -> Value | None:
    if not is_array(x):
        return None
    lead = (None,) * (rank - x.ndim)
    return call("getitem", x, lead) if lead else x


def _always(value: Value, graph: Graph, seen: dict[Value, bool]) -> bool:
    """Whether a condition depends on sizes alone and holds everywhere."""
    if value not in seen:
        found = evaluate.tables(value, graph) if value.dtype == "bool" else None
        seen[value] = found is not None and all(
            t.dtype == np.bool_ and bool(t.all()) for t in found
        )
    return seen[value]
