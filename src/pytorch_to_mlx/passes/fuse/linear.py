"""Products with a weight matrix become ``ops.linear`` (later ``nn.Linear``).

Given::

    %2 = mx.transpose(@weight, (1, 0))
    %3 = mx.matmul(%1, %2)
    %4 = mx.add(%3, @bias)

Result::

    %2 = ops.linear(%1, @weight, @bias)

Also ``x @ w`` with the weight as it is stored (Hugging Face's Conv1D): ``w.T`` is folded at
conversion. Reshapes that only flatten the leading axes around the product are dropped. Products by
codes in blocks get their biases in the same way.
"""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Graph, Node, Value, call, dims_equal
from pytorch_to_mlx.graph.dims import product
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import (
    apply,
    is_array,
    pairs,
    produced_by,
    same_shape,
    single_use,
    weight_only,
    weights_of,
)

#: Products that take a bias as one more argument, and how many they have without it.
_BARE = {"ops.linear": 2, "ops.matmul_of_blocks": 6}


def run(graph: Graph, report: PassReport) -> None:
    """Finds products with weights, then their biases, then the views around them."""
    weights = weights_of(graph)

    def multiplied(node: Node) -> Value | None:
        x: Any = node.args[0]
        w: Any = node.args[1]
        if not (is_array(x) and is_array(w)) or weight_only(x, weights):
            return None
        if not weight_only(w, weights):
            return None
        if w.ndim == 3 and x.ndim == 3 and w.dims[0] == 1 and x.dims[0] == 1:
            w = call("getitem", w, (0,))
        if w.ndim != 2 or x.ndim < 2 or x.dtype != w.dtype:
            return None
        if w in weights and len(w.uses) > 1:
            report.refuse(node, "its weight is used elsewhere too, and would be stored twice")
            return None
        return call("ops.linear", x, w.transpose(1, 0))

    def bias(node: Node) -> Value | None:
        for y, b in pairs(node):
            made = produced_by(y, *_BARE)
            if made is None or len(made.args) != _BARE[made.target] or not single_use(y):
                continue
            if not is_array(b):
                continue
            if b.dtype != y.dtype or not weight_only(b, weights):
                continue
            if same_shape(b.dims, y.dims[-1:]):
                return call(made.target, *made.args, b)
        return None

    apply(graph, report, ("mx.matmul",), multiplied)
    apply(graph, report, ("mx.add",), bias)
    apply(graph, report, ("mx.reshape", "mx.flatten", "mx.unflatten"), _views)


def _views(node: Node) -> Value | None:
    """``linear(x.reshape(-1, n)).reshape(B, T, m)`` is ``linear`` of ``x`` as ``[B, T, n]``."""
    made = produced_by(node.args[0], "ops.linear")
    if made is None or not single_use(made.output) or node.output.shape is None:
        return None
    flat = produced_by(made.args[0], "mx.reshape", "mx.flatten")
    if flat is None or flat.output.ndim != 2:
        return None
    x: Any = flat.args[0]
    rows, features = flat.output.dims
    shape = node.output.dims
    if len(shape) < 2 or not same_shape(made.output.dims[-1:], shape[-1:]):
        return None
    if not dims_equal(product(shape[:-1]), rows):
        return None
    wanted = (*shape[:-1], features)
    if not same_shape(x.dims, wanted):
        x = x.reshape(*wanted)
    return call("ops.linear", x, *made.args[1:])
