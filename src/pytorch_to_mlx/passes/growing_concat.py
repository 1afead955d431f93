"""Concatenations that grow by one array at a time, as one array that grows.

A dense block hands every layer a list of all arrays so far, and each layer joins them.

Given::

    %a = mx.concatenate((%x, %p), axis=-1)         # model.layer2
    %b = mx.concatenate((%x, %p, %q), axis=-1)     # model.layer3

Result: the model joins them, and each layer has one argument::

    %a = mx.concatenate((%x, %p), axis=-1)         # model
    %b = mx.concatenate((%a, %q), axis=-1)         # model
"""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Frame, Graph, Node, Value
from pytorch_to_mlx.passes.base import PassReport

Key = tuple[Any, ...]


def run(graph: Graph, report: PassReport) -> None:
    """Rewrites each concatenation whose arguments begin with all those of an earlier one."""
    joined: dict[Key, Node] = {}
    for node in list(graph.nodes):
        parts = _parts(node)
        if parts is None:
            continue
        axis = node.kwargs.get("axis", 0)
        earlier = joined.get((axis, *parts[:-1]))
        joined.setdefault((axis, *parts), node)
        if earlier is None or not earlier.output.uses:
            continue
        scope = _common(earlier.scope, node.scope)
        if not (_hoist(graph, earlier, scope) and _hoist(graph, node, scope)):
            continue
        node.set_args(((earlier.output, parts[-1]),))
        report.applied += 1


def _parts(node: Node) -> tuple[Value, ...] | None:
    if node.target != "mx.concatenate" or len(node.args) != 1:
        return None
    parts = node.args[0]
    arrays = isinstance(parts, tuple) and all(isinstance(v, Value) for v in parts)
    return parts if arrays and len(parts) > 1 else None


def _common(a: tuple[Frame, ...], b: tuple[Frame, ...]) -> tuple[Frame, ...]:
    same = 0
    while same < min(len(a), len(b)) and a[same] == b[same]:
        same += 1
    return a[:same]


def _hoist(graph: Graph, node: Node, scope: tuple[Frame, ...]) -> bool:
    """Moves a node out to an enclosing module, before the call that it was made in.

    Not where what it joins is made within that call.
    """
    if node.scope == scope:
        return True
    depth = len(scope) + 1
    call = node.scope[:depth]
    if any(v.node is not None and v.node.scope[:depth] == call for v in node.inputs()):
        return False
    start = next(i for i, n in enumerate(graph.nodes) if n.scope[:depth] == call)
    graph.nodes.remove(node)  # which stands at or after the start
    graph.nodes.insert(start, node)
    node.scope = scope
    return True
