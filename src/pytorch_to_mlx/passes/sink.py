"""Moves what is made from nothing to the module that uses it.

Given (``arange`` was merged for two modules and so lives in their parent)::

    %0 = mx.arange(T)              # model
    %1 = mx.less(%0, ...)          # model
    %2 = mx.subtract(%0, ...)      # model.layers.0.attention

Result: the attention has an ``arange`` of its own, instead of an argument that carries the
parent's. A call is
copied into one deeper module at the most; what many modules share stays where it is, computed once.
"""

from __future__ import annotations

from pytorch_to_mlx.graph import Frame, Graph, Node, Value
from pytorch_to_mlx.graph.build import attach_outputs
from pytorch_to_mlx.graph.ir import RETURN
from pytorch_to_mlx.passes.base import PassReport

_SOURCES = frozenset(f"mx.{n}" for n in "arange zeros ones full eye tri linspace array".split())
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
        if len(inside) != 1:
            continue
        scope, users = next(iter(inside.items()))
        if elsewhere:
            _copy(graph, node, scope, users)
        else:
            node.scope = scope
        report.applied += 1


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


def _copy(graph: Graph, node: Node, scope: tuple[Frame, ...], users: list[Node]) -> None:
    twin = Node(node.target, node.args, node.kwargs, scope=scope, origin=node.origin)
    twin.merged = node.merged
    old = node.output
    attach_outputs(twin, [Value(old.shape, old.dtype, hint=old.hint)])
    graph.nodes.insert(graph.nodes.index(node) + 1, twin)
    for user in users:
        user.replace_input(old, twin.output)
