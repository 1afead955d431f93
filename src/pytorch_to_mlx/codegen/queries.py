"""Questions about regions and expressions that writing a method asks."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import sympy

from pytorch_to_mlx.codegen.regions import Region
from pytorch_to_mlx.graph import Graph, Node, Value
from pytorch_to_mlx.graph.dims import free_symbols
from pytorch_to_mlx.graph.ir import iter_leaves, iter_values


def occurrences(node: Node) -> list[Value]:
    """Values once per appearance; what a subgraph uses counts twice, so that it is never written
    inline.
    """
    out = list(iter_values((node.args, node.kwargs)))
    for sub in node.subgraphs.values():
        out.extend(v for v in sub.free_values() for _ in range(2))
    return out


# An expression is written inside another one while it stays below these.
MAX_WIDTH = 76
MAX_CALLS = 6


def width(e: ast.expr) -> int:
    """Characters of an expression, with every placeholder counted as one letter."""
    return len(re.sub(r"\b_(v\w+|[ae]\d+l?)\b", "x", ast.unparse(e)))


def complexity(e: ast.expr) -> int:
    return sum(isinstance(n, (ast.Call, ast.BinOp, ast.Subscript)) for n in ast.walk(e))


def is_slot(node: ast.AST) -> bool:
    """Whether a node is a constant that may become a constructor argument: a number, or labelled
    as one.
    """
    labelled = "label" in node.__dict__
    return isinstance(node, ast.Constant) and (labelled or isinstance(node.value, (int, float)))


def in_order(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is in it, as they are written (``ast.walk`` goes level by level)."""
    yield node
    for child in ast.iter_child_nodes(node):
        yield from in_order(child)


def positions_of_uses(region: Region) -> dict[Value, list[int]]:
    """For every value that a region's items use, where in the region those are."""
    found: dict[Value, list[int]] = defaultdict(list)
    for i, item in enumerate(region.items):
        for value in dict.fromkeys(item.inputs if isinstance(item, Region) else item.inputs()):
            found[value].append(i)
    return found


def last_node(region: Region) -> Node | None:
    nodes = region.nodes()
    made = [n for n in nodes if any(v in region.outputs for v in n.outputs)]
    return made[-1] if made else (nodes[-1] if nodes else None)


def given_back(graph: Graph, region: Region) -> list[Value]:
    """What the root returns; among its region's outputs are new states, too."""
    ret = graph.ret.args
    kept = set(iter_values(ret[: len(ret) - len(graph.states)]))
    return [v for v in region.outputs if v in kept]


def contains(region: Region, path: str) -> bool:
    p = region.frame.path
    return p == "" or path.startswith(p + ".")


def makers_of_sizes(
    region: Region, lacking: list[sympy.Expr], lacked_by: Mapping[Region, list[sympy.Expr]]
) -> frozenset[Value]:
    """The arrays of a region whose making settles the sizes that it lacks, such as how many
    elements were found. ``lacked_by`` has the sizes that the regions in it are given."""
    open_sizes = free_symbols(lacking)
    found = []
    for item in region.items:
        if isinstance(item, Region):
            asked: list[Any] = list(lacked_by[item])
        else:
            asked = list(iter_leaves((item.args, item.kwargs)))
        open_sizes -= free_symbols(asked)
        for v in item.outputs:
            if v.kind == "array" and free_symbols(v.shape or ()) & open_sizes:
                found.append(v)
                open_sizes -= free_symbols(v.shape or ())
    return frozenset(found)
