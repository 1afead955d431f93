"""Constant arrays that hold one number become that number.

Given::

    %1 = mx.full((), 64.0)
    %2 = mx.sqrt(%1)
    %3 = mx.divide(%0, %2)

Result: ``mx.divide(%0, 8.0)``; so with a stored tensor of one number that no module holds. The
number must mean the same: the array had the other operand's dtype (or holds an integer that every
dtype has), and the result keeps its dtype. Whole numbers added to integers one after the other are
added at once.
"""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Graph, Node, Value, call
from pytorch_to_mlx.graph.dtypes import DType, mlx_dtype
from pytorch_to_mlx.graph.ir import RETURN
from pytorch_to_mlx.passes import evaluate
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import (
    apply,
    graphs,
    is_array,
    keeps_result,
    number,
    produced_by,
    single_use,
)

_TAKES_NUMBERS = {
    f"mx.{name}"
    for name in (
        "add subtract multiply divide maximum minimum power floor_divide remainder "
        "equal not_equal less less_equal greater greater_equal where"
    ).split()
}
_EXACT = 256
"""Integers up to here are exact in every dtype that holds numbers."""


def run(graph: Graph, report: PassReport) -> None:
    """Computes constants, then hands them to elementwise calls as numbers."""
    scalars = {
        n.target
        for g in graphs(graph)
        for n in g.nodes
        if len(n.outputs) == 1 and n.output.shape == () and n.target not in (RETURN, "mx.array")
    }
    stored = _stored(graph)
    apply(graph, report, tuple(scalars), lambda node: _computed(node, stored))
    apply(graph, report, ("mx.add", "mx.subtract"), _offset)
    for g in graphs(graph):
        for node in g.nodes:
            if node.target in _TAKES_NUMBERS:
                _inline(node, stored, report)


def _stored(graph: Graph) -> dict[Value, int | float | bool]:
    """The single numbers among the tensors that forward makes (no module holds them)."""
    found: dict[Value, int | float | bool] = {}
    for param in graph.params.values():
        alone = param.kind == "constant" and param.value.shape == () and param.value.uses
        if not alone or DType(str(param.value.dtype)).is_complex or param.path in graph.states:
            continue
        array = evaluate.tensor(param)
        value: Any = array.item() if array is not None else None
        if value is not None and math.isfinite(value):
            found[param.value] = value
    return found


def _computed(node: Node, stored: dict[Value, int | float | bool]) -> Value | None:
    """A 0-D value made of nothing but numbers, as ``mx.array(number)``."""
    out = node.output
    if out.shape != () or out.kind != "array" or out.symbol is not None:
        return None
    part = evaluate.slice_of(out)
    if part is None or part.symbols or not all(v in stored for v in part.leaves):
        return None
    given = {v: mx.array(stored[v], dtype=mlx_dtype(str(v.dtype))) for v in part.leaves}
    array = evaluate.run(part, {}, given)
    if array is None or out.dtype == "complex64":
        return None
    value: Any = array.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return call("mx.array", value, dtype=DType(str(out.dtype)))


def _offset(node: Node) -> Value | None:
    """``x - 1 + 2`` of integers as ``x + 1``."""
    outer = _shifted(node)
    inner = outer[0].node if outer is not None else None
    first = _shifted(inner) if inner is not None else None
    if outer is None or first is None or not single_use(outer[0]):
        return None
    x, by = first[0], first[1] + outer[1]
    if x.dtype != node.output.dtype:
        return None
    if by == 0:
        return x
    return call("mx.add", x, by) if by > 0 else call("mx.subtract", x, -by)


def _shifted(node: Node) -> tuple[Value, int] | None:
    """The array and the whole number that a call adds to it."""
    if node.target not in ("mx.add", "mx.subtract") or len(node.outputs) != 1:
        return None
    a, b = node.args
    if node.target == "mx.add" and not is_array(a):
        a, b = b, a
    n = number(b)
    if not is_array(a) or not isinstance(n, int) or isinstance(n, bool):
        return None
    if not DType(str(a.dtype)).is_integer or DType(str(node.output.dtype)) != a.dtype:
        return None
    return a, n if node.target == "mx.add" else -n


def _inline(node: Node, stored: dict[Value, int | float | bool], report: PassReport) -> None:
    for arg in list(dict.fromkeys(a for a in node.args if is_array(a))):
        value = stored[arg] if arg in stored else _fill(arg)
        others = [a for a in node.args if is_array(a) and a is not arg]
        if value is None or not others or (node.target == "mx.where" and arg is node.args[0]):
            continue
        peers = others[1:] if node.target == "mx.where" and others[0] is node.args[0] else others
        # In `where(c, a, b)` only a and b share a dtype.
        if not peers or isinstance(value, bool) != (peers[0].dtype == "bool"):
            continue
        same = all(o.dtype == arg.dtype for o in peers)
        exact = float(value).is_integer() and abs(value) <= _EXACT
        if (same or exact) and keeps_result(node, arg, value):
            node.replace_input(arg, value)
            report.applied += 1


def _fill(arg: Any) -> int | float | bool | None:
    """The one number that a constant array holds, whatever its shape."""
    made = produced_by(arg, "mx.full", "mx.zeros", "mx.ones")
    if made is None or DType(str(arg.dtype)).is_complex:
        return number(arg)
    value = number(made.args[1]) if made.target == "mx.full" else int(made.target == "mx.ones")
    dtype = DType(str(arg.dtype))
    if value is None or not math.isfinite(value):
        return None
    return float(value) if dtype.is_floating else bool(value) if dtype == "bool" else int(value)
