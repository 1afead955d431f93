"""Removes calls whose results nobody uses.

Given::

    %1 = mx.exp(%0)      # unused
    %2 = mx.sin(%0)
    return(%2)

Result::

    %1 = mx.sin(%0)
    return(%1)

Results of an ``if`` that nobody uses go too. Kept are the ``return`` (which also holds the new
values of states), calls without results, and a host call whose symbol a size still mentions.
"""

from __future__ import annotations

import sympy

from pytorch_to_mlx.graph import Graph, Node
from pytorch_to_mlx.graph.build import attach_outputs
from pytorch_to_mlx.graph.dims import free_symbols
from pytorch_to_mlx.graph.ir import IF, RETURN
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import graphs


def run(graph: Graph, report: PassReport) -> None:
    """Removes dead calls of the graph and its subgraphs, consumers before producers."""
    needed = _symbols_in_use(graph)
    for _, node in graph.walk():
        if node.target == IF:
            report.applied += _prune(node, needed)
    for g in graphs(graph):
        dead: set[Node] = set()
        for node in reversed(g.nodes):
            if _is_dead(node, needed):
                dead.add(node)
                _release(node)
        if dead:
            g.nodes[:] = [n for n in g.nodes if n not in dead]
            report.applied += len(dead)


def _prune(node: Node, needed: set[sympy.Symbol]) -> int:
    """Takes away the results of an ``if`` that nobody uses; how many there were."""
    kept = [i for i, v in enumerate(node.outputs) if v.uses or v.symbol in needed]
    gone = len(node.outputs) - len(kept)
    if gone and kept:
        for sub in node.subgraphs.values():
            sub.ret.set_args(tuple(sub.ret.args[i] for i in kept))
        attach_outputs(node, [node.outputs[i] for i in kept])
    return gone if kept else 0


def _is_dead(node: Node, needed: set[sympy.Symbol]) -> bool:
    if node.target == RETURN or not node.outputs:
        return False
    return not any(v.uses or v.symbol in needed for v in node.outputs)


def _release(node: Node) -> None:
    """Takes the node, and what its subgraphs capture, out of the use lists."""
    for sub in node.subgraphs.values():
        for inner in sub.nodes:
            _release(inner)
    node.set_args((), {}, {})


def _symbols_in_use(graph: Graph) -> set[sympy.Symbol]:
    """Symbols that arguments or shapes mention (a shape names the size of what data decides)."""
    found: set[sympy.Symbol] = set()
    for _, node in graph.walk():
        found |= node.symbols()
    for v in graph.inputs:
        found |= free_symbols(v.shape)
    return found
