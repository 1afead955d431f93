"""Moves to a common ancestor what one module makes for its siblings, and the layout of inputs.

Given, where the first block makes a table that it hands to the others::

    bias, x = self.blocks[0](x)         # Block: bias = self.table(mx.arange(T)) ...
    x = self.blocks[1](x, bias)

Result, where all blocks are of one kind and the table belongs to the model::

    bias = self.table(mx.arange(T))
    for block in self.blocks:
        x = block(x, bias)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Protocol, TypeVar

from pytorch_to_mlx.codegen.names import unique
from pytorch_to_mlx.graph import Frame, Graph, Node, Param, Value

Frames = dict[Node, tuple[Frame, ...]]


class Place(Protocol):
    """What hoisting needs of a layer: its path."""

    path: str


P = TypeVar("P", bound=Place)


def hoist_input_layout(graph: Graph, frames: Frames) -> None:
    """The root brings an input to channels-last, so that every module takes and gives that."""
    for node in graph.nodes:
        if node.target == "mx.transpose" and node.args[0] in graph.inputs:
            rank = node.output.ndim
            if rank > 2 and tuple(node.args[1:2]) == ((0, *range(2, rank), 1),):
                frames[node] = frames[node][:1]


def hoist_shared(
    graph: Graph,
    frames: Frames,
    layer_of: dict[Node, str],
    layers: dict[str, P],
    plain: dict[str, Param],
) -> None:
    """Moves calls that depend on no activation, and the weights that only they use, upwards.

    The value must be used by a sibling of its module (one of the same class), which takes it as an
    argument; and its module must have something else to do.
    """
    size = Counter(f for fs in frames.values() for f in set(fs))
    for node in reversed(graph.nodes):
        if node.target == "return" or len(frames[node]) < 2:
            continue
        module = frames[node][-1]
        outside = [u for v in node.outputs for u in v.users if u in frames]
        outside = [u for u in outside if module not in frames[u] and u.target != "return"]
        if not any(_is_sibling(module, frames[u]) for u in outside):
            continue
        moved = _slice(node, module, frames)
        depth = min(_shared(frames[node], frames[u]) for u in outside)
        if size[module] == len(moved) or not depth or not _independent(moved, graph, frames, depth):
            continue
        if _move_weights(moved, graph, layer_of, layers, plain, frames[node][depth - 1].path):
            for n in moved:
                size.subtract(set(frames[n][depth:]) - set(frames[n][:depth]))
                frames[n] = frames[n][:depth]


def _is_sibling(module: Frame, frames: tuple[Frame, ...]) -> bool:
    return any(f.cls == module.cls and f.path != module.path for f in frames)


def _shared(a: tuple[Frame, ...], b: tuple[Frame, ...]) -> int:
    """How many outer frames two calls have in common."""
    n = 0
    while n < min(len(a), len(b)) and a[n].key == b[n].key:
        n += 1
    return n


def _slice(node: Node, module: Frame, frames: Frames) -> dict[Node, None]:
    """The node and what it needs of its module."""
    found: dict[Node, None] = {}
    todo = [node]
    while todo:
        n = todo.pop()
        if n in found:
            continue
        found[n] = None
        todo += [v.node for v in n.inputs() if v.node in frames and module in frames[v.node]]
    return found


def _independent(moved: Mapping[Node, None], graph: Graph, frames: Frames, depth: int) -> bool:
    """Whether all it is made from is at hand in the ancestor, and no activation of the module."""
    weights = {p.value for p in graph.params.values()}
    for n in moved:
        if n.subgraphs or n.target.startswith(("mx.random.", "ops.random_")):
            return False
        for v in n.inputs():
            if v in weights or v.node in moved:
                continue
            if v.node is None or v.node not in frames or len(frames[v.node]) > depth:
                return False
            if _is_activation(v):
                return False
    return True


def _is_activation(v: Value) -> bool:
    """Whether a value is of floats, and no mask (which has a dim of 1 to broadcast over heads)."""
    integers = v.dtype in ("bool", "int32", "int64", "uint8")
    return v.kind == "array" and not integers and 1 not in v.dims


def _move_weights(
    moved: Mapping[Node, None],
    graph: Graph,
    layer_of: dict[Node, str],
    layers: dict[str, P],
    plain: dict[str, Param],
    home: str,
) -> bool:
    """Gives layers and bare weights of moved calls a path in ``home``; False if others use them."""
    used = {layer_of[n] for n in moved if n in layer_of}
    if any(layer_of[n] in used and n not in moved for n in layer_of):
        return False
    values = {v for n in moved for v in n.inputs()}
    bare = {path: p for path, p in plain.items() if p.value in values}
    if any(u not in moved for p in bare.values() for u in p.value.users):
        return False
    if any(path in graph.states for path in bare):
        return False
    taken = {*layers, *plain, *graph.classes, *(p.path for p in graph.params.values())}
    for path in sorted(used):
        target = unique(_join(home, path), taken)
        place = layers.pop(path)
        place.path = target
        layers[target] = place
        taken.add(target)
        layer_of.update({n: target for n, p in layer_of.items() if p == path})
    for path, p in bare.items():
        target = unique(_join(home, path), taken)
        del plain[path]
        p.path = target
        plain[target] = p
        taken.add(target)
    return True


def _join(home: str, path: str) -> str:
    return f"{home}.{path.rpartition('.')[2]}".lstrip(".")
