"""Chains of reshapes and transposes take the shortest way.

Given (``%0`` is [B, T, 32])::

    %1 = mx.transpose(%0, (1, 0, 2))
    %2 = mx.reshape(%1, (T, 4 * B, 8))
    %3 = mx.transpose(%2, (1, 0, 2))
    %4 = mx.reshape(%3, (B, 4, T, 8))

Result::

    %3 = mx.reshape(%0, (B, T, 4, 8))
    %4 = mx.transpose(%3, (0, 2, 1, 3))

A chain says only which factors of its source make up which axis of its result; at most one
reshape, one transpose and one reshape do that. Chains that are no longer than this stay.
"""

from __future__ import annotations

from pytorch_to_mlx.graph import Graph, Node, Value
from pytorch_to_mlx.passes import axes
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import apply, single_use


def run(graph: Graph, report: PassReport) -> None:
    """Shortens every chain of views, at its last one."""
    apply(graph, report, axes.VIEWS, _shortest)


def _shortest(node: Node) -> Value | None:
    if single_use(node.output) and node.output.users[0].target in (*axes.VIEWS, "mx.broadcast_to"):
        return None  # not the last, or an axis that is repeated: grouped_query looks behind it
    chain = axes.trace(node.output)
    if chain is None or chain.nodes < 2:
        return None
    plan = axes.plan(chain)
    return plan.build(chain.source) if plan.nodes < chain.nodes else None
