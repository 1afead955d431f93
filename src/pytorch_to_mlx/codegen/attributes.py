"""Names of children and weights: source paths to attribute chains of the emitted model."""

from __future__ import annotations

from collections import defaultdict

from pytorch_to_mlx.codegen.homes import Homes, leaf, parent
from pytorch_to_mlx.codegen.names import attribute, unique
from pytorch_to_mlx.graph import Graph

LAYERS = "layers"  # where nn.Sequential has its elements


class Attributes:
    """The emitted module tree: for every source path its attribute name (or list index) in its
    parent.
    """

    def __init__(self, graph: Graph, homes: Homes, region_paths: set[str]) -> None:
        self.lists = homes.lists
        self.sequences = set(homes.sequences)
        self.children: dict[str, list[str]] = defaultdict(list)
        order = {path: i for i, path in enumerate([*graph.classes, *graph.params])}
        spans = _spans(order)
        paths = sorted(
            set(homes.layers) | set(homes.plain) | {p for p in region_paths if p},
            key=lambda p: (order[p] if p in order else _first(p, homes, order, spans), p),
        )
        for path in paths:
            self._add(path)
        self.parts: dict[str, str | int] = {"": ""}
        if self.children[""] and all(p.isascii() and p.isdigit() for p in self.children[""]):
            self.sequences.add("")  # a container by itself
        for path in list(self.children):
            self._name_children(path)

    def _add(self, path: str) -> None:
        while path:
            siblings = self.children[parent(path)]
            if path in siblings:
                return
            siblings.append(path)
            path = parent(path)

    def _name_children(self, path: str) -> None:
        if path in self.lists | self.sequences:
            self.children[path].sort(key=lambda p: int(leaf(p)))
            for i, child in enumerate(self.children[path]):
                self.parts[child] = i
            return
        taken: set[str] = set()
        for child in self.children[path]:
            name = unique(attribute(leaf(child)), taken)
            taken.add(name)
            self.parts[child] = name

    def chain(self, path: str, base: str = "") -> list[str | int]:
        """Attribute names and list indices from module ``base`` down to ``path``."""
        out: list[str | int] = []
        while path != base:
            if not path:
                raise KeyError(f"{path!r} is not below {base!r}")
            out.append(self.parts[path])
            path = parent(path)
            if path in self.sequences:
                out.append(LAYERS)
        return out[::-1]

    def target(self, path: str) -> str:
        """The dotted name in the emitted package (``layers.0.weight``)."""
        return ".".join(str(p) for p in self.chain(path))


def _spans(order: dict[str, int]) -> dict[str, tuple[int, int]]:
    """The first and the last position of what is inside each path."""
    spans: dict[str, tuple[int, int]] = {}
    for path, i in order.items():
        while path := parent(path):
            low, high = spans.get(path, (i, i))
            spans[path] = min(low, i), max(high, i)
    return spans


def _first(
    path: str, homes: Homes, order: dict[str, int], spans: dict[str, tuple[int, int]]
) -> int:
    """Position of a path that is no source module: that of its first weight."""
    last = len(order)
    if path not in homes.layers:
        return spans.get(path, (last, last))[0]
    sources = [s for p in homes.layers[path].params.values() for s in (p.path, *p.sources)]
    if sources:
        return min((order[s] for s in sources if s in order), default=last)
    return spans.get(parent(path), (last, last))[1]
