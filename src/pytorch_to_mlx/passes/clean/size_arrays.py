"""Sizes that travel as arrays of no dimensions become sizes again.

Given::

    %1: int64[] = mx.array(T)
    %2: int64[] = mx.multiply(%1, 2)
    %3: int = host.item(%2)        # bound to u0
    %4 = mx.add(%0, %2)
    %5 = getitem(%4, slice(0, u0))

Result::

    %1 = mx.add(%0, 2*T)
    %2 = getitem(%1, slice(0, 2*T))

So no number that the shapes decide waits for the device. Only whole-number arithmetic is followed.
"""

from __future__ import annotations

from typing import Any

import sympy

from pytorch_to_mlx.graph import Graph, Node
from pytorch_to_mlx.graph.dims import FloorDiv, free_symbols, is_static
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.infer import infer
from pytorch_to_mlx.graph.ir import map_arg
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import graphs, is_array, keeps_result

_ARITHMETIC = {
    "mx.add": lambda a, b: a + b,
    "mx.subtract": lambda a, b: a - b,
    "mx.multiply": lambda a, b: a * b,
    "mx.floor_divide": FloorDiv,
    "mx.minimum": sympy.Min,
    "mx.maximum": sympy.Max,
    "mx.negative": lambda a: -a,
}
_TAKES_SIZES = ("mx.add", "mx.subtract", "mx.multiply")
_VIEWS = ("mx.reshape", "mx.squeeze", "mx.astype", "mx.array")


def run(graph: Graph, report: PassReport) -> None:
    """Finds the numbers read out of such arrays, then hands sizes to calls that take numbers."""
    known: dict[sympy.Symbol, Any] = {}
    for g in graphs(graph):
        for node in g.nodes:
            if node.target == "host.item" and isinstance(node.output.symbol, sympy.Symbol):
                size = _size(node.args[0], known)
                if size is not None and node.output.kind == "int":
                    known[node.output.symbol] = size
    if known:
        report.applied += len(known)
        _put_in_place(graph, known)
        _put_in_place(graph, _lengths(graph))
    for g in graphs(graph):
        for node in g.nodes:
            if node.target in _TAKES_SIZES:
                _inline(node, report)


def _size(value: Any, known: dict[sympy.Symbol, Any]) -> Any:
    """The number that a whole-number array of no dimensions holds, if sizes decide it."""
    if isinstance(value, bool) or (isinstance(value, sympy.Basic) and not value.is_integer):
        return None
    if isinstance(value, (int, sympy.Expr)):
        return _substituted(value, known)
    if not is_array(value) or value.shape != () or not DType(str(value.dtype)).is_integer:
        return None
    node = value.node
    if node is None or len(node.outputs) != 1:
        return None
    if node.target in _VIEWS or node.target == "mx.full":
        return _size(node.args[1 if node.target == "mx.full" else 0], known)
    combine = _ARITHMETIC.get(node.target)
    parts = [_size(a, known) for a in node.args] if combine else []
    if combine is None or node.kwargs or any(p is None for p in parts):
        return None
    if node.target == "mx.floor_divide" and not sympy.sympify(parts[1]).is_positive:
        return None
    return combine(*map(sympy.sympify, parts))


def _substituted(value: Any, known: dict[sympy.Symbol, Any]) -> Any:
    if not known or not isinstance(value, sympy.Basic):
        return value
    out = value.xreplace({k: sympy.sympify(v) for k, v in known.items()})
    return int(out) if is_static(out) else out


def _put_in_place(graph: Graph, known: dict[sympy.Symbol, Any]) -> None:
    """Every mention of a symbol, in arguments and shapes, becomes one of its size."""

    def swap(a: Any) -> Any:
        return _substituted(a, known)

    for _, node in graph.walk():
        if node.symbols() & known.keys():
            node.set_args(map_arg(node.args, swap), map_arg(node.kwargs, swap))
        for v in node.outputs:
            if v.shape is not None:
                v.shape = tuple(swap(d) for d in v.shape)


def _lengths(graph: Graph) -> dict[sympy.Symbol, Any]:
    """Sizes that a trace could only name (those of a slice between two items), from the calls."""
    bound = free_symbols([v.shape for v in graph.inputs])
    bound |= {v.symbol for _, n in graph.walk() for v in n.outputs if v.symbol is not None}
    found: dict[sympy.Symbol, Any] = {}
    for _, node in graph.walk():
        named = free_symbols([v.shape for v in node.outputs if v.shape]) - bound - found.keys()
        if not named or node.subgraphs or len(node.outputs) != 1:
            continue
        ((shape, _),) = infer(node)
        for old, new in zip(node.output.dims, shape or node.output.dims, strict=True):
            if old in named and not free_symbols(_substituted(new, found)) - bound:
                found[old] = _substituted(new, found)
    return found


def _inline(node: Node, report: PassReport) -> None:
    """``x + mx.array(T)`` of whole numbers of one dtype as ``x + T``."""
    for arg in list(dict.fromkeys(a for a in node.args if is_array(a))):
        (*others,) = (a for a in node.args if is_array(a) and a is not arg)
        if len(others) != 1 or others[0].shape == () or others[0].dtype != arg.dtype:
            continue
        size = _size(arg, {})
        if isinstance(size, sympy.Expr) and not is_static(size) and keeps_result(node, arg, size):
            node.replace_input(arg, size)
            report.applied += 1
