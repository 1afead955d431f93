"""Inverse square roots, which ONNX has no op for: exporters write them as two.

Given::

    %1 = mx.sqrt(%0)
    %2 = mx.reciprocal(%1)           # or mx.divide(1.0, %1)

Result: ``mx.rsqrt(%0)`` in place of ``%2``. Norms are recognised by it.
"""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.graph import Graph, Node, Value, call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import apply, number, produced_by, single_use


def run(graph: Graph, report: PassReport) -> None:
    """Replaces every inverse of a root that is used for nothing else."""
    apply(graph, report, ("mx.reciprocal", "mx.divide"), _inverse)


def _inverse(node: Node) -> Value | None:
    if node.target == "mx.divide" and number(node.args[0]) != 1:
        return None
    root = produced_by(node.args[-1], "mx.sqrt")
    if root is None or not single_use(root.output):
        return None
    inside: Value = root.args[0]
    if inside.dtype != node.output.dtype or not DType(str(inside.dtype)).is_floating:
        return None
    return call(mx.rsqrt, inside)
