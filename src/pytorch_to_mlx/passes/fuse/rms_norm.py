"""``x * rsqrt(mean(x^2) + eps) * weight`` becomes ``mx.fast.rms_norm``.

Given::

    %1 = mx.astype(%0, float32)          # where x has less precision
    %2 = mx.square(%1)
    %3 = mx.mean(%2, axis=-1, keepdims=True)
    %4 = mx.add(%3, 1e-06)
    %5 = mx.rsqrt(%4)
    %6 = mx.multiply(%1, %5)
    %7 = mx.astype(%6, bfloat16)
    %8 = mx.multiply(@weight, %7)

Result::

    %1 = mx.fast.rms_norm(%0, @weight, 1e-06)

A derived weight (Gemma's ``1 + w``) is folded at conversion; without one the weight is ``None``.
The mean must run over the last axis, and the sum of squares is no mean.
"""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Graph, Node, Value, call, dims_equal
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import (
    apply,
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
    """First the normalisation itself, then the weight that scales it."""
    weights = weights_of(graph)

    def normalised(node: Node) -> Value | None:
        found = _normalised(node)
        if found is None:
            return None
        x, eps = found
        return cast_to(call("mx.fast.rms_norm", x, None, eps), node.output.dtype)

    def weighted(node: Node) -> Value | None:
        for y, w in pairs(node):
            made = produced_by(y, "mx.fast.rms_norm")
            if made is None or made.args[1] is not None or not is_array(w):
                continue
            x: Any = made.args[0]
            if not weight_only(w, weights) or w.ndim != 1 or not dims_equal(w.dims[0], x.dims[-1]):
                continue
            if w.dtype != x.dtype:
                continue
            if not single_use(y):
                report.refuse(node, "the normalised value is used without its weight as well")
                continue
            return call("mx.fast.rms_norm", x, w, made.args[2])
        return None

    def cast(node: Node) -> Value | None:
        return without_casts(node, "mx.fast.rms_norm")

    apply(graph, report, ("mx.multiply", "mx.divide"), normalised)
    apply(graph, report, ("mx.astype",), cast)
    apply(graph, report, ("mx.multiply",), weighted)
    apply(graph, report, ("mx.astype",), cast)


def _normalised(node: Node) -> tuple[Value, float] | None:
    """``(x, eps)`` of ``x * rsqrt(m)`` or ``x / sqrt(m)`` with ``m = mean(x^2) + eps``."""
    if node.target == "mx.divide":
        root = produced_by(node.args[1], "mx.sqrt")
        candidates = [(node.args[0], root)]
    else:
        candidates = [(x, produced_by(r, "mx.rsqrt")) for x, r in pairs(node)]
    for x, root in candidates:
        if root is None or not is_array(x):
            continue
        inner = produced_by(root.args[0], "mx.add")
        for mean, eps in pairs(inner) if inner is not None else ():
            value = number(eps)
            squared = _mean_of_square(mean)
            if isinstance(value, float) and squared is not None and _same(squared, x):
                return x, value
    return None


def _same(a: Value, b: Any) -> bool:
    """The same value, or one cast of it apart."""
    return a is b or uncast(a) is uncast(b)


def _mean_of_square(mean: Any) -> Value | None:
    made = produced_by(uncast(mean), "mx.mean")  # of half types, taken in float32
    if made is None or not over_last_axis(made, keepdims=True):
        return None
    square = produced_by(uncast(made.args[0]), "mx.square", "mx.power", "mx.multiply")
    if square is None:
        return None
    x: Any = square.args[0]
    if square.target == "mx.power" and number(square.args[1]) != 2:
        return None
    if square.target == "mx.multiply" and square.args[1] is not x:
        return None
    return x if is_array(x) else None
