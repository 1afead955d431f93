"""Control flow nodes as Python ``if``, ``while`` and ``for`` statements.

A condition that is an array is evaluated (``.item()``), which waits for the device.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sympy

from pytorch_to_mlx.codegen import forms
from pytorch_to_mlx.codegen.expressions import callee, name
from pytorch_to_mlx.codegen.queries import last_node, width
from pytorch_to_mlx.codegen.regions import Region
from pytorch_to_mlx.errors import CodegenError
from pytorch_to_mlx.graph import Graph, Node, Value
from pytorch_to_mlx.graph.ir import IF, REQUIRE, SCAN, WHILE

if TYPE_CHECKING:
    from pytorch_to_mlx.codegen.methods import MethodWriter

# An inner expression is written inline up to this width.
MAX_WIDTH = 60


class ControlFlow:
    """Writes ``if``, ``while`` and ``for`` nodes into a method."""

    def __init__(self, writer: MethodWriter) -> None:
        self.writer = writer

    def write(self, node: Node) -> None:
        """Appends the statements of a control flow node to the method.

        Raises:
            CodegenError: the node's kind is unknown.
        """
        kinds = {IF: self._if, WHILE: self._while, SCAN: self._for, REQUIRE: self._require}
        if node.target not in kinds:
            raise CodegenError(
                f"{node.target} has no written form", op=node.origin.op, origin=str(node.origin)
            )
        kinds[node.target](node)

    # -- kinds
    # ---------------------------------------------------------------------------------------

    def _if(self, node: Node) -> None:
        condition = self._truth(node.args[0])
        branches = []
        for key in ("then", "else"):
            sub = node.subgraphs[key]
            with self._block() as statements:
                self._nodes(sub)
                targets = [self._target(v) for v in node.outputs]
                results = [self._arg(a) for a in sub.ret.args]
                if not _assigned_by_last(statements, results, targets):
                    self._store(targets, results)
            branches.append(statements or [ast.Pass()])
        self._declare(node, node.outputs)
        self.writer.statements.append(ast.If(condition, branches[0], branches[1]))

    def _require(self, node: Node) -> None:
        """Raises at sizes that the code is not for."""
        (relation,) = node.args
        message: ast.expr = ast.Constant("this model was converted for other sizes")
        if isinstance(relation, sympy.Eq) and relation.rhs.is_Integer:
            size = ast.FormattedValue(self._arg(relation.lhs), -1)
            wanted = ast.Constant(f", where this model was converted for {relation.rhs}")
            message = ast.JoinedStr([ast.Constant("a size of "), size, wanted])
        error = ast.Call(name("ValueError"), [message], [])
        raising: list[ast.stmt] = [ast.Raise(error)]
        self.writer.statements.append(ast.If(self._arg(sympy.Not(relation)), raising, []))

    def _while(self, node: Node) -> None:
        self._declare(node, node.outputs)
        for v, initial in zip(node.outputs, node.args, strict=True):
            self._store([self._target(v)], [self._arg(initial)])
        condition, body = node.subgraphs["condition"], node.subgraphs["body"]
        self._carry(condition, node.outputs)
        self._carry(body, node.outputs)
        with self._block() as test:
            self._nodes(condition)
            truth = self._truth(condition.ret.args[0])
        with self._block() as statements:
            self._nodes(body)
            self._store(
                [self._target(v) for v in node.outputs], [self._arg(a) for a in body.ret.args]
            )
        if test:
            leave = ast.If(ast.UnaryOp(ast.Not(), truth), [ast.Break()], [])
            self.writer.statements.append(
                ast.While(ast.Constant(True), [*test, leave, *statements], [])
            )
        else:
            self.writer.statements.append(ast.While(truth, statements, []))

    def _for(self, node: Node) -> None:
        initial, arrays = node.args
        body = node.subgraphs["body"]
        carried, stacked = node.outputs[: len(initial)], node.outputs[len(initial) :]
        self._declare(node, node.outputs)
        for v, value in zip(carried, initial, strict=True):
            self._store([self._target(v)], [self._arg(value)])
        lists = [f"_v{v.id}l" for v in stacked]
        for text in lists:
            self.writer.wanted[text] = "steps"
            self.writer.statements.append(
                _assign([ast.Name(text, ast.Store())], ast.List([], ast.Load()))
            )
        self._carry(body, carried)
        slices = body.inputs[len(carried) :]
        for v in slices:
            self.writer.wanted[f"_v{v.id}"] = "step"
        with self._block() as statements:
            self._nodes(body)
            results = [self._arg(a) for a in body.ret.args]
            self._store([self._target(v) for v in carried], results[: len(carried)])
            for text, result in zip(lists, results[len(carried) :], strict=True):
                append = ast.Attribute(name(text), "append", ast.Load())
                statements.append(ast.Expr(ast.Call(append, [result], [])))
        self.writer.statements.append(self._loop(slices, arrays, statements))
        for v, text in zip(stacked, lists, strict=True):
            self._store([self._target(v)], [ast.Call(callee("mx.stack"), [name(text)], [])])

    def _loop(
        self, slices: list[Value], arrays: tuple[Any, ...], statements: list[ast.stmt]
    ) -> ast.For:
        targets: list[ast.expr] = [self._target(v) for v in slices]
        sources = [self._arg(a) for a in arrays]
        if len(targets) == 1:
            return ast.For(targets[0], sources[0], statements, [], lineno=0)
        strict = ast.keyword("strict", ast.Constant(True))
        zipped = ast.Call(name("zip"), sources, [strict])
        return ast.For(ast.Tuple(targets, ast.Store()), zipped, statements, [], lineno=0)

    # -- parts
    # ---------------------------------------------------------------------------------------

    @contextmanager
    def _block(self) -> Iterator[list[ast.stmt]]:
        """Statements written inside go to a list of their own."""
        outer, self.writer.statements = self.writer.statements, []
        self.writer.depth += 1
        try:
            yield self.writer.statements
        finally:
            self.writer.depth -= 1
            self.writer.statements = outer

    def _carry(self, sub: Graph, variables: list[Value]) -> None:
        """Inside a loop its carried inputs are the loop's variables."""
        for inner, outer in zip(sub.inputs, variables, strict=False):
            self.writer.env[inner] = name(f"_v{outer.id}")
            if inner.symbol is not None:
                self.writer.sizes.bind(inner.symbol, f"_v{outer.id}")

    def _declare(self, node: Node, outputs: list[Value]) -> None:
        for v in outputs:
            self.writer.declare(v, node)

    def _nodes(self, sub: Graph) -> None:
        members = set(sub.nodes)
        for node in self.writer.region.branches.get(sub, sub.nodes[:-1]):
            if isinstance(node, Region):
                call = self.writer.region_call(node)
                self.writer.assign(node.outputs, call, last_node(node), region=node)
                continue
            expression = self.writer.expression(node)
            if expression is None:
                continue
            if self._inlines(node, expression, members):
                self.writer.env[node.output] = expression
            else:
                self.writer.assign(node.outputs, expression, node)

    def _inlines(self, node: Node, expression: ast.expr, members: set[Node]) -> bool:
        if len(node.outputs) != 1 or forms.is_random(node.target):
            return False
        uses = node.output.uses
        only = next(iter(uses), None)
        if sum(uses.values()) != 1 or only not in members or only is None or only.subgraphs:
            return False
        return width(expression) <= MAX_WIDTH

    def _arg(self, a: Any) -> ast.expr:
        return self.writer.renderer.arg(a)

    def _truth(self, condition: Any) -> ast.expr:
        e = self._arg(condition)
        if isinstance(condition, Value) and condition.kind == "array":
            return ast.Call(ast.Attribute(e, "item", ast.Load()), [], [])
        return e

    def _target(self, v: Value) -> ast.expr:
        return ast.Name(f"_v{v.id}", ast.Store())

    def _store(self, targets: list[ast.expr], values: list[ast.expr]) -> None:
        """One assignment; several targets change at once."""
        if not targets:
            return
        if len(targets) == 1:
            self.writer.statements.append(_assign(targets, values[0]))
        else:
            self.writer.statements.append(
                _assign([ast.Tuple(targets, ast.Store())], ast.Tuple(values, ast.Load()))
            )


def _assigned_by_last(
    statements: list[ast.stmt], results: list[ast.expr], targets: list[ast.expr]
) -> bool:
    """Lets the last statement assign to the targets where it makes just these results."""
    last = statements[-1] if statements else None
    if not isinstance(last, ast.Assign) or not results:
        return False
    made = last.targets[0].elts if isinstance(last.targets[0], ast.Tuple) else last.targets
    if [ast.unparse(m) for m in made] != [ast.unparse(r) for r in results]:
        return False
    last.targets = [targets[0] if len(targets) == 1 else ast.Tuple(targets, ast.Store())]
    return True


def _assign(targets: list[ast.expr], value: ast.expr) -> ast.Assign:
    return ast.Assign(targets, value, lineno=0)
