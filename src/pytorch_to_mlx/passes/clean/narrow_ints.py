"""Positions that only serve as indices need no int64.

Given::

    %1 = mx.arange(T, dtype=int64)
    %2 = mx.expand_dims(%1, 0)
    %3 = ops.embedding(@weight, %2)

Result: ``mx.arange(T)``. torch makes int64 of every index; MLX's own are 32 bits wide. A value
goes narrow only if all its uses are subscripts or comparisons with numbers, perhaps past views;
nothing that computes with it or returns it may see the difference.
"""

from __future__ import annotations

from pytorch_to_mlx.graph import Graph, Node, Value
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import graphs, is_array, substitute

_VIEWS = {
    "mx.expand_dims", "mx.squeeze", "mx.reshape", "mx.broadcast_to", "mx.transpose",
    "mx.flatten", "mx.unflatten",
}  # fmt: skip
_INDEX_ARGUMENT = {"ops.embedding": 1, "mx.take": 1, "mx.take_along_axis": 1}
_COMPARISONS = {
    "mx.equal", "mx.not_equal", "mx.less", "mx.less_equal", "mx.greater", "mx.greater_equal",
}  # fmt: skip


def run(graph: Graph, report: PassReport) -> None:
    """Makes ranges and indices 32 bits wide where no value shows it."""
    for g in graphs(graph):
        for node in list(g.nodes):
            if len(node.outputs) != 1 or node.output.dtype != "int64" or not node.output.uses:
                continue
            signed = _narrow_source(node)
            if signed is None:
                continue
            chain = _chain(node.output, signed=signed)
            if chain is None:
                continue
            _narrow(graph, node, chain)
            report.applied += 1


def _narrow_source(node: Node) -> bool | None:
    """Whether the narrow dtype is signed; None where the node makes no narrow value."""
    if node.target == "mx.arange":
        wide = any(isinstance(a, int) and abs(a) >= 2**31 for a in node.args)
        return None if wide or node.kwargs.get("dtype") != "int64" else True
    if node.target != "mx.astype" or not is_array(node.args[0]):
        return None
    return {"int32": True, "uint32": False}.get(str(node.args[0].dtype))


def _chain(value: Value, *, signed: bool) -> list[Value] | None:
    """The value and its views, if nothing but subscripts and comparisons uses them."""
    chain, at = [value], 0
    while at < len(chain):
        v = chain[at]
        at += 1
        for user in v.users:
            if user.target in _VIEWS or (user.target == "getitem" and _only_source(user, v)):
                chain.append(user.output)
            elif not _index_use(user, v) and not _comparison(user, v, signed):
                return None
    return chain


def _only_source(user: Node, v: Value) -> bool:
    return user.args[0] is v and v.uses[user] == 1


def _index_use(user: Node, v: Value) -> bool:
    if user.target == "getitem":
        return user.args[0] is not v
    at = _INDEX_ARGUMENT.get(user.target)
    return at is not None and v.uses[user] == 1 and len(user.args) > at and user.args[at] is v


def _comparison(user: Node, v: Value, signed: bool) -> bool:
    if user.target not in _COMPARISONS:
        return False
    a, b = user.args
    other = b if a is v else a
    in_range = isinstance(other, int) and not isinstance(other, bool) and abs(other) < 2**31
    return in_range and (signed or other >= 0)


def _narrow(graph: Graph, node: Node, chain: list[Value]) -> None:
    if node.target == "mx.arange":
        for v in chain:
            v.dtype = DType("int32")
        node.set_args(None, {k: a for k, a in node.kwargs.items() if k != "dtype"})
        return
    source: Value = node.args[0]
    for v in chain:
        v.dtype = source.dtype
    substitute(graph, node.output, source)
