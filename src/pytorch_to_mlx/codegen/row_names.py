"""What the variables of a loop over rows of modules are called."""

from __future__ import annotations

import linecache
import re
from collections.abc import Sequence

from pytorch_to_mlx.codegen.homes import Homes, leaf
from pytorch_to_mlx.codegen.names import argument
from pytorch_to_mlx.codegen.rows import variable_of
from pytorch_to_mlx.codegen.source_names import loop_targets
from pytorch_to_mlx.graph import Graph, Node

_CONTAINERS = frozenset("ModuleList ModuleDict Sequential ParameterList ParameterDict".split())


class RowNames:
    """Names by the source's own loop, else by the class of what stands at a place in all rows."""

    def __init__(self, graph: Graph, homes: Homes) -> None:
        self.graph, self.homes = graph, homes
        self.nodes: dict[str, Node] = {}  # the first of every module
        for _, node in graph.walk():
            if node in homes.layer_of:
                self.nodes.setdefault(homes.layer_of[node], node)
            for frame in node.scope:
                self.nodes.setdefault(frame.path, node)

    def __call__(self, rows: Sequence[Sequence[str]]) -> list[str] | None:
        """A name for each place of these rows of module paths; None if one has none."""
        names = [self._by_source(c[0]) or self._by_class(c) for c in zip(*rows, strict=True)]
        return names if all(names) else None

    def _by_source(self, path: str) -> str:
        """The loop variable at the place that the module has in its row, if the line reads it."""
        node, place = self.nodes.get(path), int(leaf(path))
        for file, line in reversed(node.origin.stack if node is not None else ()):
            for names in loop_targets(file, line):
                name = names[place] if place < len(names) else "_"
                called = rf"\b{re.escape(name)}\b"
                if name.strip("_") and re.search(called, linecache.getline(file, line)):
                    return argument(name)
        return ""

    def _by_class(self, paths: Sequence[str]) -> str:
        classes = {self._class(p) for p in paths} - _CONTAINERS
        name = variable_of(classes.pop()) if len(classes) == 1 else ""
        return argument(name) if name else ""

    def _class(self, path: str) -> str:
        if cls := self.graph.classes.get(path, ""):
            return cls
        place = self.homes.layers.get(path)
        return place.target.rpartition(".")[2] if place is not None else ""
