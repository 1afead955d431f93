"""Moves what is made from nothing to the module that uses it.

Given (``arange`` was merged for two modules and so lives in their parent)::

    %0 = mx.arange(T)              # model
    %1 = mx.less(%0, ...)          # model
    %2 = mx.subtract(%0, ...)      # model.layers.0.attention

Result: the attention has an ``arange`` of its own, instead of an argument that carries the
parent's. A call is
copied into one deeper module at the most; what many modules share stays where it is, computed once.
Only a plain fill (zeros to write into) goes to every module that uses it: each makes its own in the
source, and merging them saves nothing.
"""

from __future__ import annotations

from pytorch_to_mlx.graph import Frame, Graph, Node, Value
from pytorch_to_mlx.graph.build import attach_outputs
from pytorch_to_mlx.graph.ir import RETURN
from pytorch_to_mlx.passes.base import PassReport

_SOURCES = frozenset(f"mx.{n}" for n in "arange zeros ones full eye tri linspace array".split())
_FILLS = frozenset({"mx.zeros", "mx.ones", "mx.full"})
_VIEWS = frozenset(
    {
        "getitem",
        *(f"mx.{n}" for n in "expand_dims reshape broadcast_to astype transpose squeeze".split()),
    }
)


def run(graph: Graph, report: PassReport) -> None:
    """Copies cheap calls towards their users, last ones first so that chains move together."""
    for node in reversed(list(graph.nodes)):
        if not _is_cheap(node) or not node.output.uses:
            continue
        inside, elsewhere = _users(node, graph)
        if not inside or (len(inside) > 1 and not _is_fill(node)):
            continue
        (first, _), *others = inside.items()
        for scope, users in list(inside.items()) if elsewhere else others:
            first_user = min(graph.nodes.index(u) for u in users)
            at = first_user if _is_fill(node) else graph.nodes.index(node) + 1
            _copy(graph, node, scope, users, at)
        if not elsewhere:
            node.scope = first
        if others:  # each in the same place beside its users, so that the modules stay equal
            graph.nodes.remove(node)
            graph.nodes.insert(min(graph.nodes.index(u) for u in _own(node, graph)), node)
        report.applied += 1


def _own(node: Node, graph: Graph) -> list[Node]:
    members = set(graph.nodes)
    return [u for u in node.output.users if u in members]


def _is_fill(node: Node) -> bool:
    """Whether a cheap call is a fill or a view of one."""
    if node.target in _FILLS:
        return True
    maker = node.inputs()[0].node if node.target in _VIEWS else None
    return maker is not None and _is_fill(maker)


def _is_cheap(node: Node) -> bool:
    if node.target in _SOURCES:
        return not node.inputs()
    made = [v.node for v in node.inputs()]
    return node.target in _VIEWS and len(made) == 1 and made[0] is not None and _is_cheap(made[0])


def _users(node: Node, graph: Graph) -> tuple[dict[tuple[Frame, ...], list[Node]], list[Node]]:
    """Users by the deeper module (direct child path) that they live in, and those at the node's own
    level.
    """
    members = set(graph.nodes)
    depth = len(node.scope)
    inside: dict[tuple[Frame, ...], list[Node]] = {}
    elsewhere: list[Node] = []
    for user in node.output.users:
        deeper = (
            user.target != RETURN
            and user in members
            and user.scope[:depth] == node.scope
            and len(user.scope) > depth
        )
        if deeper:
            inside.setdefault(user.scope, []).append(user)
        else:
            elsewhere.append(user)
    return inside, elsewhere


def _copy(graph: Graph, node: Node, scope: tuple[Frame, ...], users: list[Node], at: int) -> None:
    twin = Node(node.target, node.args, node.kwargs, scope=scope, origin=node.origin)
    twin.merged = node.merged
    old = node.output
    attach_outputs(twin, [Value(old.shape, old.dtype, hint=old.hint)])
    graph.nodes.insert(at, twin)
    for user in users:
        user.replace_input(old, twin.output)
