"""Work on rows leaves the leading axes as they are.

Given (``%0`` is [B, T, 32])::

    %1 = mx.reshape(%0, (B * T, 32))
    %2 = ops.linear(nn.relu(ops.linear(mx.fast.layer_norm(%1, ...), ...)), ...)
    %3 = mx.add(%1, %2)
    %4 = mx.reshape(%3, (B, T, 32))

Result: the same calls on ``%0``, and ``%3`` in place of ``%4``. All that lies between must treat
each row alone, take no other array with rows, and end in reshapes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pytorch_to_mlx.graph import Graph, Node, Value, dims_equal
from pytorch_to_mlx.graph.dims import Dim, product
from pytorch_to_mlx.graph.infer import infer
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import (
    axes_of,
    graphs,
    is_array,
    produced_by,
    reroute,
    same_shape,
)

ELEMENTWISE = {
    f"mx.{name}"
    for name in (
        "add subtract multiply divide maximum minimum power where astype negative abs exp log "
        "sqrt rsqrt square tanh sigmoid sin cos erf reciprocal clip equal not_equal less "
        "less_equal greater greater_equal logical_and logical_or logical_not"
    ).split()
} | {f"nn.{name}" for name in "relu silu gelu gelu_approx softplus leaky_relu elu tanh".split()}
_BY_ROW = {"ops.linear", "mx.fast.layer_norm", "mx.fast.rms_norm", "mx.softmax"}
"""Calls on the last axis of their first argument; the others are weights."""


@dataclass
class _Region:
    """Flattened values, the calls between them, and the reshapes that lead in and out."""

    lead: tuple[Dim, ...]
    rows: Dim
    members: set[Node]  # the nodes of the graph that holds the region
    values: set[Value] = field(default_factory=set)
    entries: list[Node] = field(default_factory=list)
    calls: set[Node] = field(default_factory=set)
    exits: list[Node] = field(default_factory=list)

    def grow(self, start: Value) -> bool:
        """Collects what is connected to ``start``; False where something is not by rows."""
        stack = [start]
        while stack:
            v = stack.pop()
            if v in self.values:
                continue
            self.values.add(v)
            more = self._made_of(v)
            if more is None or v.ndim != 2 or not dims_equal(v.dims[0], self.rows):
                return False
            stack += more
            for user in v.users:
                if user.target == "mx.reshape" and user in self.members:
                    self.exits.append(user)
                    continue
                if user not in self.members or self._operands(user) is None:
                    return False
                stack.append(user.output)
        return True

    def _made_of(self, v: Value) -> list[Value] | None:
        """The flattened operands of what makes a value; None where it is no work on rows."""
        if v.node is None or v.node not in self.members:
            return None
        if v.node.target == "mx.reshape" and _flattens(v.node):
            self.entries.append(v.node)
            return [] if same_shape(v.node.args[0].dims[:-1], self.lead) else None
        operands = self._operands(v.node)
        if operands is not None:
            self.calls.add(v.node)
        return operands

    def _operands(self, node: Node) -> list[Value] | None:
        """The arguments of a call that have rows; None where the call mixes them."""
        if len(node.outputs) != 1 or node.output.shape is None:
            return None
        arrays = [a for a in (*node.args, *node.kwargs.values()) if is_array(a)]
        if node.target in _BY_ROW:
            first, others = arrays[0], arrays[1:]
            if first is not node.args[0] or any(a in self.values for a in others):
                return None
            return [first] if node.target != "mx.softmax" or _last_axis(node) else None
        if node.target not in ELEMENTWISE or any(a.shape is None or a.ndim > 2 for a in arrays):
            return None
        return [a for a in arrays if a.ndim == 2]


def run(graph: Graph, report: PassReport) -> None:
    """Unflattens every region of work on rows."""
    for g in graphs(graph):
        members = set(g.nodes)
        for node in list(g.nodes):
            if node.target != "mx.reshape" or not node.output.uses or not _flattens(node):
                continue
            source: Any = node.args[0]
            region = _Region(source.dims[:-1], node.output.dims[0], members)
            if region.grow(node.output) and any(_undoes(e, region) for e in region.exits):
                _unflatten(graph, g, region)
                report.applied += 1


def _flattens(node: Node) -> bool:
    """``[B, T, D]`` to ``[B * T, D]``."""
    x: Any = node.args[0]
    if not is_array(x) or x.shape is None or node.output.shape is None:
        return False
    if x.ndim < 3 or node.output.ndim != 2:
        return False
    rows, features = node.output.dims
    return dims_equal(features, x.dims[-1]) and dims_equal(product(x.dims[:-1]), rows)


def _undoes(node: Node, region: _Region) -> bool:
    return node.output.shape is not None and same_shape(
        node.output.dims, (*region.lead, node.args[0].dims[-1])
    )


def _last_axis(softmax: Node) -> bool:
    axis = softmax.args[1] if len(softmax.args) > 1 else softmax.kwargs.get("axis")
    return axes_of(axis, softmax.output.ndim) == (softmax.output.ndim - 1,)


def _unflatten(root: Graph, g: Graph, region: _Region) -> None:
    for node in region.entries:
        reroute(root, node.output, node.args[0])
    for node in [n for n in g.nodes if n in region.calls]:
        if node.target == "mx.softmax":
            node.set_args(node.args[:1], {**node.kwargs, "axis": -1})
        ((shape, _),) = infer(node)
        node.output.shape = shape
    for node in region.exits:
        if produced_by(node.output, "mx.reshape") is node and _undoes(node, region):
            reroute(root, node.output, node.args[0])
