"""Modules within the branches of an ``if``: which module each call of a branch belongs to.

Given, where the weights of either branch are those of one module::

    if mask.item():
        x = self.near.fc(x); x = self.near.out(nn.relu(x))
    else:
        x = self.far.fc(x); x = self.far.out(nn.relu(x))

Result::

    if mask.item():
        x = self.near(x)
    else:
        x = self.far(x)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pytorch_to_mlx.graph import Frame, Graph, Node, Value
from pytorch_to_mlx.graph.ir import IF, RETURN
from pytorch_to_mlx.graph.modules import class_of, common_module

Frames = tuple[Frame, ...]

# Branches with fewer calls are written out.
LEAST_CALLS = 4


def place_branches(
    graph: Graph,
    frames: dict[Node, Frames],
    layer_of: Mapping[Node, str],
    reach: Callable[[Node], Frames],
) -> None:
    """Adds to ``frames`` the calls within branches; ``reach`` gives the scope that a call of its
    own accord has."""
    param_of = graph.param_of()

    def owners(node: Node) -> set[str]:
        """The paths of the modules whose weights a call uses, those within it included."""
        inside = [node, *(n for sub in node.subgraphs.values() for _, n in sub.walk())]
        found = {_parent(layer_of[n]) for n in inside if n in layer_of}
        bare = (v for n in inside if n not in layer_of for v in _direct(n))
        return found | {_parent(param_of[v].path) for v in bare if v in param_of}

    def place(node: Node) -> None:
        outer = frames[node]
        branches = node.subgraphs.values() if node.target == IF else ()
        bodies = [[n for n in branch.nodes if n.target != RETURN] for branch in branches]
        homes = [_home(graph, calls, outer, owners) for calls in bodies]
        _name_alike(graph, [h.path for h in homes if h is not None])
        for calls, home in zip(bodies, homes, strict=True):
            for n in calls:
                own = reach(n)
                frames[n] = own if _keys(own[: len(outer)]) == _keys(outer) else outer
                if home is not None:
                    below = (f for f in frames[n] if f.path.startswith(f"{home.path}."))
                    frames[n] = (*outer, home, *below)
                place(n)

    for node in list(graph.nodes):
        place(node)


def _home(
    graph: Graph, calls: list[Node], outer: Frames, owners: Callable[[Node], set[str]]
) -> Frame | None:
    """The module that has all weights of a branch, and nothing to do elsewhere."""
    used = {path for n in calls for path in owners(n)}
    shared = common_module(used)
    if not used or len(calls) < LEAST_CALLS or not _is_below(shared, outer[-1].path):
        return None
    nested = (n for c in calls for sub in c.subgraphs.values() for _, n in sub.walk())
    inside = {*calls, *nested}
    others = (n for _, n in graph.walk() if n not in inside and not n.subgraphs)
    if any(p == shared or _is_below(p, shared) for n in others for p in owners(n)):
        return None
    return Frame(shared, graph.classes.get(shared, ""))


def _name_alike(graph: Graph, paths: list[str]) -> None:
    """Modules of the two branches that no source names are of one class, if they are alike: by the
    words that their names share."""
    words = [re.split(r"[._]", path) for path in paths]
    if len(paths) != 2 or any(graph.classes.get(p, class_of(p)) != class_of(p) for p in paths):
        return
    shared = [w for w in words[0] if w in words[1] and w and not w.isdigit()]
    for path in paths if shared else ():
        graph.classes[path] = "".join(w[0].upper() + w[1:] for w in shared)


def _direct(node: Node) -> list[Value]:
    """What a call takes itself, without what its bodies do."""
    return node.inputs() if not node.subgraphs else []


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _keys(frames: Frames) -> list[tuple[str, int]]:
    return [f.key for f in frames]


def _is_below(path: str, module: str) -> bool:
    return path != module and (module == "" or path.startswith(f"{module}."))


__all__ = ["place_branches"]
