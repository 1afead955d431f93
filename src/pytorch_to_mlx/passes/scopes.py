"""Gives calls of which the source names no module the one that they lie in.

Given, in a graph whose weights have paths and whose nodes have none::

    y = nn.Linear(x, weight=@encoder.0.fc.weight)
    z = nn.relu(y)
    a = nn.Linear(z, weight=@encoder.0.out.weight)
    b = mx.add(a, x)
    c = nn.Linear(b, weight=@encoder.1.fc.weight)

Result: the first three lie in ``encoder.0``, the sum in ``encoder``, the last in ``encoder.1``.

A call with weights lies in the module that owns them, one that only continues another (an
activation) beside it, the sum of two layers of a module in that, any other in the innermost module
that has both its neighbours in the order of execution. Tools that rewrite ONNX graphs lose the
names of nodes, and keep those of weights.
"""

from __future__ import annotations

from pytorch_to_mlx.graph import Frame, Graph, Node
from pytorch_to_mlx.graph.ir import RETURN
from pytorch_to_mlx.graph.modules import class_of, common_module
from pytorch_to_mlx.passes.base import PassReport

Scope = tuple[Frame, ...]


def run(graph: Graph, report: PassReport) -> None:
    """Fills every empty scope."""
    if all(node.scope for _, node in graph.walk()):
        return
    owners = {p.value: path.rpartition(".")[0] for path, p in graph.params.items()}
    taken = set(graph.params)

    def frames(path: str) -> Scope:
        found = [Frame("", graph.classes.get("", graph.name))]
        parts = path.split(".") if path else []
        for i in range(1, len(parts) + 1):
            inner = ".".join(parts[:i])
            found.append(Frame(inner, graph.classes.setdefault(inner, class_of(inner))))
        return tuple(found)

    def owner(node: Node) -> str | None:
        """The module whose weights a call uses."""
        mine = {owners[v] for v in node.inputs() if v in owners} if not node.subgraphs else set()
        path = common_module(mine)
        return path if mine and path not in taken else None

    def fill(g: Graph, outside: str) -> None:
        calls = [n for n in g.nodes if n.target != RETURN]
        paths = [n.scope[-1].path if n.scope else owner(n) for n in calls]
        after = _following(paths, outside)
        before = outside
        known: dict[Node, str] = {}
        for node, path, following in zip(calls, paths, after, strict=True):
            if path is None:
                beside = _continued(node, known)
                path = common_module((before, following)) if beside is None else beside
            else:
                before = path
            known[node] = path
            if not node.scope:
                node.scope = frames(path)
                report.applied += 1
            for sub in node.subgraphs.values():
                fill(sub, path)

    fill(graph, "")
    graph.ret.scope = graph.ret.scope or frames("")


def _following(paths: list[str | None], outside: str) -> list[str]:
    """For every call the module of the next one that is known."""
    found, last = [], outside
    for path in reversed(paths):
        found.append(last)
        last = last if path is None else path
    return found[::-1]


def _continued(node: Node, known: dict[Node, str]) -> str | None:
    """The module around the call that this one alone goes on with; None if there is no such."""
    inputs = node.inputs()
    makers = [v.node for v in inputs if v.node is not None]
    alone = all(sum(v.uses.values()) == 1 for v in inputs) and len(makers) == len(inputs)
    if not alone or node.subgraphs or not all(m.is_layer for m in makers):
        return None
    paths = {known.get(m, "") for m in makers}
    if len(makers) == 1:
        return paths.pop().rpartition(".")[0] or None
    return paths.pop() or None if node.target == "mx.add" and len(paths) == 1 else None
