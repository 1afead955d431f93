"""Moves what depends only on weights to conversion time.

Given::

    w = mx.transpose(@conv.weight, (0, 2, 3, 1))
    y = ops.conv2d(x, w)

Result: ``@conv.weight`` is stored transposed (its recipe is the transpose) and ``y = ops.conv2d(x,
    @conv.weight)``.
A value is folded when a run-time call uses it, its size is known, and it is no larger than the
weights it
is made of (a broadcast stays in the code).
"""

from __future__ import annotations

import math

from pytorch_to_mlx.graph import Graph, Node, Param, Value, is_static
from pytorch_to_mlx.graph.build import attach_outputs
from pytorch_to_mlx.graph.dims import free_symbols
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import RAISE, RETURN, map_arg
from pytorch_to_mlx.passes.base import PassReport

DEQUANTIZE = "ops.dequantize_linear"


def run(graph: Graph, report: PassReport) -> None:
    """Folds every maximal value that only weights determine."""
    param_of, static = graph.param_of(), weights_only(graph)
    folded: list[tuple[str, Param]] = []
    for _, node in list(graph.walk()):
        for v in node.outputs:
            if v not in static or v in param_of:
                continue
            outside = [
                u for u in v.users if u.target == RETURN or not all(o in static for o in u.outputs)
            ]
            if outside and _worth(v, static, param_of):
                folded.append(_fold(graph, v, static, param_of))
                report.applied += 1
    _sweep(graph, static)
    _name_all(graph, folded)


def weights_only(graph: Graph) -> dict[Value, tuple[Node, ...]]:
    """The values that only weights determine (weights among them), each with the node it is of."""
    changing = {graph.params[p].value for p in graph.states if p in graph.params}
    static: dict[Value, tuple[Node, ...]] = {
        p.value: () for p in graph.params.values() if p.value not in changing
    }
    for _, node in graph.walk():
        if _foldable(node, static):
            for v in node.outputs:
                static[v] = (node,)
    return static


def weights_behind(value: Value, static: dict[Value, tuple[Node, ...]]) -> list[Value]:
    """The weights that such a value is made of."""
    made = {v for n in _slice_of(value, static) for v in n.outputs}
    found = {i: None for n in _slice_of(value, static) for i in n.inputs() if i not in made}
    return list(found) or [value]


def _foldable(node: Node, static: dict[Value, tuple[Node, ...]]) -> bool:
    if (
        node.target in (RETURN, RAISE, "host.item")
        or node.subgraphs
        or node.is_layer
        or ".random" in node.target
    ):
        return False
    inputs = node.inputs()
    if not inputs or not all(v in static for v in inputs):
        return False
    if free_symbols([list(node.args), node.kwargs]):
        return False  # the result may have one size and still be computed from the inputs' sizes
    return all(v.shape is not None and all(is_static(d) for d in v.shape) for v in node.outputs)


def _slice_of(value: Value, static: dict[Value, tuple[Node, ...]]) -> list[Node]:
    """The nodes that make a value from weights, in order."""
    order: dict[Node, None] = {}

    def visit(v: Value) -> None:
        for node in static[v]:
            if node not in order:
                for i in node.inputs():
                    visit(i)
                order[node] = None

    visit(value)
    return list(order)


def _bytes(v: Value) -> int:
    return math.prod(int(d) for d in v.dims) * DType(str(v.dtype)).size


def _worth(
    value: Value, static: dict[Value, tuple[Node, ...]], param_of: dict[Value, Param]
) -> bool:
    nodes = _slice_of(value, static)
    sources = {i for n in nodes for i in n.inputs() if i in param_of}
    if len({param_of[s].persistent for s in sources}) > 1:
        return False  # a fine-tune's checkpoint has only a part of it
    # Codes are many times smaller than the numbers of a layer, but no call takes them as they are.
    growth = 8 if any(n.target == DEQUANTIZE for n in nodes) else 2
    return bool(sources) and _bytes(value) <= growth * sum(_bytes(s) for s in sources)


def _fold(
    graph: Graph, value: Value, static: dict[Value, tuple[Node, ...]], param_of: dict[Value, Param]
) -> tuple[str, Param]:
    """Replaces a value by a weight; returns the name it would like and the weight."""
    nodes = _slice_of(value, static)
    sources = list(dict.fromkeys(i for n in nodes for i in n.inputs() if i in param_of))
    recipe, paths = _recipe(nodes, sources, value, param_of)
    wish = _wish([param_of[s] for s in sources])
    new = Value(value.shape, value.dtype, hint=wish)
    kind = "parameter" if any(param_of[s].kind == "parameter" for s in sources) else "buffer"
    param = Param(wish, new, kind, recipe, paths)
    param.persistent = all(param_of[s].persistent for s in sources)
    param_of[new] = param
    static[new] = ()
    graph.replace(value, new)
    return wish, param


def _sweep(graph: Graph, static: dict[Value, tuple[Node, ...]]) -> None:
    """Erases the folded computations and the weights that nothing uses any more."""
    for owner, node in reversed(list(graph.walk())):
        if node.outputs and all(v in static and not v.uses for v in node.outputs):
            owner.erase(node)
    for path, p in list(graph.params.items()):
        if not p.value.uses and path not in graph.states:
            del graph.params[path]


def _name_all(graph: Graph, folded: list[tuple[str, Param]]) -> None:
    for wish, param in folded:
        if not param.value.uses:
            continue
        path, n = wish, 2
        while path in graph.params:
            path, n = f"{wish}_{n}", n + 1
        param.path = param.value.hint = path
        graph.params[path] = param


def _recipe(
    nodes: list[Node], sources: list[Value], value: Value, param_of: dict[Value, Param]
) -> tuple[Graph, tuple[str, ...]]:
    """A copy of the nodes as a graph of its own; recipes of folded sources are unfolded into it."""
    recipe = Graph(name="recipe")
    copies: dict[Value, Value] = {}
    paths: list[str] = []

    def add_source(p: Param) -> Value:
        v = Value(p.value.shape, p.value.dtype, hint=p.path)
        recipe.inputs.append(v)
        paths.append(p.sources[0] if p.sources else p.path)
        return v

    def copy_nodes(some: list[Node]) -> None:
        for node in some:
            twin = Node(
                node.target,
                tuple(
                    map_arg(a, lambda x: copies.get(x, x) if isinstance(x, Value) else x)
                    for a in node.args
                ),
                {
                    k: map_arg(a, lambda x: copies.get(x, x) if isinstance(x, Value) else x)
                    for k, a in node.kwargs.items()
                },
                scope=node.scope,
                origin=node.origin,
            )
            outs = [Value(v.shape, v.dtype, hint=v.hint) for v in node.outputs]
            attach_outputs(twin, outs)
            copies.update(zip(node.outputs, outs, strict=True))
            recipe.nodes.append(twin)

    for s in sources:
        p = param_of[s]
        if p.recipe is None:
            copies[s] = add_source(p)
            continue
        for inner, path in zip(p.recipe.inputs, p.sources, strict=True):
            at = paths.index(path) if path in paths else -1
            if at < 0:
                v = Value(inner.shape, inner.dtype, hint=path)
                recipe.inputs.append(v)
                paths.append(path)
                at = len(paths) - 1
            copies[inner] = recipe.inputs[at]
        copy_nodes(p.recipe.nodes[:-1])
        copies[s] = copies[p.recipe.ret.args[0]]
    copy_nodes(nodes)
    recipe.nodes.append(Node(RETURN, (copies[value],)))
    return recipe, tuple(paths)


def _wish(sources: list[Param]) -> str:
    """The name of the largest source (of numbers rather than of places in them); the parts of a
    weight norm give the weight's own name.
    """

    def weight(p: Param) -> tuple[bool, int]:
        return not DType(str(p.value.dtype)).is_integer, math.prod(int(d) for d in p.value.dims)

    main = max(sources, key=weight)
    prefix, _, last = main.path.rpartition(".")
    owner, _, original = prefix.rpartition(".parametrizations.")
    if original and last.startswith("original"):
        return f"{owner}.{original}" if owner else original
    if prefix.startswith("parametrizations.") and last.startswith("original"):
        return prefix.removeprefix("parametrizations.")
    last = last.removesuffix("_quantized")
    last = {"weight_v": "weight", "weight_g": "weight", "weight_orig": "weight"}.get(last, last)
    return f"{prefix}.{last}" if prefix else last
