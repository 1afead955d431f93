"""``(x - mean) / sqrt(var + eps) * weight + bias`` written out becomes ``mx.fast.layer_norm``.

Given::

    %1 = mx.mean(%0, axis=-1, keepdims=True)
    %2 = mx.subtract(%0, %1)
    %3 = mx.square(%2)
    %4 = mx.mean(%3, axis=-1, keepdims=True)
    %5 = mx.rsqrt(%4 + eps)
    %6 = %2 * %5 * @weight + @bias

Result::

    %1 = mx.fast.layer_norm(%0, @weight, @bias, eps)

The variance must be the biased one (``mx.var`` without ``ddof``) over the last axis, and ``eps``
inside the root: ``(x - mean) / (std + eps)`` is another function and is refused.
"""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Graph, Node, Value, call, dims_equal
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import (
    apply,
    argument,
    cast_to,
    is_array,
    number,
    over_last_axis,
    pairs,
    produced_by,
    single_use,
    uncast,
    weight_only,
    weights_of,
    without_casts,
)


def run(graph: Graph, report: PassReport) -> None:
    """First the normalisation itself, then its weight, then its bias."""
    weights = weights_of(graph)

    def normalised(node: Node) -> Value | None:
        found = _normalised(node, report)
        if found is None:
            return None
        x, eps = found
        return cast_to(call("mx.fast.layer_norm", x, None, None, eps), node.output.dtype)

    def affine(node: Node) -> Value | None:
        at = 1 if node.target == "mx.multiply" else 2
        for y, w in pairs(node):
            made = produced_by(y, "mx.fast.layer_norm")
            if made is None or made.args[at] is not None or not single_use(y):
                continue
            if made.args[2] is not None or not single_use(made.output):
                continue
            x: Any = made.args[0]
            if not is_array(w) or w.ndim != 1 or not dims_equal(w.dims[0], x.dims[-1]):
                continue
            if not weight_only(w, weights) or w.dtype != x.dtype:
                continue
            args = list(made.args)
            args[at] = w
            return call("mx.fast.layer_norm", *args)
        return None

    def cast(node: Node) -> Value | None:
        return without_casts(node, "mx.fast.layer_norm")

    apply(graph, report, ("mx.multiply", "mx.divide"), normalised)
    apply(graph, report, ("mx.astype",), cast)
    apply(graph, report, ("mx.multiply",), affine)
    apply(graph, report, ("mx.add",), affine)
    apply(graph, report, ("mx.astype",), cast)


def _normalised(node: Node, report: PassReport) -> tuple[Value, float] | None:
    if node.target == "mx.divide":
        centred, below = node.args
        root = produced_by(below, "mx.sqrt")
        if root is None and _centre(centred) is not None and _adds_to_deviation(below):
            report.refuse(node, "eps is added to the standard deviation, not to the variance")
        candidates = [(centred, root)]
    else:
        candidates = [(c, produced_by(r, "mx.rsqrt")) for c, r in pairs(node)]
    for centred, root in candidates:
        x = _centre(centred)
        if x is None or root is None:
            continue
        inner = produced_by(root.args[0], "mx.add")
        for var, eps in pairs(inner) if inner is not None else ():
            value = number(eps)
            if isinstance(value, float) and _is_variance(var, x, centred):
                return x, value
    return None


def _centre(centred: Any) -> Value | None:
    """``x`` of ``x - mean(x)`` over the last axis."""
    made = produced_by(centred, "mx.subtract")
    if made is None or not is_array(made.args[0]):
        return None
    x = made.args[0]
    mean = produced_by(uncast(made.args[1]), "mx.mean")
    if (
        mean is None
        or uncast(mean.args[0]) is not uncast(x)
        or not over_last_axis(mean, keepdims=True)
    ):
        return None
    return x


def _is_variance(var: Any, x: Value, centred: Any) -> bool:
    var = uncast(var)  # of half types, means and variances are taken in float32
    made = produced_by(var, "mx.var")
    if made is not None:
        return (
            uncast(made.args[0]) is uncast(x)
            and over_last_axis(made, keepdims=True)
            and argument(made, 3, "ddof", 0) == 0
        )
    mean = produced_by(var, "mx.mean")
    if mean is None or not over_last_axis(mean, keepdims=True):
        return False
    square = produced_by(uncast(mean.args[0]), "mx.square", "mx.power", "mx.multiply")
    if square is None:
        return False
    base = square.args[0]
    if square.target == "mx.power" and number(square.args[1]) != 2:
        return False
    if square.target == "mx.multiply" and square.args[1] is not base:
        return False
    return base is centred or _centre(base) is x


def _adds_to_deviation(below: Any) -> bool:
    inner = produced_by(below, "mx.add")
    return inner is not None and any(
        produced_by(a, "mx.std", "mx.sqrt") is not None and number(b) is not None
        for a, b in pairs(inner)
    )
