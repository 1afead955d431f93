"""Drops broadcasts that the call which reads them does anyway.

Given::

    %1 = mx.broadcast_to(%0, (B, T, 8))     # %0 is [1, T, 8]
    %3 = mx.multiply(%2, %1)                # %2 is [B, T, 8]

Result: ``mx.multiply(%2, %0)``. Every user is judged alone: its result must keep its
shape. Masks of attention need not be repeated over batches and heads either.
"""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Graph, Node
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import MASKED_ROWS, graphs, is_array, keeps_result, same_shape

_BROADCASTING = {
    f"mx.{name}"
    for name in (
        "add subtract multiply divide maximum minimum power floor_divide remainder logaddexp "
        "arctan2 "
        "equal not_equal less less_equal greater greater_equal logical_and logical_or bitwise_and "
        "bitwise_or bitwise_xor where clip matmul"
    ).split()
}

_ATTENTION = "mx.fast.scaled_dot_product_attention"


def run(graph: Graph, report: PassReport) -> None:
    """Lets broadcasting calls read the unexpanded array."""
    for g in graphs(graph):
        for node in list(g.nodes):
            if node.target != "mx.broadcast_to" or not is_array(node.args[0]):
                continue
            for user in node.output.users:
                if (
                    user.target in _BROADCASTING and keeps_result(user, node.output, node.args[0])
                ) or _is_mask(user, node):
                    user.replace_input(node.output, node.args[0])
                    report.applied += 1


def _is_mask(user: Node, node: Node) -> bool:
    """Whether attention reads a mask that is repeated over batches or heads only."""
    mask: Any = node.args[0]
    if user.target in MASKED_ROWS:
        used = user.args[1] is node.output and user.args[0] is not node.output
    else:
        used = user.target == _ATTENTION and user.kwargs.get("mask") is node.output
    return used and mask.ndim >= 2 and same_shape(mask.dims[-2:], node.output.dims[-2:])
