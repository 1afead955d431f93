"""Positions need no int64.

Given::

    %1 = mx.arange(T, dtype=int64)
    %2 = mx.expand_dims(%1, 0)
    %3 = ops.embedding(@weight, %2)
    %4 = mx.less_equal(%2, mx.expand_dims(%1, 1))

Result: ``mx.arange(T)``. torch makes int64 of every index; MLX's own are 32 bits wide. Ranges and
widened integers go narrow, with sums and differences of them that fit into 32 bits (no axis is
longer than 2**28). All uses must be subscripts, comparisons, casts, or arithmetic that gives the
same with them; nothing that returns them may see the difference. Unsigned indices (of ``argmax``)
may only be subscripts, be sorted, be divided by a positive number or be compared with one.
"""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Builder, Graph, Node, Value
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
_SUMS = {"mx.add", "mx.subtract"}
_SAME_SIZE = {"mx.negative", "mx.abs", "mx.minimum", "mx.maximum", "mx.where"}
_PROMOTING = _SUMS | {"mx.multiply", "mx.divide", "mx.minimum", "mx.maximum", "mx.where"}
_SMALL = {"bool": 1, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 31}
_AXIS_BITS = 28


def run(graph: Graph, report: PassReport) -> None:
    """Makes ranges and indices 32 bits wide where no value shows it."""
    for g in graphs(graph):
        narrow = _candidates(g)
        _settle(narrow)
        _narrow(graph, g, narrow)
        report.applied += len(narrow)
        for node in list(g.nodes):
            chain = _unsigned(node)
            if chain is not None:
                source: Any = node.args[0]
                for v in chain:
                    v.dtype = source.dtype
                substitute(graph, node.output, source)
                report.applied += 1


# -- signed --------------------------------------------------------------------------------------


def _candidates(g: Graph) -> dict[Value, int]:
    """int64 values that fit into 32 bits by what makes them, with their bits."""
    found: dict[Value, int] = {}
    for node in g.nodes:
        if len(node.outputs) == 1 and node.output.dtype == "int64" and node.output.uses:
            bits = _bits(node, found)
            if bits is not None and bits <= 31:
                found[node.output] = bits
    return found


def _bits(node: Node, found: dict[Value, int]) -> int | None:
    if node.target == "mx.arange":
        known = node.kwargs.get("dtype") == "int64"
        return max(_of_bound(a) for a in node.args) if known else None
    if node.target == "mx.astype":
        source: Any = node.args[0]
        return _SMALL.get(str(source.dtype)) if is_array(source) else None
    if node.target in _VIEWS or (node.target == "getitem" and _only_source(node, node.args[0])):
        return found.get(node.args[0])
    if node.target not in _SUMS | _SAME_SIZE or node.kwargs:
        return None
    parts = [_of_operand(a, found) for a in _operands(node)]
    if any(p is None for p in parts):
        return None
    return max(p for p in parts if p is not None) + (node.target in _SUMS)


def _of_bound(a: Any) -> int:
    return abs(a).bit_length() if isinstance(a, int) else _AXIS_BITS


def _of_operand(a: Any, found: dict[Value, int]) -> int | None:
    if isinstance(a, int):
        return abs(a).bit_length()
    return found.get(a) if isinstance(a, Value) else None


def _operands(node: Node) -> tuple[Any, ...]:
    """The arguments of arithmetic that share a dtype."""
    return node.args[1:] if node.target == "mx.where" else node.args


def _settle(narrow: dict[Value, int]) -> None:
    """Leaves only values that may go narrow all together."""
    changed = True
    while changed:
        changed = False
        for v in list(narrow):
            if not _is_made_narrow(v, narrow) or not all(_allows(u, v, narrow) for u in v.users):
                del narrow[v]
                changed = True


def _is_made_narrow(v: Value, narrow: dict[Value, int]) -> bool:
    node = v.node
    if node is None or node.target in ("mx.arange", "mx.astype"):
        return node is not None
    made_of = _operands(node) if node.target in _SUMS | _SAME_SIZE else node.args[:1]
    return all(a in narrow for a in made_of if is_array(a))


def _allows(user: Node, v: Value, narrow: dict[Value, int]) -> bool:
    """Whether a use gives the same with 32 bits."""
    if len(user.outputs) != 1 or user.subgraphs:
        return False
    if user.output in narrow or _index_use(user, v):
        return True
    if user.target == "mx.astype":
        return user.output.dtype != "int64"
    others = [a for a in user.args if a is not v]
    if user.target in _COMPARISONS:
        return all(_of_operand(a, {}) is not None or _is_signed(a) for a in others)
    if user.target not in _PROMOTING or user.kwargs:
        return False
    shared = _operands(user)
    if not any(a is v for a in shared):
        return False
    if DType(str(user.output.dtype)).is_floating:
        return True
    wide = [a for a in shared if is_array(a) and a not in narrow]
    return user.output.dtype == "int64" and any(a.dtype == "int64" for a in wide)


def _is_signed(a: Any) -> bool:
    return is_array(a) and a.dtype in ("int8", "int16", "int32", "int64")


def _narrow(root: Graph, g: Graph, narrow: dict[Value, int]) -> None:
    for v in narrow:
        v.dtype = DType("int32")
    for v in narrow:
        node = v.node
        assert node is not None
        if node.target == "mx.arange":
            node.set_args(None, {k: a for k, a in node.kwargs.items() if k != "dtype"})
        elif node.target == "mx.astype":
            source: Any = node.args[0]
            with Builder(g) as builder, builder.before(node):
                substitute(root, v, source.astype(DType("int32")))


# -- unsigned ------------------------------------------------------------------------------------


def _unsigned(node: Node) -> list[Value] | None:
    """A widened uint32 with its views, if nothing but subscripts and comparisons reads them."""
    if node.target != "mx.astype" or len(node.outputs) != 1 or not node.output.uses:
        return None
    source: Any = node.args[0]
    if node.output.dtype != "int64" or not is_array(source) or source.dtype != "uint32":
        return None
    chain, at = [node.output], 0
    while at < len(chain):
        v = chain[at]
        at += 1
        for user in v.users:
            part = user.target == "getitem" and _only_source(user, v)
            if user.target in _VIEWS or part or _divided(user, v):
                chain.append(user.output)
            elif user.target == "mx.argsort":
                continue
            elif not _index_use(user, v) and not _compared_with_number(user, v):
                return None
    return chain


def _divided(user: Node, v: Value) -> bool:
    """Whether a use is a whole division by a positive number."""
    if user.target != "mx.floor_divide" or user.args[0] is not v:
        return False
    by: Any = user.args[1]
    return isinstance(by, int) and not isinstance(by, bool) and 0 < by < 2**31


def _compared_with_number(user: Node, v: Value) -> bool:
    if user.target not in _COMPARISONS:
        return False
    other: Any = user.args[1] if user.args[0] is v else user.args[0]
    return isinstance(other, int) and not isinstance(other, bool) and 0 <= other < 2**31


def _only_source(user: Node, v: Any) -> bool:
    return isinstance(v, Value) and user.args[0] is v and v.uses[user] == 1


def _index_use(user: Node, v: Value) -> bool:
    if user.target == "getitem":
        return user.args[0] is not v
    at = _INDEX_ARGUMENT.get(user.target)
    return at is not None and v.uses[user] == 1 and len(user.args) > at and user.args[at] is v
