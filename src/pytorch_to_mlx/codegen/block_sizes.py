"""Sizes that only an array made in a branch or a loop's body shows."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

import sympy

from pytorch_to_mlx.codegen.expressions import name
from pytorch_to_mlx.codegen.sizes import Sizes
from pytorch_to_mlx.graph import Value


@dataclass
class BlockSizes:
    """The sizes that the arrays of one block show; they are known in it alone."""

    sizes: Sizes
    wanted: dict[str, str]
    found: dict[str, tuple[Value, int]] = field(default_factory=dict)
    symbols: list[sympy.Symbol] = field(default_factory=list)

    def shows(self, value: Value) -> bool:
        """Whether a value's shape shows a size that nothing else in reach does."""
        return any(self._new(d) for d in value.shape or ())

    def add(self, value: Value) -> None:
        """Lets sizes be read from an array of the block."""
        for axis, d in enumerate(value.shape or ()):
            if self._new(d):
                placeholder = f"_v{value.id}n{axis}"
                self.sizes.bind(d, placeholder)
                self.symbols.append(d)
                self.found[placeholder] = (value, axis)
                self.wanted[placeholder] = "length"

    def _new(self, d: object) -> bool:
        return (
            isinstance(d, sympy.Symbol) and d not in self.sizes.bound and not self.sizes.derives(d)
        )

    def forget(self) -> None:
        """At the block's end."""
        for s in self.symbols:
            self.sizes.bound.pop(s, None)

    def written(
        self, statements: list[ast.stmt], ends: list[ast.expr], variable: dict[Value, ast.expr]
    ) -> tuple[list[ast.stmt], list[ast.expr]]:
        """The block's statements and last expressions with the sizes read: in place where one is
        used once, else in a statement of its own."""
        for placeholder, (value, axis) in self.found.items():
            array = variable.get(value) or name(f"_v{value.id}")
            count = sum(
                isinstance(n, ast.Name) and n.id == placeholder
                for s in statements
                for n in ast.walk(s)
            )
            read = ast.Subscript(
                ast.Attribute(array, "shape", ast.Load()), ast.Constant(axis), ast.Load()
            )
            inline = _Inline(placeholder, read)
            ends = [inline.visit(e) for e in ends]
            if count == 1:
                statements = [inline.visit(s) for s in statements]
            elif count:
                at = _after(statements, f"_v{value.id}")
                bind = ast.Assign([ast.Name(placeholder, ast.Store())], read, lineno=0)
                statements = [*statements[:at], bind, *statements[at:]]
        return statements, ends


def _after(statements: list[ast.stmt], text: str) -> int:
    for i, s in enumerate(statements):
        for n in ast.walk(s):
            if isinstance(n, ast.Name) and n.id == text and isinstance(n.ctx, ast.Store):
                return i + 1
    return 0


class _Inline(ast.NodeTransformer):
    def __init__(self, placeholder: str, e: ast.expr) -> None:
        self.placeholder, self.e = placeholder, e

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.e if node.id == self.placeholder else node
