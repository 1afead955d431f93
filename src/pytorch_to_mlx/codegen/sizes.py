"""Symbolic sizes in a method: which variable holds each, and the ``B, T, _ = x.shape`` that binds
it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sympy

from pytorch_to_mlx.codegen.expressions import name
from pytorch_to_mlx.codegen.size_names import axis_name
from pytorch_to_mlx.graph import Node, Value
from pytorch_to_mlx.graph.dims import (
    FloorDiv,
    dims_equal,
    free_symbols,
    is_static,
    python_source,
)
from pytorch_to_mlx.graph.ir import iter_leaves

#: Operations of the longest size that is written out where an array has it.
LONGEST = 4


class Sizes:
    """Resolves size expressions against the shapes of the arrays a method can see.

    ``names`` says what symbols are called. ``bound`` are symbols that already have a variable (host
    values made in the method or passed to it).
    """

    def __init__(self, arrays: Sequence[Value], names: Mapping[str, str]) -> None:
        self.names = names
        self.arrays = [v for v in arrays if v.kind == "array" and v.shape]
        self.needed: list[sympy.Expr] = []
        self.bound: dict[sympy.Symbol, str] = {
            v.symbol: f"_v{v.id}"
            for v in arrays
            if v.kind != "array" and isinstance(v.symbol, sympy.Symbol)
        }
        self.atoms: dict[sympy.Expr, tuple[Value, int]] = {}
        self.extra: list[sympy.Expr] = []
        for v in self.arrays:
            for axis, d in enumerate(v.shape or ()):
                if not is_static(d) and not any(dims_equal(d, a) for a in self.atoms):
                    self.atoms[d] = (v, axis)
        self.used: dict[sympy.Expr, None] = {}

    def bind(self, symbol: sympy.Symbol, variable: str) -> None:
        """A host value computed in the method: its symbol is that variable from here on."""
        self.bound[symbol] = variable

    def add_array(self, value: Value) -> None:
        """Lets sizes be read from an intermediate array (used only where the inputs cannot
        tell, or only in a long expression).
        """
        for axis, d in enumerate(value.shape or ()):
            if (
                not is_static(d)
                and not any(dims_equal(d, a) for a in self.atoms)
                and (is_long(d) or self._derive(d) is None)
            ):
                self.atoms[d] = (value, axis)

    def tells(self, value: Value, asked: set[sympy.Symbol]) -> bool:
        """Whether a value's shape is what shows a size that is asked for elsewhere."""
        return any(
            bool(free_symbols(d) & asked) and self._derive(d) is None for d in value.shape or ()
        )

    def derives(self, e: sympy.Expr) -> bool:
        """Whether the arrays in reach determine a size."""
        used = dict(self.used)
        found = self._derive(e) is not None
        self.used = used
        return found

    def expression(self, e: sympy.Expr) -> ast.expr:
        """Python for a size; atoms become placeholder names ``_a<n>`` that :meth:`bindings` later
        binds.
        """
        derived = self._derive(e)
        if derived is None:
            if not any(dims_equal(e, x) for x in self.extra):
                self.extra.append(e)
            return name(f"_{self._key(e)}")
        text = python_source(derived, {})
        return ast.parse(text, mode="eval").body

    def kept(self, dims: tuple[Any, ...], axis: int) -> ast.expr | None:
        """A fixed size that an array in reach has on the same axis behind the same first size."""
        for v in self.arrays:
            if axis < v.ndim - 1 and dims_equal(v.dims[0], dims[0]) and v.dims[axis] == dims[axis]:
                atom = sympy.Symbol(f"kept_{v.id}_{axis}", integer=True, positive=True)
                self.atoms.setdefault(atom, (v, axis))
                self.used[atom] = None
                return name(f"_a{list(self.atoms).index(atom)}")
        return None

    def _key(self, e: Any) -> str:
        return f"e{self.extra.index(next(x for x in self.extra if dims_equal(e, x)))}"

    def _derive(self, e: Any) -> Any:
        """``e`` over placeholder symbols, or None when the arrays in reach do not determine it."""
        if is_static(e) or not isinstance(e, sympy.Basic):
            return e
        if isinstance(e, sympy.Symbol) and e in self.bound:
            return sympy.Symbol(self.bound[e])
        for i, atom in enumerate(self.atoms):
            if dims_equal(e, atom):
                self.used[atom] = None
                positive = True if atom.is_positive else None
                return sympy.Symbol(f"_a{i}", integer=True, positive=positive)
        if isinstance(e, sympy.Symbol):
            return self._invert(e) if free_symbols(e) else e  # the name of a function is itself
        if not e.args:
            return e
        parts = [self._derive(a) for a in e.args]
        if any(p is None for p in parts):
            return None
        return e.func(*parts)

    def _invert(self, s: sympy.Symbol) -> Any:
        """``s`` from an array size that is linear in it (``2*s + 1``)."""
        for i, atom in enumerate(self.atoms):
            poly = sympy.expand(atom)
            if poly.free_symbols != {s} or not poly.is_polynomial(s) or sympy.degree(poly, s) != 1:
                continue
            a, b = poly.coeff(s, 1), poly.coeff(s, 0)
            if a.is_Integer and b.is_Integer and a > 0:
                self.used[atom] = None
                return FloorDiv(sympy.Symbol(f"_a{i}", integer=True, positive=True) - b, a)
        return None

    # -- binding
    # -------------------------------------------------------------------------------------

    def bindings(
        self, taken: set[str], variable_of: Any, written: set[str]
    ) -> tuple[list[tuple[Value, ast.stmt]], dict[str, str]]:
        """Statements that bind every used atom (each with the array it reads), and placeholder
        names.
        """
        index = {atom: i for i, atom in enumerate(self.atoms)}
        by_array: dict[Value, dict[int, sympy.Expr]] = {}
        for atom in self.used:
            if f"_a{index[atom]}" not in written:  # was asked for, then written as -1
                continue
            value, axis = self.atoms[atom]
            by_array.setdefault(value, {})[axis] = atom
        names = self._atom_names(by_array, index, taken)
        statements: list[tuple[Value, ast.stmt]] = []
        given = {v: i for i, v in enumerate(self.arrays)}
        for value, axes in sorted(by_array.items(), key=lambda f: given.get(f[0], len(given))):
            labels = {axis: names[f"_a{index[atom]}"] for axis, atom in axes.items()}
            statements.append((value, _unpack(variable_of(value), value.ndim, labels)))
        return statements, names

    def _atom_names(
        self,
        by_array: Mapping[Value, Mapping[int, sympy.Expr]],
        index: Mapping[sympy.Expr, int],
        taken: set[str],
    ) -> dict[str, str]:
        """Placeholder to name: a symbol has the model's name for it, another size one by role."""
        found = [(v, axis, atom) for v, axes in by_array.items() for axis, atom in axes.items()]
        found.sort(key=lambda f: (not isinstance(f[2], sympy.Symbol), index[f[2]]))
        names: dict[str, str] = {}
        for value, axis, atom in found:
            wanted = self.names.get(atom.name, "") if isinstance(atom, sympy.Symbol) else ""
            if not wanted or wanted in taken:
                wanted = axis_name(value, axis, taken | set(self.names.values()))
            names[f"_a{index[atom]}"] = wanted
            taken.add(wanted)
        return names


def is_long(size: Any) -> bool:
    """Whether a size is better read from an array than computed again."""
    parts = sympy.preorder_traversal(size) if isinstance(size, sympy.Basic) else ()
    return sum(1 for part in parts if part.args) > LONGEST


def asked_sizes(nodes: Iterable[Node]) -> set[sympy.Symbol]:
    """The symbols that nodes (and what they hold) have in their arguments."""
    found: set[sympy.Symbol] = set()
    for node in nodes:
        for leaf in iter_leaves((node.args, node.kwargs)):
            if isinstance(leaf, sympy.Basic):
                found |= free_symbols(leaf)
        for sub in node.subgraphs.values():
            found |= asked_sizes(sub.nodes)
    return found


def _unpack(array: ast.expr, rank: int, labels: dict[int, str]) -> ast.stmt:
    """``B, T, _ = x.shape``, ``B, T = x.shape[:2]`` or ``T = x.shape[1]``."""
    shape = ast.Attribute(array, "shape", ast.Load())
    if len(labels) == 1:
        ((axis, label),) = labels.items()
        index = ast.Subscript(shape, ast.Constant(axis), ast.Load())
        return ast.Assign([ast.Name(label, ast.Store())], index, lineno=0)
    last = max(labels)
    count = rank if rank - last <= 2 else last + 1
    source: ast.expr = shape
    if count < rank:
        source = ast.Subscript(shape, ast.Slice(None, ast.Constant(count), None), ast.Load())
    targets: list[ast.expr] = [ast.Name(labels.get(i, "_"), ast.Store()) for i in range(count)]
    return ast.Assign([ast.Tuple(targets, ast.Store())], source, lineno=0)
