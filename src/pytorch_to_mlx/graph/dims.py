"""Symbolic sizes: integers or sympy expressions over positive integer symbols.

A size is known at conversion time (``int``) or an expression (``sympy.Expr``) over symbols that
stand
for a dimension of an input or for a value that the data decides (``nonzero``). Generated code turns
them into plain Python integers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeAlias

import sympy
from sympy.printing.str import StrPrinter

Expr = sympy.Expr
Dim: TypeAlias = "int | sympy.Expr"


#: The longest formula that a size may have (by :func:`length`).
LONGEST = 200


@cache
def length(e: sympy.Basic) -> int:
    """About how many terms a formula has when it is multiplied out, up to a bound.

    Formulas share their parts, so a short program can make one that no memory could hold.
    """
    parts = [length(a) for a in e.args]
    if not parts:
        return 1
    if isinstance(e, sympy.Mul):
        return min(math.prod(parts), _MANY)
    if isinstance(e, sympy.Pow):
        exponent = int(e.args[1]) if e.args[1].is_Integer else 2
        return min(max(parts[0], 2) ** min(abs(exponent), 64), _MANY)
    return min(sum(parts) + (not isinstance(e, sympy.Add)), _MANY)


_MANY = 1 << 40


def symbol(name: str) -> sympy.Symbol:
    """The integer symbol of a size: positive, but where data decide it (torch's ``u0``)."""
    if _OF_DATA.fullmatch(name):
        return sympy.Symbol(name, integer=True)
    return sympy.Symbol(name, integer=True, positive=True)


_OF_DATA = re.compile(r"u\d+")


class FloorDiv(sympy.Function):
    """``a // b`` as Python rounds it (towards minus infinity)."""

    nargs = (2,)
    is_integer = True

    @classmethod
    def eval(cls, a: Any, b: Any) -> Any:
        if b == 1:
            return a
        if a.is_Integer and b.is_Integer and b != 0:
            return sympy.Integer(int(a) // int(b))
        if a == b:
            return sympy.Integer(1)
        if b.is_Integer and b > 0:
            return _floor_div_by_constant(a, b)
        quotient = sympy.cancel(a / b)
        if quotient.is_polynomial() and _integer_coefficients(quotient):
            return quotient
        return None

    def _eval_is_nonnegative(self) -> bool | None:
        a, b = self.args
        return bool(a.is_nonnegative and b.is_positive) or None


def _integer_coefficients(e: sympy.Expr) -> bool:
    return all(term.as_coeff_Mul()[0].is_Integer for term in sympy.Add.make_args(sympy.expand(e)))


def _floor_div_by_constant(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr | None:
    """Takes the terms that ``b`` divides out of the floor: ``(4*s + 3)//2 -> 2*s + 1``."""
    if isinstance(a, FloorDiv) and a.args[1].is_Integer and a.args[1] > 0:
        return FloorDiv(a.args[0], a.args[1] * b)
    constant, inner = a.as_coeff_Add()
    if (
        constant.is_Integer
        and constant
        and isinstance(inner, FloorDiv)
        and inner.args[1].is_Integer
        and inner.args[1] > 0
    ):
        return FloorDiv(inner.args[0] + inner.args[1] * constant, inner.args[1] * b)
    terms = [t.as_coeff_Mul() for t in sympy.Add.make_args(sympy.expand(inner))]
    if all(c.is_Integer and c < 0 for c, _ in terms):
        return -FloorDiv(sympy.expand(b - 1 - a), b)  # a ceiling: -(-n // 2) is (n + 1) // 2
    whole, rest = [], []
    for term in sympy.Add.make_args(sympy.expand(a)):
        coefficient, factor = term.as_coeff_Mul()
        if not coefficient.is_Integer:
            return None
        q, r = divmod(int(coefficient), int(b))
        if factor == 1:
            whole.append(sympy.Integer(q))
            rest.append(sympy.Integer(r))
        elif r == 0:
            whole.append(q * factor)
        else:
            rest.append(term)
    whole_sum, rest_sum = sympy.Add(*whole), sympy.Add(*rest)
    if whole_sum == 0:
        return None
    return whole_sum + FloorDiv(rest_sum, b)


class Mod(sympy.Function):
    """``a % b`` with Python's sign (that of ``b``)."""

    nargs = (2,)
    is_integer = True

    @classmethod
    def eval(cls, a: Any, b: Any) -> Any:
        if a.is_Integer and b.is_Integer and b != 0:
            return sympy.Integer(int(a) % int(b))
        if b == 1 or a == b:
            return sympy.Integer(0)
        quotient = sympy.cancel(a / b)
        if quotient.is_polynomial() and _integer_coefficients(quotient):
            return sympy.Integer(0)
        return None


class Conditional(sympy.Function):
    """``a if condition else b`` over host values."""

    nargs = (3,)

    @classmethod
    def eval(cls, condition: Any, a: Any, b: Any) -> Any:
        if condition == sympy.true:
            return a
        if condition == sympy.false:
            return b
        return a if a == b else None


class IntTrueDiv(sympy.Function):
    """``a / b`` as a Python float."""

    nargs = (2,)
    is_real = True


class PyCall(sympy.Function):
    """A call of a Python builtin or ``math`` function; the first argument is a symbol with its
    name, which is no size.
    """

    is_real = True

    @property
    def free_symbols(self) -> set[Any]:
        return set().union(*(a.free_symbols for a in self.args[1:]))


def as_dim(value: Any) -> Dim:
    """Normalises to a Python int where the value is a known integer."""
    if isinstance(value, bool):
        raise TypeError("a size cannot be a bool")
    if isinstance(value, int):
        return value
    if isinstance(value, sympy.Integer):
        return int(value)
    if isinstance(value, sympy.Expr):
        return value
    raise TypeError(f"not a size: {value!r}")


def is_static(d: Any) -> bool:
    return isinstance(d, int) or getattr(d, "is_Integer", False)


def dims_equal(a: Dim, b: Dim) -> bool:
    """Whether two sizes are provably equal."""
    if a is b or a == b:
        return True
    if is_static(a) and is_static(b):
        return int(a) == int(b)
    if any(isinstance(d, sympy.logic.boolalg.Boolean) for d in (a, b)):
        return False  # conditions are no sizes
    return bool(sympy.expand(sympy.sympify(a) - sympy.sympify(b)) == 0)


def product(dims: Iterable[Dim]) -> Dim:
    total: Any = 1
    for d in dims:
        total = total * d
    return as_dim(sympy.expand(total)) if isinstance(total, sympy.Expr) else total


def free_symbols(value: Any) -> set[sympy.Symbol]:
    """All symbols in a size, or in nested tuples, lists and dicts of sizes."""
    if isinstance(value, sympy.Basic):
        return {s for s in value.free_symbols if not s.name.startswith("py:")}
    if isinstance(value, (tuple, list)):
        return set().union(*(free_symbols(v) for v in value)) if value else set()
    if isinstance(value, dict):
        return free_symbols(list(value.values()))
    return set()


def evaluate(value: Any, sizes: Mapping[sympy.Symbol, int]) -> Any:
    """Replaces symbols by numbers; a fully known expression becomes an int, float or bool.

    Raises:
        ZeroDivisionError: it divides by what is zero at these sizes.
    """
    if not isinstance(value, sympy.Basic):
        return value
    out = value.subs(dict(sizes), simultaneous=True)
    if out.is_Integer:
        return int(out)
    if out in (sympy.true, sympy.false):
        return bool(out)
    if out.has(sympy.zoo, sympy.nan):
        raise ZeroDivisionError(f"{value} is not defined at {dict(sizes)}")
    if not free_symbols(out):
        return eval(python_source(out, {}), {"math": __import__("math")})
    return out


class _PythonPrinter(StrPrinter):
    """Prints an expression as Python source with integer semantics."""

    def __init__(self, names: Mapping[sympy.Symbol, str]) -> None:
        super().__init__()
        self._names = names

    def _print_Symbol(self, expr: Any) -> str:
        return self._names.get(expr, expr.name)

    def _infix(self, expr: Any, op: str) -> str:
        return f" {op} ".join(self.parenthesize(a, 60, strict=False) for a in expr.args)

    def _print_FloorDiv(self, expr: Any) -> str:
        return self._binary(expr, "//")

    def _print_Mod(self, expr: Any) -> str:
        return self._binary(expr, "%")

    def _print_IntTrueDiv(self, expr: Any) -> str:
        return self._binary(expr, "/")

    def _binary(self, expr: Any, op: str) -> str:
        return f"({self._atom(expr.args[0])} {op} {self._atom(expr.args[1])})"

    def _atom(self, expr: Any) -> str:
        text = self._print(expr)
        return (
            text if expr.is_Atom or (text.endswith(")") and text.startswith("(")) else f"({text})"
        )

    def _print_Max(self, expr: Any) -> str:
        return f"max({', '.join(sorted(self._print(a) for a in expr.args))})"

    def _print_Min(self, expr: Any) -> str:
        return f"min({', '.join(sorted(self._print(a) for a in expr.args))})"

    def _print_Conditional(self, expr: Any) -> str:
        condition, a, b = (self._print(x) for x in expr.args)
        return f"({a} if {condition} else {b})"

    def _print_PyCall(self, expr: Any) -> str:
        name, *args = expr.args
        return f"{name.name.removeprefix('py:')}({', '.join(self._print(a) for a in args)})"

    def _print_Equality(self, expr: Any) -> str:
        return f"({self._print(expr.lhs)} == {self._print(expr.rhs)})"

    def _print_Unequality(self, expr: Any) -> str:
        return f"({self._print(expr.lhs)} != {self._print(expr.rhs)})"

    def _print_And(self, expr: Any) -> str:
        return "(" + " and ".join(self._print(a) for a in expr.args) + ")"

    def _print_Or(self, expr: Any) -> str:
        return "(" + " or ".join(self._print(a) for a in expr.args) + ")"

    def _print_Not(self, expr: Any) -> str:
        return f"(not {self._print(expr.args[0])})"

    def _print_BooleanTrue(self, expr: Any) -> str:
        return "True"

    def _print_BooleanFalse(self, expr: Any) -> str:
        return "False"

    def _print_Float(self, expr: Any) -> str:
        return repr(float(expr))

    def _print_Rational(self, expr: Any) -> str:
        return f"({expr.p} / {expr.q})"


def python_source(value: Any, names: Mapping[sympy.Symbol, str]) -> str:
    """Python source of a size; ``names`` gives the variable for each symbol."""
    if isinstance(value, (bool, int, float, str)) or value is None:
        return repr(value)
    if isinstance(value, sympy.Integer):
        return str(int(value))
    text = _PythonPrinter(names).doprint(value)
    if text.startswith("(") and text.endswith(")") and _outer_pair(text):
        text = text[1:-1]
    return text


def _outer_pair(text: str) -> bool:
    depth = 0
    for i, ch in enumerate(text):
        depth += (ch == "(") - (ch == ")")
        if depth == 0 and i < len(text) - 1:
            return False
    return True
