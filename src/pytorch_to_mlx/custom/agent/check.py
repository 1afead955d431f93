"""Reads a function from outside as a tree in which every node, name and call must be known."""

from __future__ import annotations

import ast
import keyword

from pytorch_to_mlx.custom.agent.allowed import BUILTINS, CONSTANTS, FUNCTIONS, MEMBERS

_LONGEST = 20_000
_LARGEST = 2**31
_NODES: tuple[type[ast.AST], ...] = (
    *(ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Assign, ast.AugAssign),
    *(ast.For, ast.If, ast.IfExp, ast.Expr, ast.Pass, ast.Break, ast.Continue),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Call, ast.keyword, ast.Name),
    *(ast.Attribute, ast.Constant, ast.Tuple, ast.List, ast.Subscript, ast.Slice, ast.Starred),
    *(ast.ListComp, ast.GeneratorExp, ast.comprehension),
    *(ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)


class Rejected(Exception):
    """The source holds what is not allowed; the message says what, and where."""


def checked(source: str, function: str) -> str:
    """The source, written anew from its checked tree.

    It may define functions, ``function`` among them, that call each other, array maths of ``mx``
    and a few builtins. Loops are over ranges and sequences.

    Raises:
        Rejected: anything else is in it.
    """
    if len(source) > _LONGEST:
        raise Rejected(f"the answer is longer than {_LONGEST} characters")
    try:
        tree = ast.parse(source)
        defined = _definitions(tree)
        if function not in defined:
            raise Rejected(f"the answer defines no function called {function}")
        for node in tree.body:
            assert isinstance(node, ast.FunctionDef)
            _Reader(defined).read(node)
        return ast.unparse(tree) + "\n"
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Rejected(f"the answer does not parse: {type(error).__name__}: {error}") from error


def _definitions(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            raise Rejected(f"line {node.lineno}: only functions may be defined at the top")
        _own_name(node.name, node)
        if node.name in names:
            raise Rejected(f"line {node.lineno}: {node.name} is defined twice")
        names.add(node.name)
    return names


def _own_name(name: str, node: ast.AST) -> None:
    taken = {"mx", "nn", "math"} | BUILTINS
    plain = name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    if not plain or "__" in name or name in taken:
        raise Rejected(f"line {getattr(node, 'lineno', 0)}: {name!r} may not be defined")


class _Reader:
    """One function of the answer; ``defined`` are all of them."""

    def __init__(self, defined: set[str]) -> None:
        self.defined = defined
        self.local: set[str] = set()

    def read(self, function: ast.FunctionDef) -> None:
        if function.decorator_list:
            raise Rejected(f"line {function.lineno}: decorators are not allowed")
        for node in ast.walk(function):
            if isinstance(node, ast.arg):
                _own_name(node.arg, node)
                self.local.add(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                _own_name(node.id, node)
                self.local.add(node.id)
        if self.local & self.defined:
            raise Rejected(f"line {function.lineno}: a local name hides a function")
        for default in (*function.args.defaults, *function.args.kw_defaults):
            if default is not None and not _is_literal(default):
                raise Rejected(f"line {function.lineno}: defaults must be literals")
        for part in ast.iter_child_nodes(function):
            self._visit(part)

    def _visit(self, node: ast.AST) -> None:
        line = getattr(node, "lineno", 0)
        if not isinstance(node, _NODES) or isinstance(node, (ast.FunctionDef, ast.Module)):
            raise Rejected(f"line {line}: {type(node).__name__} is not allowed")
        if isinstance(node, ast.Call):
            self._call(node)
            return
        if isinstance(node, ast.Attribute):
            self._attribute(node, CONSTANTS)
            return
        if isinstance(node, ast.Name):
            self._name(node)
        elif isinstance(node, ast.Constant):
            _constant(node)
        elif isinstance(node, ast.comprehension) and node.is_async:
            raise Rejected(f"line {line}: async is not allowed")
        for child in ast.iter_child_nodes(node):
            self._visit(child)

    def _call(self, node: ast.Call) -> None:
        called = node.func
        if isinstance(called, ast.Attribute):
            self._attribute(called, FUNCTIONS)
        elif not isinstance(called, ast.Name) or called.id not in self.defined | BUILTINS:
            raise Rejected(f"line {node.lineno}: {ast.unparse(called)[:60]} may not be called")
        for part in (*node.args, *node.keywords):
            if isinstance(part, ast.keyword) and (part.arg is None or part.arg == "stream"):
                raise Rejected(f"line {node.lineno}: neither ** nor stream= is allowed")
            self._visit(part)

    def _attribute(self, node: ast.Attribute, of_mx: frozenset[str]) -> None:
        if not isinstance(node.ctx, ast.Load):
            raise Rejected(f"line {node.lineno}: attributes may not be set")
        if isinstance(node.value, ast.Name) and node.value.id == "mx":
            if node.attr not in of_mx:
                raise Rejected(f"line {node.lineno}: mx.{node.attr} is not allowed here")
            return
        if node.attr not in MEMBERS:
            raise Rejected(f"line {node.lineno}: .{node.attr} is not allowed")
        self._visit(node.value)

    def _name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Del):
            raise Rejected(f"line {node.lineno}: del is not allowed")
        if isinstance(node.ctx, ast.Load) and node.id not in self.local | {
            *("int", "float", "bool", "tuple", "list")  # they annotate, and do no harm as values
        }:
            raise Rejected(f"line {node.lineno}: {node.id} is not known here")


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and _is_literal(node.operand)
    if isinstance(node, ast.Tuple):
        return all(_is_literal(e) for e in node.elts)
    return isinstance(node, ast.Constant)


def _constant(node: ast.Constant) -> None:
    value = node.value
    if isinstance(value, (bytes, complex)) or (isinstance(value, int) and abs(value) > _LARGEST):
        raise Rejected(f"line {node.lineno}: the constant {value!r:.40} is not allowed")
