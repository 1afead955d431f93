"""A transpose behind a linear layer goes in front of it, where that shortens the views there.

Given (attention gives ``%0`` [B, 4, T, 8]; torch wants its rows time first)::

    %1 = mx.reshape(mx.transpose(%0, (2, 0, 1, 3)), (T, B, 32))
    %2 = ops.linear(%1, @weight)
    %3 = mx.transpose(%2, (1, 0, 2))

Result::

    %1 = mx.reshape(mx.transpose(%0, (0, 2, 1, 3)), (B, T, 32))
    %3 = ops.linear(%1, @weight)
"""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Graph, Node, Value, call
from pytorch_to_mlx.passes import axes
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.clean.views import permutation
from pytorch_to_mlx.passes.match import apply, produced_by, single_use


def run(graph: Graph, report: PassReport) -> None:
    """Moves transposes that leave the features last."""
    apply(graph, report, ("mx.transpose",), _in_front)


def _in_front(node: Node) -> Value | None:
    linear = produced_by(node.args[0], "ops.linear")
    order = permutation(node)
    if linear is None or not single_use(linear.output) or order[-1] != len(order) - 1:
        return None
    x: Any = linear.args[0]
    chain = axes.trace(x)
    if chain is None or not chain.nodes or not single_use(x):
        return None
    chain.transpose(order)
    plan = axes.plan(chain)
    if plan.nodes > chain.nodes:
        return None
    rows = plan.build(chain.source)
    out: Value = call("ops.linear", rows, *linear.args[1:], **linear.kwargs)
    return out
