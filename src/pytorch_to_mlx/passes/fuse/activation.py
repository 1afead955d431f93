"""Activation functions written out become the ``nn`` function that they are.

Given::

    %1 = mx.divide(%0, 1.4142135623730951)
    %2 = mx.erf(%1)
    %3 = mx.add(1.0, %2)
    %4 = mx.multiply(%0, 0.5)
    %5 = mx.multiply(%4, %3)

Result::

    %1 = nn.gelu(%0)

The spellings are many, the functions few: a group of elementwise calls of one array and numbers is
computed on a grid of points and compared with the known ones, to float32 rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import mlx.core as mx
import mlx.nn as nn

from pytorch_to_mlx.graph import Graph, Node, Value, call
from pytorch_to_mlx.graph.ir import iter_values
from pytorch_to_mlx.passes import evaluate
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import apply, number, same_shape

_KNOWN: dict[str, Callable[[mx.array], mx.array]] = {
    "nn.silu": nn.silu,
    "nn.gelu": nn.gelu,
    "nn.gelu_approx": nn.gelu_approx,
    "nn.gelu_fast_approx": nn.gelu_fast_approx,
    "nn.softplus": nn.softplus,
    "nn.mish": nn.mish,
    "nn.hardswish": nn.hardswish,
    "nn.log_sigmoid": nn.log_sigmoid,
    "nn.softsign": nn.softsign,
}
_BENDS = (
    "erf",
    "tanh",
    "sigmoid",
    "clip",
    "minimum",
    "maximum",
    "exp",
    "log1p",
    "logaddexp",
    "abs",
)
_BENDS_OF_NN = ("nn.relu6", "nn.softplus", "nn.relu")
_ELEMENTWISE = {
    f"mx.{name}"
    for name in (
        *_BENDS, "add", "subtract", "multiply", "divide", "negative", "power", "square", "log",
        "where", "greater", "less", "greater_equal", "less_equal", "reciprocal",
    )
} | set(_BENDS_OF_NN)  # fmt: skip
_ROOTS = (
    "mx.multiply",
    "mx.divide",
    "mx.where",
    "mx.log",
    "mx.log1p",
    "mx.logaddexp",
    "mx.negative",
)
_DEEPEST = 14


def run(graph: Graph, report: PassReport) -> None:
    """Replaces every group of calls that computes a known activation."""

    def rule(node: Node) -> Value | None:
        if node.output.dtype not in ("float32", "float16", "bfloat16"):
            return None
        for x in _candidates(node):
            name = _recognise(node, x)
            if name is not None:
                return call(name, x)
        return None

    apply(graph, report, _ROOTS, rule)


def _candidates(root: Node) -> list[Value]:
    """Arrays of the root's shape among its elementwise ancestors, the farthest first."""
    seen: dict[Node, None] = {root: None}
    found: dict[Value, None] = {}
    queue = [root]
    while queue and len(seen) <= _DEEPEST:
        node = queue.pop(0)
        for v in iter_values(node.args):
            if v.kind != "array" or number(v) is not None:
                continue
            alike = v.shape is not None and v.dtype == root.output.dtype
            if alike and same_shape(v.dims, root.output.dims):
                found[v] = None
            if v.node is not None and v.node.target in _ELEMENTWISE and v.node not in seen:
                seen[v.node] = None
                queue.append(v.node)
    return list(reversed(found))


def _recognise(root: Node, x: Value) -> str | None:
    """The activation that the calls from ``x`` to the root compute."""
    part = evaluate.slice_of(root.output, stop=(x,), limit=4 * _DEEPEST)
    if part is None or x not in part.leaves or len(part.leaves) != 1:
        return None
    names = {n.target for n in part.nodes}
    if not any(n.removeprefix("mx.") in _BENDS or n in _BENDS_OF_NN for n in names):
        return None
    if not names <= _ELEMENTWISE | {"mx.array", "mx.full"}:
        return None
    points = _points()
    got = _compute(part, x, points)
    if got is None:
        return None
    # Rounding of a dozen float32 operations; variants of one activation differ by 1e-5 and more.
    tolerance = 2e-6 * mx.maximum(mx.abs(points), 1.0)
    for name, values in _tables().items():
        if bool(mx.all(mx.abs(got - values) <= tolerance)):
            return name
    return None


def _compute(part: evaluate.Slice, x: Value, points: mx.array) -> mx.array | None:
    """The slice on float32 points, whatever the shape and dtype that the graph declares."""
    env: dict[Value, mx.array] = {x: points}
    with mx.stream(mx.cpu):
        for node in part.nodes:
            value = evaluate.apply_node(node, env)
            if value is None:
                return None
            env[node.output] = value
    out = env[part.value]
    return out if out.shape == points.shape else None


@cache
def _points() -> mx.array:
    return mx.concatenate(
        [mx.linspace(-12, 12, 481), mx.linspace(-1, 1, 200), mx.array([40.0, -40.0])]
    )


@cache
def _tables() -> dict[str, mx.array]:
    with mx.stream(mx.cpu):
        return {name: fn(_points()) for name, fn in _KNOWN.items()}
