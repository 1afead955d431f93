"""Arguments of the root module's method: forward's own names, and nested inputs taken apart."""

from __future__ import annotations

import ast
from typing import Any

from pytorch_to_mlx.codegen.expressions import name
from pytorch_to_mlx.codegen.names import argument, unique
from pytorch_to_mlx.graph import Graph, Tree, Value

Arguments = tuple[dict[str, str], list[ast.stmt], dict[str, str]]


def root_arguments(graph: Graph, sized: set[Value]) -> Arguments:
    """Names by placeholder, statements that unpack nested inputs, and names these would like.

    ``sized`` are inputs whose shapes the method may read, so they are unpacked even if unused.
    """
    names: dict[str, str] = {}
    wanted: dict[str, str] = {}
    prologue: list[ast.stmt] = []
    tree = graph.in_tree
    if tree is None:
        for v in graph.inputs:
            names[f"_v{v.id}"] = unique(argument(v.hint), names.values())
        return names, prologue, wanted
    leaves = sorted(tree.leaves(), key=lambda leaf: leaf.index)
    values = {leaf.index: graph.inputs[i] for i, leaf in enumerate(leaves)}

    def unpack(at: ast.expr, nest: Tree) -> None:
        if nest.kind == "leaf":
            v = values[nest.index]
            if v.uses or v in sized:
                prologue.append(ast.Assign([ast.Name(f"_v{v.id}", ast.Store())], at, lineno=0))
                wanted[f"_v{v.id}"] = argument(v.hint)
            return
        keys: list[Any] = list(nest.keys if nest.kind == "dict" else range(len(nest.children)))
        for key, child in zip(keys, nest.children, strict=True):
            unpack(ast.Subscript(at, ast.Constant(key), ast.Load()), child)

    for own, child in zip(_arguments(tree), tree.children, strict=True):
        if child.kind == "leaf":
            names[f"_v{values[child.index].id}"] = own
        elif has_leaf(child):
            unpack(name(own), child)
    return names, prologue, wanted


def _arguments(tree: Tree) -> list[str]:
    """A name for each of forward's arguments; ``x`` and ``_x`` must not become one."""
    found: list[str] = []
    for key in tree.keys:
        found.append(unique(argument(str(key)), found))
    return found


def nests(tree: Tree) -> dict[str, Tree]:
    """What each of forward's arguments holds, by the name that the method gives it."""
    return dict(zip(_arguments(tree), tree.children, strict=True))


def argument_names(graph: Graph) -> list[str]:
    """The method's arguments in order: forward's that hold arrays."""
    tree = graph.in_tree
    if tree is None:
        return list(root_arguments(graph, set())[0].values())
    pairs = zip(_arguments(tree), tree.children, strict=True)
    return [own for own, child in pairs if has_leaf(child)]


def has_leaf(tree: Tree) -> bool:
    """Whether any array input is in the nest."""
    return any(True for _ in tree.leaves())
