"""Names that tools made unique with a prefix, where they put one graph into the body of another.

``If_0_then_branch__Inline_0__/encoder/Conv`` in the branch of an ``If`` is ``/then_branch/encoder/
Conv`` to those who read the code; ``StatefulPartitionedCall/model/conv/BiasAdd`` of TensorFlow is
``/conv/BiasAdd``, if all start so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import onnx

from pytorch_to_mlx.graph.modules import common_module

#: What such a prefix ends with, and how many of a body's names have it.
END = "__"
MOST = 0.8


class Prefixes:
    """The prefixes of a model's bodies and what each is called: the attribute that holds it."""

    def __init__(self, graph: onnx.GraphProto | None = None) -> None:
        self.labels: dict[str, str] = {}
        self.root = _shared_path(graph) if graph is not None else None
        for attribute, body in _bodies(graph) if graph is not None else ():
            new = [p for p in _shared_prefixes(body) if p not in self.labels]
            if new:
                self.labels.update(dict.fromkeys(new, self._label(attribute)))

    def _label(self, attribute: str) -> str:
        label, n = attribute, 2
        while label in self.labels.values():
            label, n = f"{attribute}_{n}", n + 1
        return label

    def plain(self, name: str) -> str:
        """The name as a path below its body's label; names without such a prefix stay."""
        found = max((p for p in self.labels if name.startswith(p)), key=len, default="")
        if found:
            return f"/{self.labels[found]}/{name[len(found) :].lstrip('/')}"
        if self.root is not None and "/" in name and not name.startswith("/"):
            return f"/{name.removeprefix(self.root)}"
        return name


def _shared_path(graph: onnx.GraphProto) -> str | None:
    """What the nodes' paths start with where they are written without a slash in front, as
    TensorFlow does (``model/conv2d/BiasAdd``); None if they are not."""
    paths = [n.name.split("/")[:-1] for n in graph.node if "/" in n.name]
    if len(paths) < 2 or any(not p[0] for p in paths) or 2 * len(paths) < len(graph.node):
        return None
    shared = common_module(".".join(p) for p in paths)
    return f"{shared.replace('.', '/')}/" if shared else ""


def _bodies(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """Every body with its attribute's name, outer ones first."""
    for node in graph.node:
        for a in node.attribute:
            for body in (*([a.g] if a.HasField("g") else ()), *a.graphs):
                yield a.name, body
                yield from _bodies(body)


def _shared_prefixes(body: onnx.GraphProto) -> list[str]:
    """What the names of most nodes of a body start with, up to a ``__``."""
    names = [n.name.partition("/")[0] for n in body.node if n.name]
    counts: Counter[str] = Counter()
    for parts in (name.split(END) for name in names):
        counts.update(END.join(parts[:i]) + END for i in range(1, len(parts)))
    return [p for p, n in counts.items() if n >= 2 and n >= MOST * len(names)]
