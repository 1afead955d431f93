"""Nearest upsampling by whole factors as repeats.

Given ``x`` of shape [B, H, W, C]::

    %1 = ops.interpolate_nearest(%x, (2*H, 2*W))

Result::

    %1 = mx.repeat(mx.repeat(%x, 2, axis=1), 2, axis=2)
"""

from __future__ import annotations

from typing import Any

import sympy

from pytorch_to_mlx.graph import Builder, Graph, Node, Value, call
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import graphs, substitute

# torch's float32 steps fall into the same cells as exact ones up to this factor.
LARGEST_FACTOR = 16


def run(graph: Graph, report: PassReport) -> None:
    """Replaces resizes whose every factor is a whole number at all sizes."""
    for g in graphs(graph):
        with Builder(g) as builder:
            for node in list(g.nodes):
                if node.target != "ops.interpolate_nearest" or not node.output.uses:
                    continue
                factors = _factors(node)
                if factors is None:
                    report.refuse(node, "its factors are no whole numbers at every size")
                    continue
                with builder.before(node):
                    out = node.args[0]
                    for axis, factor in enumerate(factors, start=1):
                        out = call("mx.repeat", out, factor, axis=axis) if factor > 1 else out
                if isinstance(out, Value) and out is not node.args[0]:
                    substitute(graph, node.output, out)
                    report.applied += 1


def _factors(node: Node) -> list[int] | None:
    x, size = node.args[0], node.args[1]
    if not isinstance(x, Value) or x.shape is None or not isinstance(size, tuple):
        return None
    found = [_factor(d, s) for d, s in zip(x.dims[1:-1], size, strict=True)]
    scales = node.kwargs.get("scales") or (node.args[2] if len(node.args) > 2 else None)
    given = scales or (None,) * len(found)
    if any(f is None for f in found):
        return None
    fits = all(g is None or g == f for f, g in zip(found, given, strict=True))
    return [f for f in found if f is not None] if fits else None


def _factor(size: Any, count: Any) -> int | None:
    if size == 0:
        return None
    ratio = sympy.cancel(sympy.sympify(count) / sympy.sympify(size))
    whole = ratio.is_Integer and 1 <= int(ratio) <= LARGEST_FACTOR
    return int(ratio) if whole else None
