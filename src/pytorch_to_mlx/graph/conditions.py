"""Conditions on sizes as text: ``min(H // 2, W // 2) > 4``."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from typing import Any

_ARITHMETIC = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Call, ast.Attribute,
    ast.Name, ast.Constant, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Load,
)  # fmt: skip
_PLAIN: dict[str, Any] = {"max": max, "min": min, "abs": abs, "float": float}
_FUNCTIONS = {*_PLAIN, "math.ceil", "math.floor", "math.trunc", "math.sqrt"}


def compiled(text: str, names: Sequence[str]) -> Callable[..., bool] | None:
    """A condition as a function of the names in this order; ``None`` where the text holds more than
    arithmetic and comparisons (a file can hold any).
    """
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return None
    nodes = list(ast.walk(tree))
    if not all(isinstance(node, _ARITHMETIC) for node in nodes):
        return None
    called = {id(n.func): ast.unparse(n.func) for n in nodes if isinstance(n, ast.Call)}
    used = {n.id for n in nodes if isinstance(n, ast.Name)}
    attributes = {id(n) for n in nodes if isinstance(n, ast.Attribute)}
    known = {*names, *_PLAIN, "math"}
    if not (set(called.values()) <= _FUNCTIONS and used <= known and attributes <= set(called)):
        return None
    if not all(map(str.isidentifier, names)):
        return None
    source = f"lambda {', '.join(names)}: {text}"
    scope = {"__builtins__": _PLAIN, "math": math}
    function: Callable[..., bool] = eval(source, scope)  # of arithmetic alone, as checked above
    return function


def names_in(text: str) -> list[str]:
    """The sizes that a condition is about."""
    found = {n.id for n in ast.walk(ast.parse(text, mode="eval")) if isinstance(n, ast.Name)}
    return sorted(found - {*_PLAIN, "math"})
