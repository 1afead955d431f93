"""A graph as one plain function: for weight recipes, and for running pieces of a graph when
bisecting.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping

import sympy

from pytorch_to_mlx.codegen.expressions import Renderer, name
from pytorch_to_mlx.graph import Graph, Node, Value
from pytorch_to_mlx.graph.dims import python_source
from pytorch_to_mlx.graph.ir import RETURN, iter_values


class FlatWriter:
    """Expressions and statements of a graph without modules.

    ``given`` writes inputs and weights; ``sizes`` gives a Python expression for each size symbol.
    """

    def __init__(
        self, given: Mapping[Value, ast.expr], sizes: Mapping[sympy.Symbol, str] | None = None
    ) -> None:
        self.env: dict[Value, ast.expr] = dict(given)
        self.sizes = dict(sizes or {})
        self.used_ops: set[str] = set()
        self.renderer = Renderer(self._value, self._size)

    def _value(self, v: Value) -> ast.expr:
        return copy.deepcopy(self.env[v])

    def _size(self, e: sympy.Expr) -> ast.expr:
        return ast.parse(python_source(e, self.sizes), mode="eval").body

    def expression(self, graph: Graph) -> ast.expr:
        """The first output of the graph as one nested expression (values used twice are
        repeated).
        """
        for node in graph.nodes:
            if node.target == RETURN:
                continue
            self._note(node)
            e = self.renderer.call(node)
            for i, v in enumerate(node.outputs):
                self.env[v] = (
                    e if len(node.outputs) == 1 else ast.Subscript(e, ast.Constant(i), ast.Load())
                )
        return self.renderer.arg(graph.ret.args[0])

    def statement(self, node: Node) -> ast.stmt:
        """One assignment; outputs are called ``v<id>``."""
        self._note(node)
        e = self.renderer.call(node)
        targets: list[ast.expr] = [ast.Name(f"v{v.id}", ast.Store()) for v in node.outputs]
        for v in node.outputs:
            self.env[v] = name(f"v{v.id}")
        target = targets[0] if len(targets) == 1 else ast.Tuple(targets, ast.Store())
        return ast.fix_missing_locations(ast.Assign([target], e, lineno=0))

    def _note(self, node: Node) -> None:
        if node.target.startswith("ops."):
            self.used_ops.add(node.target[4:])


def inputs_of(nodes: list[Node]) -> list[Value]:
    """Values that a run of nodes uses and does not make."""
    made = {v for n in nodes for v in n.outputs}
    return [
        v
        for v in dict.fromkeys(x for n in nodes for x in iter_values((n.args, n.kwargs)))
        if v not in made
    ]
