"""A factor on the queries or keys joins the scale of the attention.

Given::

    %1 = mx.multiply(%q, 0.125)
    %2 = mx.transpose(mx.reshape(%1, ...), (0, 2, 1, 3))
    %3 = mx.fast.scaled_dot_product_attention(%2, %k, %v, scale=1.0)

Result: ``%q`` is reshaped and transposed as it is, and ``scale=0.125``.
"""

from __future__ import annotations

from pytorch_to_mlx.graph import Graph, Node, Value
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import graphs

_VIEWS = frozenset({"mx.reshape", "mx.transpose", "mx.swapaxes", "mx.expand_dims"})
# In these dtypes the product with the factor rounds differently from the scaled score, by no more
# than one ulp.
_ROUNDED = ("float16", "bfloat16", "float32")


def run(graph: Graph, report: PassReport) -> None:
    """Absorbs constant factors of every attention's queries and keys."""
    for g in graphs(graph):
        for node in list(g.nodes):
            if node.target != "mx.fast.scaled_dot_product_attention":
                continue
            for position in (0, 1):
                factor = _absorb(graph, node.args[position])
                if factor is not None:
                    node.set_args(
                        None, {**node.kwargs, "scale": float(node.kwargs["scale"]) * factor}
                    )
                    report.applied += 1


def _absorb(graph: Graph, value: object) -> float | None:
    """Takes a constant factor out of the views that lead to a value; None where there is none."""
    while isinstance(value, Value) and value.node is not None and sum(value.uses.values()) == 1:
        node = value.node
        if node.target == "mx.multiply":
            return _unscale(graph, node)
        if node.target not in _VIEWS:
            return None
        value = node.args[0]
    return None


def _unscale(graph: Graph, node: Node) -> float | None:
    a, b = node.args
    if isinstance(a, (int, float)):
        a, b = b, a
    same = isinstance(a, Value) and a.dtype == node.output.dtype and a.dtype in _ROUNDED
    if not same or isinstance(b, bool) or not isinstance(b, (int, float)):
        return None
    graph.replace(node.output, a)
    return float(b)
