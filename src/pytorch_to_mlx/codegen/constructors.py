"""Constructor expressions: ``nn.Linear(64, 96, bias=False)``, lists of blocks, weight
placeholders.
"""

from __future__ import annotations

import ast
import inspect
from typing import Any

import mlx.nn as nn

from pytorch_to_mlx.codegen.expressions import callee, constant, dtype_expr
from pytorch_to_mlx.codegen.homes import LayerPlace
from pytorch_to_mlx.graph import Param
from pytorch_to_mlx.graph.dims import is_static
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.ops import registry


def layer(place: LayerPlace) -> ast.expr:
    """The constructor call of a layer: required arguments by position, all others by
    keyword.

    Defaults are written too, so that layers which differ in them can share a class;
    :func:`prune_defaults` takes out what is left of them.
    """
    config = dict(place.config)
    args: list[ast.expr] = []
    keywords: list[ast.keyword] = []
    for p in _parameters(layer_class(place.target)):
        if p.default is inspect.Parameter.empty:
            args.append(_literal(config.pop(p.name)))
        else:
            value = config.pop(p.name, p.default)
            keywords.append(ast.keyword(p.name, _literal(value)))
    keywords += [ast.keyword(k, _literal(v)) for k, v in config.items()]
    return ast.Call(callee(place.target), args, keywords)


def layer_class(name: str) -> Any:
    """The layer class that a graph's target or a written name stands for; ``None`` if it is none.

    Layers of ``ops`` are written by their bare name, those of ``nn`` as ``nn.Linear``.
    """
    room, _, last = name.rpartition(".")
    if not last[:1].isupper() or room not in ("nn", "ops", ""):
        return None
    return getattr(nn, last, None) if room == "nn" else registry.functions().get(last)


def _parameters(cls: Any) -> list[inspect.Parameter]:
    """Constructor parameters of a layer class; those that cannot be written as literals are left
    out.
    """
    parameters = inspect.signature(cls.__init__).parameters.values()
    empty = inspect.Parameter.empty
    return [
        p
        for p in parameters
        if p.name != "self" and (p.default is empty or not callable(p.default))
    ]


def prune_defaults(statement: ast.stmt) -> None:
    """Takes keywords that repeat a layer's default out of a statement (in place)."""
    for call in [n for n in ast.walk(statement) if isinstance(n, ast.Call)]:
        cls = layer_class(ast.unparse(call.func))
        if cls is None:
            continue
        defaults = {p.name: p.default for p in _parameters(cls)}
        call.keywords = [k for k in call.keywords if not _is_default(k, defaults)]


def _is_default(keyword: ast.keyword, defaults: dict[str, Any]) -> bool:
    if keyword.arg not in defaults or any(isinstance(n, ast.Name) for n in ast.walk(keyword.value)):
        return False
    value, default = ast.literal_eval(keyword.value), defaults[keyword.arg]
    return isinstance(value, bool) == isinstance(default, bool) and bool(value == default)


def _literal(value: Any) -> ast.expr:
    if isinstance(value, DType):
        return dtype_expr(value)
    if isinstance(value, tuple):
        return ast.Tuple([_literal(v) for v in value], ast.Load())
    return constant(value)


def placeholder(p: Param) -> ast.expr:
    """``mx.zeros(shape)``: lazy, replaced when the weights are loaded."""
    shape = ast.Tuple([constant(int(d)) for d in p.value.dims if is_static(d)], ast.Load())
    args: list[ast.expr] = [shape]
    if not DType(str(p.value.dtype)).is_floating:
        args.append(dtype_expr(str(p.value.dtype)))
    return ast.Call(callee("mx.zeros"), args, [])


def list_of(elements: list[ast.expr]) -> ast.expr:
    """A list; runs of equal elements become comprehensions."""
    dumps = [ast.dump(e) for e in elements]
    repeats = (ast.Call, ast.List, ast.ListComp)  # elements that a comprehension makes anew
    rows = isinstance(elements[0], repeats[1:]) and len(elements) > 1
    if (rows or isinstance(elements[0], ast.Call)) and len(set(dumps)) == 1:
        return ast.ListComp(elements[0], [_repeat(len(elements))])
    items: list[ast.expr] = []
    at = 0
    while at < len(elements):
        end = at
        while end < len(elements) and dumps[end] == dumps[at]:
            end += 1
        if end - at >= 3 and isinstance(elements[at], repeats):
            items.append(ast.Starred(ast.ListComp(elements[at], [_repeat(end - at)]), ast.Load()))
        else:
            items.extend(elements[at:end])
        at = end
    return ast.List(items, ast.Load())


def sequence_of(elements: list[ast.expr]) -> ast.expr:
    """``nn.Sequential`` of elements in order."""
    listed = list_of(elements)
    given: list[ast.expr] = [ast.Starred(listed, ast.Load())]
    return ast.Call(
        callee("nn.Sequential"), listed.elts if isinstance(listed, ast.List) else given, []
    )


def open_single_lists(statement: ast.stmt) -> None:
    """``[Block() for _ in range(1)]`` as ``[Block()]`` (in place)."""
    _Opened().visit(statement)


class _Opened(ast.NodeTransformer):
    def visit_ListComp(self, node: ast.ListComp) -> ast.expr:
        self.generic_visit(node)
        times = node.generators[0].iter
        once = isinstance(times, ast.Call) and ast.unparse(times.args[0]) == "1"
        return ast.List([node.elt], ast.Load()) if once else node


def _repeat(count: int) -> ast.comprehension:
    times = ast.Call(ast.Name("range", ast.Load()), [ast.Constant(count)], [])
    return ast.comprehension(ast.Name("_", ast.Store()), times, [], 0)
