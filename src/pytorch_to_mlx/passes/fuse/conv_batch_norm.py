"""Folds an eval batch norm into the convolution (or linear) before it.

Given::

    %1 = ops.conv2d(%0, @weight, @bias, padding=1)
    %2 = ops.batch_norm(%1, @mean, @var, @gamma, @beta, 1e-05)

Result (with ``s = gamma * rsqrt(var + eps)``, all of it computed at conversion)::

    %1 = ops.conv2d(%0, @weight * s, (@bias - @mean) * s + @beta, padding=1)

Only where nothing else reads the convolution and the statistics are stored ones.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Graph, Node, Value, call
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import (
    apply,
    argument,
    cast_to,
    produced_by,
    single_use,
    weight_only,
    weights_of,
)

_CONVOLUTIONS = (*(f"ops.conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)), "ops.linear")


def run(graph: Graph, report: PassReport) -> None:
    """Folds every batch norm that directly follows a convolution."""
    weights = weights_of(graph)

    def rule(node: Node) -> Value | None:
        conv = produced_by(node.args[0], *_CONVOLUTIONS)
        if conv is None:
            return None
        names = ("mean", "var", "weight", "bias")
        mean, var, gamma, beta = (argument(node, i + 1, n) for i, n in enumerate(names))
        weight, bias = argument(conv, 1, "weight"), argument(conv, 2, "bias")
        stored = [v for v in (mean, var, gamma, beta, weight, bias) if v is not None]
        if not all(weight_only(v, weights) for v in stored):
            report.refuse(node, "the statistics or weights are computed or changed at run time")
            return None
        if not single_use(conv.output):
            report.refuse(node, "the convolution's result is used elsewhere as well")
            return None
        scale = call(mx.rsqrt, var + argument(node, 5, "eps", 1e-5))
        scale = scale if gamma is None else scale * gamma
        folded = cast_to(weight * scale.reshape(-1, *(1,) * (weight.ndim - 1)), weight.dtype)
        shift: Any = -mean if bias is None else bias - mean
        shift = shift * scale
        shift = cast_to(shift if beta is None else shift + beta, weight.dtype)
        kwargs = {k: v for k, v in conv.kwargs.items() if k not in ("weight", "bias")}
        return call(conv.target, conv.args[0], folded, shift, *conv.args[3:], **kwargs)

    apply(graph, report, ("ops.batch_norm",), rule)
