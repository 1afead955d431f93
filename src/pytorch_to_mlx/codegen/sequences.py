"""Containers that are written as ``nn.Sequential``: each element takes what the one before gives.

Given, where ``net`` is a module of the source whose children are numbered::

    h = self.net[0](x)
    h = nn.relu(h)
    h = self.net[1](h)

Result::

    self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    ...
    h = self.net(x)

Functions between the layers become layers (``nn.ReLU``) at their own place in the source. Calls
before the first and after the last element (a transpose, a mean) go to the module around it. A
container with anything else between its elements stays a list.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

from pytorch_to_mlx.codegen.homes import VIEWS, Homes, is_ancestor, leaf, parent
from pytorch_to_mlx.codegen.regions import Item, Region
from pytorch_to_mlx.graph import Frame, Graph, Node, Value
from pytorch_to_mlx.graph.dims import free_symbols
from pytorch_to_mlx.graph.ir import iter_values

#: Functions that are layers too: the layer, its setting that the function takes second, others.
_LAYERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "nn.relu": ("nn.ReLU", "", {}),
    "nn.relu6": ("nn.ReLU6", "", {}),
    "nn.gelu": ("nn.GELU", "", {}),
    "nn.gelu_approx": ("nn.GELU", "", {"approx": "precise"}),
    "nn.gelu_fast_approx": ("nn.GELU", "", {"approx": "fast"}),
    "nn.silu": ("nn.SiLU", "", {}),
    "nn.mish": ("nn.Mish", "", {}),
    "nn.selu": ("nn.SELU", "", {}),
    "nn.elu": ("nn.ELU", "alpha", {}),
    "nn.celu": ("nn.CELU", "alpha", {}),
    "nn.leaky_relu": ("nn.LeakyReLU", "negative_slope", {}),
    "nn.hardswish": ("nn.Hardswish", "", {}),
    "nn.softplus": ("nn.Softplus", "", {}),
    "nn.softsign": ("nn.Softsign", "", {}),
    "nn.log_sigmoid": ("nn.LogSigmoid", "", {}),
    "nn.glu": ("nn.GLU", "axis", {}),
    "mx.softmax": ("nn.Softmax", "axis", {}),
    "mx.tanh": ("nn.Tanh", "", {}),
    "mx.sigmoid": ("nn.Sigmoid", "", {}),
    "nn.sigmoid": ("nn.Sigmoid", "", {}),
}
#: These have no setting: they work along the last axis.
_LAST_AXIS = frozenset({"mx.softmax"})


class Sequences:
    """Which containers are sequences; found by trial, since it depends on where calls end up."""

    def __init__(self, graph: Graph) -> None:
        called = {f.path for n in graph.nodes for f in n.scope[1:]}
        inside = called | {parent(p.path) for p in graph.params.values()}
        self.paths = called & {parent(p) for p in inside if _is_element(p, parent(p))}
        self._outside: dict[Node, str] = {}  # calls that left a container
        kept = [n for n in graph.nodes if n.target not in VIEWS]  # layout has moved these
        self._calls = Counter(f.key for n in kept for f in n.scope)

    def cut(self, node: Node, frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
        """The frames of a call down to the container that it left."""
        left = self._outside.get(node)
        return frames[: next((i for i, f in enumerate(frames) if f.path == left), len(frames))]

    def revise(self, homes: Homes, root: Region) -> bool:
        """Looks at what became of each container; whether homes and regions must be made anew."""
        regions: dict[str, list[Region]] = defaultdict(list)
        for region in root.walk():
            if region.frame.path in homes.sequences:
                regions[region.frame.path].append(region)
        changed = homes.sequences != set(regions)
        self.paths = set(regions)
        for path, calls in regions.items():
            cores = [c for c in (self._core(r, homes) for r in calls) if c]
            if len(cores) < len(calls) or len({names for names, _ in cores}) > 1:
                self.paths.discard(path)
                changed = True
                continue
            for region, (_, core) in zip(calls, cores, strict=True):
                around = [n for n in region.items if isinstance(n, Node) and n not in core]
                self._outside.update(dict.fromkeys(around, path))
                changed |= _make_layers(core, homes) or bool(around)
        whole = self._core(root, homes)  # a model that is a container itself
        return (whole is not None and _make_layers(whole[1], homes)) or changed

    def reject(self, paths: set[str]) -> None:
        """These cannot be sequences after all."""
        self.paths -= paths

    # -- one call of a container -------------------------------------------------------------------

    def _core(self, region: Region, homes: Homes) -> tuple[tuple[str, ...], list[Item]] | None:
        """The elements of a call, in order, with their paths; nothing if it is no sequence."""
        path, items = region.frame.path, region.items
        places = [self._place(item, homes, path) for item in items]
        at = [i for i, place in enumerate(places) if place]
        if len(at) < 2:
            return None
        around = [*items[: at[0]], *items[at[-1] + 1 :]]
        names, core = tuple(places[at[0] : at[-1] + 1]), items[at[0] : at[-1] + 1]
        if any(isinstance(item, Region) for item in around) or not _covers(path, names, homes):
            return None
        numbers = [int(leaf(n)) if n else -1 for n in names]
        ordered = all(a < b for a, b in pairwise([-1, *numbers]))
        return (names, core) if ordered and _is_chain(core) else None

    def _place(self, item: Item, homes: Homes, path: str) -> str:
        """The path of an item that may be an element of the container ``path``; else nothing."""
        if isinstance(item, Region):
            found = item.frame.path
        elif item in homes.layer_of:
            found = homes.layer_of[item]
        else:
            frame = item.scope[-1] if item.scope else Frame("", "")
            found = frame.path if self._calls[frame.key] == 1 and _layer_form(item) else ""
        return found if _is_element(found, path) else ""


def _is_chain(core: list[Item]) -> bool:
    """Whether each item takes one array, which the item before it gives to it alone."""
    before: Value | None = None
    for item, after in zip(core, [*core[1:], None], strict=True):
        taken, given = _interface(item)
        if len(taken) != 1 or len(given) != 1 or before not in (None, taken[0]):
            return False
        if not _sizes(item) <= _plain_sizes(taken[0]):
            return False
        inside = set(after.nodes() if isinstance(after, Region) else [after])
        if after is not None and not all(user in inside for user in given[0].users):
            return False
        before = given[0]
    return True


def _is_element(path: str, of: str) -> bool:
    name = leaf(path)
    return parent(path) == of and name.isascii() and name.isdigit()


def _covers(path: str, names: tuple[str, ...], homes: Homes) -> bool:
    """Whether all weights below the container are those of its elements."""
    below = [p for p in (*homes.layers, *homes.plain) if is_ancestor(path, p)]
    return all(any(n and is_ancestor(n, p, strict=False) for n in names) for p in below)


def _interface(item: Item) -> tuple[list[Value], list[Value]]:
    if isinstance(item, Region):
        return item.inputs, item.outputs
    taken = list(dict.fromkeys(iter_values((item.args, {} if item.is_layer else item.kwargs))))
    plain = not item.method and not item.subgraphs
    plain &= not item.is_layer or len(item.args) == 1
    return taken if plain else [], item.outputs


def _sizes(item: Item) -> set[Any]:
    """Size symbols that the calls of an item mention."""
    nodes = item.nodes() if isinstance(item, Region) else [item]
    return {s for n in nodes for s in n.symbols()}


def _plain_sizes(value: Value) -> set[Any]:
    """Symbols that can be read off a value's shape."""
    return {s for d in value.shape or () for s in free_symbols([d]) if d == s}


def _layer_form(node: Node) -> tuple[str, dict[str, Any]] | None:
    """The layer that does what a function call does, and its settings."""
    if node.target not in _LAYERS or not node.args or not isinstance(node.args[0], Value):
        return None
    layer, setting, fixed = _LAYERS[node.target]
    given = dict(node.kwargs)
    rest = node.args[1:]
    if len(rest) > (1 if setting else 0) or (rest and setting in given):
        return None
    if rest:
        given[setting] = rest[0]
    if node.target in _LAST_AXIS:
        axis = given.pop("axis", None)
        if not isinstance(axis, int) or axis not in (-1, node.args[0].ndim - 1):
            return None
    if set(given) - {setting} or not all(isinstance(v, (int, float)) for v in given.values()):
        return None
    return layer, {**fixed, **given}


def _make_layers(core: list[Item], homes: Homes) -> bool:
    """Makes layers of the functions between elements; whether there were any."""
    functions = [i for i in core if isinstance(i, Node) and i not in homes.layer_of]
    for node in functions:
        form = _layer_form(node)
        assert form is not None
        node.target, settings = form
        node.set_args(node.args[:1], settings)
    return bool(functions)
