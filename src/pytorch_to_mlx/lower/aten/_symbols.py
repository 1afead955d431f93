"""torch's symbolic sizes to the graph's: same symbols, Python's integer semantics."""

from __future__ import annotations

from typing import Any

import sympy

from pytorch_to_mlx.graph.dims import Conditional, FloorDiv, IntTrueDiv, Mod, PyCall, symbol
from pytorch_to_mlx.lower.registry import Unsupported


def to_expr(value: Any) -> Any:
    """An int, float or bool where the value is known; else an expression over the graph's
    symbols.
    """
    import torch

    if isinstance(value, (bool, int, float)) or value is None:
        return value
    if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return normalise(_convert(value.node.expr))
    if isinstance(value, sympy.Basic):
        return normalise(_convert(value))
    raise Unsupported(f"the size {value!r} is of no known kind")


def normalise(expr: Any) -> Any:
    if expr in (sympy.true, sympy.false):
        return bool(expr)
    if isinstance(expr, sympy.Integer):
        return int(expr)
    if isinstance(expr, sympy.Float):
        return float(expr)
    return expr


def _max(*args: Any) -> Any:
    return sympy.Max(*args)


def _min(*args: Any) -> Any:
    return sympy.Min(*args)


def _pow(a: Any, b: Any) -> Any:
    return a**b


def _py(name: str) -> Any:
    return lambda *args: PyCall(sympy.Symbol(f"py:{name}"), *args)


def _ceil(x: Any) -> Any:
    """Rounded up: of a quotient of integers without floats, where it is one."""
    parts = _quotient(x)
    return (
        PyCall(sympy.Symbol("py:math.ceil"), x) if parts is None else -FloorDiv(-parts[0], parts[1])
    )


def _floor(x: Any) -> Any:
    parts = _quotient(x)
    return PyCall(sympy.Symbol("py:math.floor"), x) if parts is None else FloorDiv(*parts)


def _quotient(x: Any) -> tuple[Any, Any] | None:
    """``(a + n*b, b)`` of ``a / b + n`` over integers."""
    quotients = [t for t in sympy.Add.make_args(x) if isinstance(t, IntTrueDiv)]
    if len(quotients) != 1:
        return None
    a, b = quotients[0].args
    rest = sympy.nsimplify(x - quotients[0]) if (x - quotients[0]).is_number else x - quotients[0]
    if not (a.is_integer and b.is_integer and rest.is_integer):
        return None
    return sympy.expand(a + rest * b), b


_FUNCTIONS: dict[str, Any] = {
    "FloorDiv": FloorDiv,
    "CleanDiv": FloorDiv,
    "Mod": Mod,
    "PythonMod": Mod,
    "CeilDiv": lambda a, b: -FloorDiv(-a, b),
    "IntTrueDiv": IntTrueDiv,
    "FloatTrueDiv": IntTrueDiv,
    "Max": _max,
    "Min": _min,
    "ModularIndexing": lambda a, b, c: Mod(FloorDiv(a, b), c),
    "PowByNatural": _pow,
    "FloatPow": _pow,
    "Where": lambda c, a, b: Conditional(c, a, b),
    "ToFloat": _py("float"),
    "Identity": lambda a: a,
    "CeilToInt": _ceil,
    "FloorToInt": _floor,
    "TruncToInt": _py("int"),
    "TruncToFloat": _py("math.trunc"),
    "RoundToInt": _py("round"),
    "RoundDecimal": _py("round"),
    "OpaqueUnaryFn_sqrt": _py("math.sqrt"),
    "OpaqueUnaryFn_exp": _py("math.exp"),
    "OpaqueUnaryFn_log": _py("math.log"),
    "OpaqueUnaryFn_log2": _py("math.log2"),
    "OpaqueUnaryFn_cos": _py("math.cos"),
    "OpaqueUnaryFn_sin": _py("math.sin"),
    "OpaqueUnaryFn_tanh": _py("math.tanh"),
    "Abs": _py("abs"),
    "floor": _floor,
    "ceiling": _ceil,
}


def _convert(expr: Any) -> Any:
    if isinstance(expr, sympy.Symbol):
        return symbol(expr.name) if expr.is_integer else sympy.Symbol(expr.name, real=True)
    if expr.is_Atom:
        return expr
    args = [_convert(a) for a in expr.args]
    name = expr.func.__name__
    if name in _FUNCTIONS:
        return _FUNCTIONS[name](*args)
    if isinstance(
        expr, (sympy.Add, sympy.Mul, sympy.Pow, sympy.Rel, sympy.And, sympy.Or, sympy.Not)
    ):
        return expr.func(*args)
    if isinstance(expr, sympy.Piecewise):
        value: Any = args[-1].args[0]
        for pair in reversed(args[:-1]):
            value = Conditional(pair.args[1], pair.args[0], value)
        return value
    if isinstance(expr, sympy.functions.elementary.piecewise.ExprCondPair):
        return expr.func(*args)
    raise Unsupported(f"sizes computed with {name} cannot be expressed in Python")
