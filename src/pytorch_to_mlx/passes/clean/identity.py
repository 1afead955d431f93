"""Removes calls that give back what they were given.

Given::

    %1 = mx.astype(%0, float32)      # %0 is float32
    %2 = mx.reshape(%1, (2, 3))      # %1 is [2, 3]
    %3 = mx.multiply(%2, 1)
    %4 = mx.negative(%3)
    %5 = mx.negative(%4)

Result: ``%0`` in place of ``%5``. Of two casts the first goes when it loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytorch_to_mlx.graph import Graph, Node, Value
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.clean.views import index_of
from pytorch_to_mlx.passes.match import apply, argument, is_array, number, produced_by, same_shape

_EXACT_IN = {
    "bool": {"uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64",
             "float16", "bfloat16", "float32"},
    "uint8": {"uint16", "uint32", "uint64", "int16", "int32", "int64",
              "float16", "bfloat16", "float32"},
    "int8": {"int16", "int32", "int64", "float16", "bfloat16", "float32"},
    "uint16": {"uint32", "uint64", "int32", "int64", "float32"},
    "int16": {"int32", "int64", "float32"},
    "uint32": {"uint64", "int64"},
    "int32": {"int64"},
    "float16": {"float32"},
    "bfloat16": {"float32"},
}  # fmt: skip
"""Dtypes that hold every value of the key's dtype."""


def run(graph: Graph, report: PassReport) -> None:
    """Replaces every no-op by its operand."""

    def rule(node: Node) -> Value | None:
        same = _RULES[node.target](node)
        if not is_array(same) or same.dtype != node.output.dtype:
            return None
        if (
            same.shape is None
            or node.output.shape is None
            or not same_shape(same.dims, node.output.dims)
        ):
            return None
        return same

    apply(graph, report, tuple(_RULES), rule)


def _first(node: Node) -> Any:
    return node.args[0]


def _cast(node: Node) -> Any:
    x: Any = node.args[0]
    if not is_array(x) or x.dtype == node.output.dtype:
        return x
    inner = produced_by(x, "mx.astype")
    if inner is None:
        return None
    source: Any = inner.args[0]
    if x.dtype not in _EXACT_IN.get(str(source.dtype), set()):
        return None
    return (
        source
        if source.dtype == node.output.dtype
        else source.astype(DType(str(node.output.dtype)))
    )


def _transpose(node: Node) -> Any:
    axes = argument(node, 1, "axes")
    rank = node.output.ndim
    axes = tuple(reversed(range(rank))) if axes is None else tuple(a % rank for a in axes)
    return node.args[0] if axes == tuple(range(rank)) else None


def _times(node: Node) -> Any:
    a, b = node.args
    return a if _is(b, 1) else b if _is(a, 1) else None


def _plus(node: Node) -> Any:
    a, b = node.args
    return a if _is(b, 0) else b if _is(a, 0) else None


def _minus(node: Node) -> Any:
    return node.args[0] if _is(node.args[1], 0) else None


def _over(node: Node) -> Any:
    return node.args[0] if _is(node.args[1], 1) else None


def _and(node: Node) -> Any:
    a, b = node.args
    return a if number(b) is True else b if number(a) is True else None


def _or(node: Node) -> Any:
    a, b = node.args
    return a if number(b) is False else b if number(a) is False else None


def _is(arg: Any, wanted: int) -> bool:
    n = number(arg)
    return n is not None and not isinstance(n, bool) and n == wanted


def _twice(node: Node) -> Any:
    inner = produced_by(node.args[0], node.target)
    return inner.args[0] if inner is not None else None


def _slices(node: Node) -> Any:
    index = index_of(node)
    if index is None or any(i is None or isinstance(i, int) for i in index):
        return None
    return node.args[0] if all(i == slice(None) for i in index) else None


def _joined(node: Node) -> Any:
    arrays: Any = node.args[0]
    if len(arrays) == 1:
        return arrays[0]
    kept = tuple(a for a in arrays if 0 not in a.dims)
    return kept[0] if len(kept) == 1 else None


def _pad(node: Node) -> Any:
    widths: Any = node.args[1]
    if isinstance(widths, int):
        return node.args[0] if widths == 0 else None
    return node.args[0] if all(w == 0 or w == (0, 0) for w in widths) else None


_RULES: dict[str, Callable[[Node], Any]] = {
    "mx.astype": _cast,
    "mx.reshape": _first,
    "mx.flatten": _first,
    "mx.broadcast_to": _first,
    "mx.transpose": _transpose,
    "mx.multiply": _times,
    "mx.add": _plus,
    "mx.subtract": _minus,
    "mx.divide": _over,
    "mx.negative": _twice,
    "mx.logical_not": _twice,
    "mx.logical_and": _and,
    "mx.logical_or": _or,
    "getitem": _slices,
    "mx.concatenate": _joined,
    "mx.pad": _pad,
}
