"""Where things live: the module path of every layer, and the module whose method holds each call.

A layer takes the path of the source module that owns its weights. A call belongs to the innermost
module of its scope from which the layer it is of can be reached as ``self.<child>...``, so a tied
embedding used by an output head moves up to their common ancestor.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pytorch_to_mlx.codegen.branches import place_branches
from pytorch_to_mlx.codegen.hoist import hoist_input_layout, hoist_shared
from pytorch_to_mlx.codegen.names import identifier
from pytorch_to_mlx.codegen.twins import twin_paths
from pytorch_to_mlx.graph import Frame, Graph, Node, Param, Value

# A module without weights is written inline when its body is at most this many calls.
INLINE_CALLS = 3
VIEWS = ("mx.transpose", "mx.reshape", "mx.expand_dims", "mx.squeeze")


@dataclass
class LayerPlace:
    """An ``nn`` layer of the emitted model: its path, constructor and weights by the layer's own
    names.
    """

    path: str
    target: str
    config: dict[str, object]
    params: dict[str, Param] = field(default_factory=dict)


@dataclass
class Homes:
    """The result: layers by path, the layer of each layer node, and each top-level node's module
    frames.
    """

    layers: dict[str, LayerPlace]
    layer_of: dict[Node, str]
    frames: dict[Node, tuple[Frame, ...]]
    plain: dict[str, Param]  # weights that are attributes of a module, by source path
    lists: set[str]
    in_layer: dict[str, tuple[str, str]]  # weight path -> its layer's path and name there
    owner_of: dict[Value, str]  # weight -> path of the module or layer that holds it
    sequences: set[str] = field(default_factory=set)  # containers that nn.Sequential may stand for


class Containers(Protocol):
    """What placing needs to know of containers (:class:`sequences.Sequences`)."""

    paths: set[str]

    def cut(self, node: Node, frames: tuple[Frame, ...]) -> tuple[Frame, ...]: ...


def parent(path: str) -> str:
    return path.rpartition(".")[0]


def leaf(path: str) -> str:
    return path.rpartition(".")[2]


def is_ancestor(path: str, of: str, *, strict: bool = True) -> bool:
    """Whether module ``path`` contains module ``of``; the root (``""``) contains all."""
    if path == of:
        return not strict
    return path == "" or of.startswith(path + ".")


def ancestors(path: str) -> list[str]:
    """The modules that contain ``path``, from the nearest to the root (``""``)."""
    found = []
    while path:
        path = parent(path)
        found.append(path)
    return found


def find_homes(graph: Graph, containers: Containers) -> Homes:
    """Places layers and calls; ``containers`` are those that shall be kept as modules."""
    param_of = graph.param_of()
    layer_of, layers = _place_layers(graph, param_of)
    in_layers = {id(p) for place in layers.values() for p in place.params.values()}
    used = {
        param_of[v].path: param_of[v] for _, n in graph.walk() for v in n.inputs() if v in param_of
    }
    plain = {path: p for path, p in used.items() if id(p) not in in_layers}
    plain.update({path: graph.params[path] for path in graph.states if path in graph.params})
    _hoist_lone_weights(graph, layer_of, layers, plain)

    def reach(node: Node) -> tuple[Frame, ...]:
        return containers.cut(node, _reachable(node, graph, layer_of, layers))

    frames = {n: reach(n) for n in graph.nodes}
    place_branches(graph, frames, layer_of, reach)
    lists, sequences = _dissolve(frames, layers, plain, containers.paths)
    _unwrap_single(graph, layer_of, layers, lists)
    hoist_input_layout(graph, frames)
    hoist_shared(graph, frames, layer_of, layers, plain)
    owner = {p.path: parent(p.path) for p in graph.params.values()}
    owner.update({p.path: place.path for place in layers.values() for p in place.params.values()})
    in_layer = {
        p.path: (place.path, name) for place in layers.values() for name, p in place.params.items()
    }
    owner_of = {p.value: owner[p.path] for p in graph.params.values()}
    return Homes(layers, layer_of, frames, plain, lists, in_layer, owner_of, sequences)


# -- layers
# ------------------------------------------------------------------------------------------


def _hoist_lone_weights(
    graph: Graph, layer_of: dict[Node, str], layers: dict[str, LayerPlace], plain: dict[str, Param]
) -> None:
    """Weights of a module that makes no call of its own become attributes of its parent.

    What is left of a rotary embedding whose tables became frequencies, for instance.
    """
    busy = {f.path for n in graph.nodes for f in _reachable(n, graph, layer_of, layers)}
    taken = {p.path for p in graph.params.values()} | set(layers) | set(graph.classes)
    for path, p in list(plain.items()):
        module = parent(path)
        below = any(is_ancestor(module, o) for o in (*layers, *plain) if o != path)
        target = f"{parent(module)}.{leaf(path)}".lstrip(".")
        if not module or module in busy or below or target in taken or path in graph.states:
            continue
        del plain[path]
        p.path = target
        plain[target] = p
        taken.add(target)


def _place_layers(
    graph: Graph, param_of: dict[Value, Param]
) -> tuple[dict[Node, str], dict[str, LayerPlace]]:
    owned: dict[str, set[str]] = defaultdict(set)
    for p in graph.params.values():
        if p.value.uses or p.path in graph.states:
            owned[parent(p.path)].add(p.path)
    nodes = [n for _, n in graph.walk() if n.is_layer]
    by_weights: dict[tuple[str, ...], str] = {}
    twins = twin_paths(nodes, param_of, owned)
    for paths in twins:
        owned[parent(paths[0])] -= set(paths)
    single = _single_call_modules(graph, owned)
    layer_of: dict[Node, str] = {}
    layers: dict[str, LayerPlace] = {}
    for node in nodes:
        params = {k: param_of[v] for k, v in node.params.items()}
        key = tuple(p.path for p in params.values())
        if not key:  # without weights: one layer a module and setting
            key = (node.scope[-1].path if node.scope else "", node.target, repr(node.kwargs))
        if key in by_weights:
            layer_of[node] = by_weights[key]
            continue
        if key in twins:
            path = _free(twins[key], {**layers, **graph.classes})
        else:
            path = _layer_path(node, params, owned, layers, graph.classes, single)
        layers[path] = LayerPlace(path, node.target, dict(node.kwargs), params)
        layer_of[node] = path
        by_weights[key] = path
    return layer_of, layers


def _single_call_modules(graph: Graph, owned: dict[str, set[str]]) -> set[str]:
    """Modules without weights that hold exactly one call: a pooling layer, say.

    Views do not count: layout has put them where they are.
    """
    left_out = (*VIEWS, "return")
    calls = Counter(n.scope[-1].key for n in graph.nodes if n.scope and n.target not in left_out)
    holders = {f.path for n in graph.nodes for f in n.scope[:-1]}
    several = {path for (path, _), n in calls.items() if n > 1}
    return {p for p, _ in calls if p and p not in holders | several and not owned.get(p)}


def _layer_path(
    node: Node,
    params: dict[str, Param],
    owned: dict[str, set[str]],
    layers: dict[str, LayerPlace],
    taken: Mapping[str, str],
    single: set[str],
) -> str:
    paths = [p.path for p in params.values()]
    prefixes = {parent(p) for p in paths}
    if not paths:
        base = node.scope[-1].path if node.scope else ""
        if base in single and base not in layers:
            return base
        return _free(f"{base}.{_kind(node)}".lstrip("."), {**layers, **taken})
    # Weights from several modules (a batch norm folded into a convolution) live where the largest
    # does.
    prefix = parent(max(params.values(), key=_elements).path)
    alone = owned[prefix] <= set(paths) and not any(
        is_ancestor(prefix, o) for o in owned if owned[o]
    )
    if prefix and alone and prefix not in layers and not node.label:
        return prefix
    if len(prefixes) > 1:
        prefix = _common(prefixes)
    if node.label:
        stem = ".".join(p if p.isdigit() else identifier(p, "layer") for p in node.label.split("."))
    else:
        stem = identifier(_stem(leaf(paths[0])) or _kind(node), "layer")
    return _free(f"{prefix}.{stem}".lstrip("."), layers)


def _elements(p: Param) -> int:
    return math.prod(int(d) for d in p.value.dims)


def _stem(name: str) -> str:
    """``in_proj`` for ``in_proj_weight``; nothing for a bare ``weight``."""
    for suffix in ("_weight", ".weight", "weight", "_kernel", "_w"):
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return name


def _kind(node: Node) -> str:
    kind = node.target.rpartition(".")[2].lower()
    return "pool" if "pool" in kind else kind


def _free(path: str, layers: Mapping[str, object]) -> str:
    n, out = 2, path
    while out in layers:
        out, n = f"{path}_{n}", n + 1
    return out


def _common(paths: set[str]) -> str:
    parts = [p.split(".") for p in paths]
    out = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        out.append(column[0])
    return ".".join(out)


# -- calls
# -------------------------------------------------------------------------------------------


def _reachable(
    node: Node, graph: Graph, layer_of: dict[Node, str], layers: dict[str, LayerPlace]
) -> tuple[Frame, ...]:
    """The scope, cut where a layer that the call is of would no longer be inside ``self``.

    A bare weight of another module is passed down as an argument instead.
    """
    inside = [node]
    for sub in node.subgraphs.values():
        inside.extend(n for _, n in sub.walk())
    called = [layer_of[n] for n in inside if n in layer_of]
    frames: list[Frame] = []
    for i, frame in enumerate(node.scope):
        if i and (frame.path in layers or not all(is_ancestor(frame.path, c) for c in called)):
            break
        frames.append(frame)
    return tuple(frames) or (Frame("", graph.name),)


def _unwrap_single(
    graph: Graph, layer_of: dict[Node, str], layers: dict[str, LayerPlace], lists: set[str]
) -> None:
    """What is left of a ``Sequential`` of which one layer has weights goes by its name."""
    for path in sorted(lists):
        inside = [p for p in layers if is_ancestor(path, p)]
        if graph.classes.get(path) != "Sequential" or len(inside) != 1:
            continue
        (child,) = inside
        if parent(child) != path or any(is_ancestor(child, o) for o in graph.states):
            continue
        if any(is_ancestor(path, p) for p in (*lists, *_bare_owners(graph, layers)) if p != path):
            continue
        lists.discard(path)
        place = layers.pop(child)
        place.path = path
        layers[path] = place
        layer_of.update({n: path for n, p in layer_of.items() if p == child})


def _bare_owners(graph: Graph, layers: dict[str, LayerPlace]) -> set[str]:
    """Modules with weights that are no layer's."""
    held = {id(p) for place in layers.values() for p in place.params.values()}
    return {parent(p.path) for p in graph.params.values() if p.value.uses and id(p) not in held}


def _dissolve(
    frames: dict[Node, tuple[Frame, ...]],
    layers: dict[str, LayerPlace],
    plain: dict[str, Param],
    kept: set[str],
) -> tuple[set[str], set[str]]:
    """Drops frames of containers and of small modules without weights; returns the paths of
    lists, and of containers with weights that are to be ``kept``.
    """
    weights = set(layers) | set(plain)
    paths = {f.path for fs in frames.values() for f in fs}
    children: dict[str, set[str]] = defaultdict(set)
    for path in weights | paths:
        while path:
            children[parent(path)].add(leaf(path))
            path = parent(path)
    lists = {
        p
        for p, kids in children.items()
        if p and p not in layers and all(k.isascii() and k.isdigit() for k in kids)
    }
    sequences = {p for p in lists & kept if any(is_ancestor(p, w) for w in weights)}
    lists -= sequences
    size = Counter(f.key for fs in frames.values() for f in fs)
    holding = {a for w in weights for a in (w, *ancestors(w))}
    drop = set()
    for fs in frames.values():
        for f in fs[1:]:
            bare = f.path not in holding
            small = bare and size[f.key] <= INLINE_CALLS and f.path not in sequences
            if f.path in lists or small:
                drop.add(f.key)
    for node, fs in frames.items():
        frames[node] = tuple(f for i, f in enumerate(fs) if i == 0 or f.key not in drop)
    return lists, sequences
