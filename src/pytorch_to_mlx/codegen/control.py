"""Control flow nodes as Python ``if``, ``while``, ``for`` and ``raise`` statements.

A condition that is an array is evaluated (``.item()``), which waits for the device.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.codegen import carried, forms
from pytorch_to_mlx.codegen.block_sizes import BlockSizes
from pytorch_to_mlx.codegen.expressions import callee, name
from pytorch_to_mlx.codegen.queries import last_node, width
from pytorch_to_mlx.codegen.regions import Region
from pytorch_to_mlx.codegen.sizes import asked_sizes
from pytorch_to_mlx.codegen.truths import negated, truth
from pytorch_to_mlx.errors import CodegenError
from pytorch_to_mlx.graph import Graph, Node, Value
from pytorch_to_mlx.graph.ir import IF, RAISE, SCAN, WHILE

if TYPE_CHECKING:
    from pytorch_to_mlx.codegen.methods import MethodWriter

# An inner expression is written inline up to this width.
MAX_WIDTH = 60
# Where a message names a value; braces that are text are doubled.
FIELD = re.compile(r"(?<!\{)\{\}(?!\})")


class ControlFlow:
    """Writes ``if``, ``while``, ``for`` and ``raise`` nodes into a method."""

    def __init__(self, writer: MethodWriter) -> None:
        self.writer = writer
        self.blocks = writer.blocks
        self.numbers: set[str] = set()  # the variables that hold no arrays

    def write(self, node: Node) -> None:
        """Appends the statements of a control flow node to the method.

        Raises:
            CodegenError: the node's kind is unknown.
        """
        kinds = {IF: self._if, WHILE: self._while, SCAN: self._for, RAISE: self._raise}
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
            with self._block() as block:
                self._nodes(sub)
            statements, ends = self._sized(block, [self._arg(a) for a in sub.ret.args])
            left = carried.settle(statements, self._named(node.outputs, ends))
            branches.append([*statements, *carried.at_once(left, self.numbers)] or [ast.Pass()])
        self.writer.statements.append(ast.If(condition, branches[0], branches[1]))
        self._declare(node)

    def _raise(self, node: Node) -> None:
        condition, message, values = node.args
        error = ast.Call(name("ValueError"), [self._message(message, values)], [])
        self.writer.statements.append(ast.If(self._truth(condition), [ast.Raise(error, None)], []))

    def _message(self, message: str, values: tuple[Any, ...]) -> ast.expr:
        """A string, or an f-string where the message names values."""
        texts = [t.replace("{{", "{").replace("}}", "}") for t in FIELD.split(message)]
        if not values:
            return ast.Constant("".join(texts))
        parts: list[ast.expr] = []
        for text, value in zip_longest(texts, values):
            parts += [ast.Constant(text)] if text else []
            parts += [ast.FormattedValue(self._arg(value), -1)] if value is not None else []
        return ast.JoinedStr(parts)

    def _while(self, node: Node) -> None:
        initial = [self._arg(a) for a in node.args]
        starts = self._named(node.outputs, initial)
        condition, body = node.subgraphs["condition"], node.subgraphs["body"]
        self._carry(condition, node.outputs)
        with self._block() as block:
            self._nodes(condition)
            test = self._truth(condition.ret.args[0])
        tests, (test,) = self._sized(block, [test])
        with self._block() as block:
            self._carry(body, node.outputs)
            self._nodes(body)
        results = [self._arg(a) for a in body.ret.args]
        statements, results = self._sized(block, results)
        nexts = self._named(node.outputs, results)
        flag = flag_of(node)
        if flag is not None:
            text = nexts[flag][0]
            self.writer.wanted[text] = "proceed"
            ways = [p for i, p in enumerate(nexts) if i != flag]
            begins = [p for i, p in enumerate(starts) if i != flag]
            loop = carried.until(
                text,
                (truth(initial[flag]), truth(results[flag])),
                begins,
                ways,
                statements,
                self.numbers,
            )
            self.writer.statements += [*carried.at_once(begins), *loop]
        else:
            left = carried.settle(statements, nexts)
            statements += carried.at_once(left, self.numbers)
            if tests:
                leave: ast.stmt = ast.If(negated(test), [ast.Break()], [])
                test, statements = ast.Constant(True), [*tests, leave, *statements]
            loop = [ast.While(test, statements, [])]
            self.writer.statements += [*carried.at_once(starts), *loop]
        self._declare(node)

    def _for(self, node: Node) -> None:
        initial, arrays = node.args
        body = node.subgraphs["body"]
        kept, stacked = node.outputs[: len(initial)], node.outputs[len(initial) :]
        starts = self._named(kept, [self._arg(a) for a in initial])
        self.writer.statements += carried.at_once(starts)
        lists = [f"_v{v.id}l" for v in stacked]
        for text in lists:
            self.writer.wanted[text] = "steps"
            self.writer.statements.append(carried.assign(text, ast.List([], ast.Load())))
        slices = body.inputs[len(kept) :]
        counted = {v: r for v, a in zip(slices, arrays, strict=True) if (r := counts(v, a, body))}
        for v in slices:
            self.writer.wanted[f"_v{v.id}"] = "i" if v in counted else "step"
        with self._block() as block:
            self._carry(body, kept)
            self._nodes(body, counted)
        results = [self._arg(a) for a in body.ret.args]
        statements, results = self._sized(block, results)
        nexts, made = self._named(kept, results[: len(kept)]), results[len(kept) :]
        left = carried.settle(statements, nexts, made)
        after = [e for e in (carried.afterwards(e, left) for e in made) if e is not None]
        if len(after) == len(made):
            statements += [*carried.at_once(left, self.numbers), *self._appends(lists, after)]
        else:
            statements += [*self._appends(lists, made), *carried.at_once(left, self.numbers)]
        self.writer.statements.append(self._loop(slices, arrays, counted, statements))
        for v, text in zip(stacked, lists, strict=True):
            stack = ast.Call(callee("mx.stack"), [name(text)], [])
            self.writer.statements.append(carried.assign(f"_v{v.id}", stack))
        self._declare(node)

    @staticmethod
    def _appends(lists: list[str], values: list[ast.expr]) -> list[ast.stmt]:
        return [
            ast.Expr(ast.Call(ast.Attribute(name(text), "append", ast.Load()), [value], []))
            for text, value in zip(lists, values, strict=True)
        ]

    def _loop(
        self,
        slices: list[Value],
        arrays: tuple[Any, ...],
        counted: Mapping[Value, tuple[Any, ...]],
        statements: list[ast.stmt],
    ) -> ast.For:
        targets: list[ast.expr] = [ast.Name(f"_v{v.id}", ast.Store()) for v in slices]
        sources: list[ast.expr] = []
        for v, a in zip(slices, arrays, strict=True):
            bounds = counted.get(v)
            ranged = bounds and ast.Call(name("range"), [self._arg(b) for b in bounds], [])
            sources.append(ranged or self._arg(a))
        if len(targets) == 1:
            return ast.For(targets[0], sources[0], statements or [ast.Pass()], [], lineno=0)
        first = counted.get(slices[0])
        if len(targets) == 2 and first and (len(first) == 1 or first[0] == 0):
            source = ast.Call(name("enumerate"), sources[1:], [])
        else:
            source = ast.Call(name("zip"), sources, [ast.keyword("strict", ast.Constant(True))])
        return ast.For(ast.Tuple(targets, ast.Store()), source, statements, [], lineno=0)

    # -- parts
    # ---------------------------------------------------------------------------------------

    @contextmanager
    def _block(self) -> Iterator[list[ast.stmt]]:
        """Statements written inside go to a list of their own."""
        outer, self.writer.statements = self.writer.statements, []
        self.blocks.append(BlockSizes(self.writer.sizes, self.writer.wanted))
        self.writer.depth += 1
        try:
            yield self.writer.statements
        finally:
            self.writer.depth -= 1
            self.writer.statements = outer

    def _sized(
        self, statements: list[ast.stmt], ends: list[ast.expr]
    ) -> tuple[list[ast.stmt], list[ast.expr]]:
        """What the last block holds, with the sizes that it shows itself."""
        block = self.blocks.pop()
        block.forget()
        return block.written(statements, ends, self.writer.env)

    def _carry(self, sub: Graph, variables: list[Value]) -> None:
        """Inside a loop its carried inputs are the loop's variables."""
        for inner, outer in zip(sub.inputs, variables, strict=False):
            self.writer.env[inner] = name(f"_v{outer.id}")
            if inner.symbol is not None:
                self.writer.sizes.bind(inner.symbol, f"_v{outer.id}")
            if self.blocks:
                self.blocks[-1].add(inner)

    def _declare(self, node: Node) -> None:
        """The results have variables from here on."""
        for v in node.outputs:
            wanted = self.writer.wanted.get(f"_v{v.id}")
            self.writer.declare(v, node)
            if wanted:
                self.writer.wanted[f"_v{v.id}"] = wanted
            if self.blocks:
                self.blocks[-1].add(v)

    def _nodes(self, sub: Graph, counted: Mapping[Value, Any] | None = None) -> None:
        members = set(sub.nodes)
        for node in self.writer.region.branches.get(sub, sub.nodes[:-1]):
            if isinstance(node, Region):
                call = self.writer.region_call(node)
                self.writer.assign(node.outputs, call, last_node(node), region=node)
                for v in node.outputs:
                    self.blocks[-1].add(v)
                continue
            if counted and node.target == "host.item" and node.args[0] in counted:
                self.writer.sizes.bind(node.output.symbol, f"_v{node.args[0].id}")
                continue
            expression = self.writer.expression(node)
            if expression is None:
                continue
            if self._inlines(node, expression, members):
                self.writer.env[node.output] = expression
                continue
            self.writer.assign(node.outputs, expression, node)
            for v in node.outputs:
                self.blocks[-1].add(v)

    def _inlines(self, node: Node, expression: ast.expr, members: set[Node]) -> bool:
        if len(node.outputs) != 1 or forms.is_random(node.target):
            return False
        if any(b.shows(node.output) for b in self.blocks[-1:]) and asked(node.output, members):
            return False
        uses = node.output.uses
        only = next(iter(uses), None)
        if sum(uses.values()) != 1 or only not in members or only is None:
            return False
        return width(expression) <= MAX_WIDTH

    def _arg(self, a: Any) -> ast.expr:
        return self.writer.renderer.arg(a)

    def _truth(self, condition: Any) -> ast.expr:
        e = self._arg(condition)
        is_array = isinstance(condition, Value) and condition.kind == "array"
        return truth(e) if is_array else e

    def _named(self, values: list[Value], given: list[ast.expr]) -> list[tuple[str, ast.expr]]:
        """The variables of values with what they become; each has the name of that, if it tells."""
        pairs = []
        for v, e in zip(values, given, strict=True):
            text = f"_v{v.id}"
            told = self.writer.wanted.get(e.id, "") if isinstance(e, ast.Name) else ""
            if told not in _TELL_NOTHING:
                self.writer.wanted[text] = told
            if v.kind != "array":
                self.numbers.add(text)
            pairs.append((text, e))
        return pairs


def flag_of(node: Node) -> int | None:
    """Which variable of a ``while`` only says whether to go on."""
    condition, body = node.subgraphs["condition"], node.subgraphs["body"]
    test = condition.ret.args[0]
    if len(condition.nodes) > 1 or test not in condition.inputs:
        return None
    at = condition.inputs.index(test)
    if test.kind != "array" or body.inputs[at].uses or node.outputs[at].uses:
        return None
    return at


def counts(slice_: Value, array: Any, body: Graph) -> tuple[Any, ...] | None:
    """The arguments of ``range`` where a loop goes over an ``arange`` and only wants numbers."""
    made = array.node if isinstance(array, Value) else None
    if made is None or made.target != "mx.arange" or not slice_.uses:
        return None
    items = [n for n in body.nodes if n in slice_.uses]
    if len(items) != len(slice_.uses) or any(n.target != "host.item" for n in items):
        return None
    if any(isinstance(a, (Value, float)) for a in made.args):
        return None
    return tuple(made.args)


def asked(value: Value, members: set[Node]) -> bool:
    """Whether a block's calls mention a size that the value shows."""
    wanted = asked_sizes(members)
    return any(d in wanted for d in value.shape or ())


# Names that say nothing of what a value is.
_TELL_NOTHING = frozenset({"", "x", "mask", "zeros", "ones", "positions", "index"})
