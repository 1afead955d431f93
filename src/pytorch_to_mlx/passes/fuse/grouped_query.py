"""Attention over repeated key and value heads takes them unrepeated.

Given (4 query heads, 2 key heads)::

    %1 = mx.expand_dims(%k, 2)
    %2 = mx.broadcast_to(%1, (B, 2, 2, S, D))
    %3 = mx.reshape(%2, (B, 4, S, D))           # and the same for %v
    %4 = mx.fast.scaled_dot_product_attention(%q, %3, %6, ...)

Result::

    %4 = mx.fast.scaled_dot_product_attention(%q, %k, %v, ...)

MLX gives query head ``h`` the key head ``h // n``. Whether the calls repeat in that order (and not
as ``tile`` does) is seen by running them on numbered heads.
"""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Graph, Node, Value, dims_equal, is_static
from pytorch_to_mlx.passes import evaluate
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import apply, is_array

_STRUCTURAL = (
    "mx.reshape", "mx.broadcast_to", "mx.expand_dims", "getitem", "mx.repeat", "mx.tile",
    "mx.flatten", "mx.unflatten", "mx.concatenate", "mx.stack", "mx.transpose", "mx.squeeze",
    "mx.contiguous",
)  # fmt: skip


def run(graph: Graph, report: PassReport) -> None:
    """Un-repeats the heads of every attention where keys and values are repeated alike."""

    def rule(node: Node) -> Value | None:
        q, k, v = node.args[:3]
        if not all(is_array(x) and x.ndim == 4 for x in (q, k, v)):
            return None
        sources = [_source(x) for x in (k, v)]
        if any(s is None for s in sources):
            if any(s is not None and s.dims[1] != 1 for s in sources):
                report.refuse(node, "keys and values are not repeated alike")
            return None
        for x, s in zip((k, v), sources, strict=True):
            if not _in_order(x, s, report, node):  # type: ignore[arg-type]
                return None
        if sources[0].dims[1] != sources[1].dims[1]:  # type: ignore[union-attr]
            report.refuse(node, "keys and values have different numbers of heads")
            return None
        node.set_args((q, *sources, *node.args[3:]))
        report.applied += 1
        return None

    apply(graph, report, ("mx.fast.scaled_dot_product_attention",), rule)


def _source(x: Value) -> Value | None:
    """The nearest ``[B, fewer heads, S, D]`` behind structural calls."""
    heads = x.dims[1]
    at: Any = x
    while isinstance(at, Value) and at.node is not None and at.node.target in _STRUCTURAL:
        at = at.node.args[0]
        at = at[0] if isinstance(at, tuple) and at else at
        if not is_array(at) or at.shape is None or at.ndim != 4:
            continue
        few = at.dims[1]
        if not (is_static(few) and is_static(heads) and 0 < few < heads and heads % few == 0):
            continue
        if all(
            dims_equal(a, b) for i, (a, b) in enumerate(zip(at.dims, x.dims, strict=True)) if i != 1
        ):
            return at
    return None


def _in_order(x: Value, source: Value, report: PassReport, node: Node) -> bool:
    """Whether ``x`` is ``source`` with each head repeated in place, at two sets of sizes."""
    part = evaluate.slice_of(x, stop=(source,))
    if part is None or part.leaves != (source,):
        return False
    for sizes in evaluate.assignments(part)[:2]:
        shape = evaluate.shape_at(source, sizes)
        if shape is None or 0 in shape:  # nothing would be seen
            return False
        numbered = mx.arange(math.prod(shape)).reshape(shape)
        got = evaluate.run(part, sizes, {source: numbered})
        if got is None:
            return False
        want = mx.repeat(numbered, x.dims[1] // source.dims[1], axis=1)
        if not bool(mx.array_equal(got, want)):
            report.refuse(node, "the heads are repeated in another order than MLX's h // n")
            return False
    return True
