"""Nodes of a graph as Python statements, to be run alone or written into a script."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
import sympy

from pytorch_to_mlx.codegen.expressions import callee
from pytorch_to_mlx.codegen.expressions import name as name_of
from pytorch_to_mlx.codegen.flat import FlatWriter
from pytorch_to_mlx.codegen.library import library_source
from pytorch_to_mlx.graph import Graph, Node, Param, Value, is_static
from pytorch_to_mlx.graph.ir import RAISE, RETURN
from pytorch_to_mlx.package import arrays

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.program import Captured


class NotFlat(Exception):
    """The graph has control flow, which has no flat form."""


class Code:
    """Collects statements; every value is called ``v<id>``.

    ``inputs`` are the values that the statements use and do not make.
    """

    def __init__(self, sizes: Mapping[sympy.Symbol, int]) -> None:
        self.writer = FlatWriter({}, {s: str(n) for s, n in sizes.items()})
        self.lines: list[str] = []
        self.inputs: list[Value] = []

    @staticmethod
    def variable(value: Value) -> str:
        return f"v{value.id}"

    def add(self, node: Node) -> list[str]:
        """The node's statements, which are also appended to ``lines``; none for a ``raise``, which
        has no value to compare.

        Raises:
            NotFlat: the node is an if or a loop.
        """
        if node.subgraphs:
            raise NotFlat(f"{node.target} at {node.origin}")
        if node.target == RAISE:
            return []
        for v in node.inputs():
            if v not in self.writer.env:
                self.writer.env[v] = name_of(self.variable(v))
                self.inputs.append(v)
        lines = self._layer(node) if node.is_layer else [self._text(self.writer.statement(node))]
        self.lines += lines
        return lines

    def _layer(self, node: Node) -> list[str]:
        """A layer's construction, its weights, its call."""
        config = [ast.keyword(k, self.writer.renderer.arg(a)) for k, a in node.kwargs.items()]
        layer = f"layer{node.id}"
        if node.target.startswith("ops."):
            self.writer.used_ops.add(node.target[4:])
        made = ast.Call(callee(node.target), [], config)
        lines = [f"{layer} = {self._text(made)}"]
        lines += [f"{layer}.{k} = {self.variable(v)}" for k, v in node.params.items()]
        called = f"{layer}.{node.method}" if node.method else layer
        args = ", ".join(self._text(self.writer.renderer.arg(a)) for a in node.args)
        for v in node.outputs:
            self.writer.env[v] = name_of(self.variable(v))
        targets = ", ".join(self.variable(v) for v in node.outputs)
        return [*lines, f"{targets} = {called}({args})"]

    @staticmethod
    def _text(e: ast.AST) -> str:
        return ast.unparse(ast.fix_missing_locations(e))

    def helpers(self) -> list[str]:
        """Sources of the library functions that the statements call."""
        return library_source(self.writer.used_ops)[0]


class _Host:
    """Reads of array values as Python numbers, under the name that graphs give them."""

    @staticmethod
    def item(value: mx.array) -> Any:
        return value.item()


class Runner:
    """Runs nodes one by one on real arrays and keeps every value."""

    def __init__(self, captured: Captured, graph: Graph, sizes: Mapping[sympy.Symbol, int]) -> None:
        self.captured = captured
        self.code = Code(sizes)
        self.space: dict[str, Any] = {"mx": mx, "nn": nn, "math": math, "host": _Host}
        self.params = graph.param_of()
        self._helpers: set[str] = set()

    def has(self, value: Value) -> bool:
        return Code.variable(value) in self.space

    def bind(self, value: Value, given: Any) -> None:
        self.space[Code.variable(value)] = given
        if value.symbol is not None:
            self.code.writer.sizes[value.symbol] = repr(given)

    def value(self, value: Value) -> Any:
        """A value that has been bound or made; weights are made on demand."""
        key = Code.variable(value)
        if key not in self.space:
            self.space[key] = weight(self.captured, self.params[value])
        return self.space[key]

    def run(self, node: Node) -> None:
        """Runs one node.

        Raises:
            NotFlat, and what MLX raises (ValueError, TypeError, RuntimeError, ...).
        """
        for v in node.inputs():
            if not self.has(v):
                self.value(v)
        lines = self.code.add(node)
        if not self.code.writer.used_ops <= self._helpers:
            self._helpers |= self.code.writer.used_ops
            exec(
                "from __future__ import annotations\n" + "\n\n".join(self.code.helpers()),
                self.space,
            )
        exec("\n".join(lines), self.space)  # the code under proof
        for v in node.outputs:
            if v.symbol is not None:
                self.bind(v, self.space[Code.variable(v)])


def weight(captured: Captured, p: Param) -> mx.array:
    """The array of a weight, by its recipe where it has one."""
    sources = [arrays.to_mlx(captured.tensors[captured.canonical(s)]) for s in p.sources]
    if p.recipe is None:
        return sources[0]
    runner = Runner(captured, p.recipe, {})
    for v, given in zip(p.recipe.inputs, sources, strict=True):
        runner.bind(v, given)
    results = run_graph(runner, p.recipe)
    return results[0]


def run_graph(runner: Runner, graph: Graph) -> list[Any]:
    """All nodes in order; the arguments of the return node.

    Raises:
        NotFlat: the graph has control flow.
    """
    for node in graph.nodes:
        if node.target == RETURN:
            return [runner.value(a) if isinstance(a, Value) else a for a in node.args]
        runner.run(node)
    raise ValueError("the graph has no return")


def sizes_of(pairs: Iterable[tuple[Value, Any]]) -> dict[sympy.Symbol, int]:
    """Size symbols from values and the arrays (or numbers) that they are."""
    sizes: dict[sympy.Symbol, Any] = {}
    derived: list[tuple[sympy.Expr, int]] = []
    for value, actual in pairs:
        if value.symbol is not None and isinstance(actual, (bool, int, float)):
            sizes.setdefault(value.symbol, actual)
        shape = getattr(actual, "shape", None)
        if shape is None or value.shape is None or len(shape) != len(value.shape):
            continue
        for dim, n in zip(value.shape, shape, strict=True):
            if isinstance(dim, sympy.Symbol):
                sizes.setdefault(dim, int(n))
            elif not is_static(dim):
                derived.append((dim, int(n)))
    for expr, n in derived:
        unknown = [s for s in expr.free_symbols if s not in sizes]
        if len(unknown) == 1:
            roots = sympy.solve(expr.subs(sizes) - n, unknown[0])
            whole = [int(r) for r in roots if r.is_Integer]
            if whole:
                sizes[unknown[0]] = whole[0]
    return sizes
