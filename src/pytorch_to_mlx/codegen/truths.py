"""Conditions of ``if`` and ``while`` as Python: what the device computes is waited for by
``.item()``, what sizes decide is plain Python."""

from __future__ import annotations

import ast
from collections.abc import Sequence

_NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.GtE,
    ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
}  # fmt: skip


def truth(e: ast.expr) -> ast.expr:
    """A 0-D bool array as a Python condition.

    ``mx.array(n > 3, dtype=mx.bool_) & mask`` becomes ``n > 3 and mask.item()``; a condition of
    arrays alone is one ``.item()``.
    """
    plain = plain_condition(e)
    if plain is not None:
        return plain
    if isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.Invert):
        return negated(truth(e.operand))
    if isinstance(e, ast.BinOp) and isinstance(e.op, (ast.BitAnd, ast.BitOr)) and _mixed(e):
        both = isinstance(e.op, ast.BitAnd)
        parts = sorted(_operands(e, type(e.op)), key=lambda p: not _mixed(p))
        return joined([truth(p) for p in parts], both=both)
    return ast.Call(ast.Attribute(e, "item", ast.Load()), [], [])


def plain_condition(e: ast.expr) -> ast.expr | None:
    """What sizes decide within ``mx.array(..., dtype=mx.bool_)``."""
    if not isinstance(e, ast.Call) or ast.unparse(e.func) != "mx.array" or not e.keywords:
        return None
    return e.args[0] if ast.unparse(e.keywords[0].value) == "mx.bool_" else None


def joined(parts: Sequence[ast.expr], *, both: bool) -> ast.expr:
    """``a and b`` (or ``a or b``); constants are left out where they decide nothing."""
    kept = [p for p in parts if not is_constant(p, both)]
    if not kept:
        return ast.Constant(both)
    if any(is_constant(p, not both) for p in kept):
        return ast.Constant(not both)
    return kept[0] if len(kept) == 1 else ast.BoolOp(ast.And() if both else ast.Or(), kept)


def negated(e: ast.expr) -> ast.expr:
    """``not e``, as one would write it."""
    if isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.Not):
        return e.operand
    if isinstance(e, ast.Constant):
        return ast.Constant(not e.value)
    if isinstance(e, ast.BoolOp):
        return joined([negated(v) for v in e.values], both=isinstance(e.op, ast.Or))
    if isinstance(e, ast.Compare) and len(e.ops) == 1 and type(e.ops[0]) in _NEGATED:
        return ast.Compare(e.left, [_NEGATED[type(e.ops[0])]()], e.comparators)
    return ast.UnaryOp(ast.Not(), e)


def conjuncts(e: ast.expr) -> list[ast.expr]:
    """The parts of ``a and b``."""
    return list(e.values) if isinstance(e, ast.BoolOp) and isinstance(e.op, ast.And) else [e]


def is_constant(e: ast.expr, value: bool) -> bool:
    return isinstance(e, ast.Constant) and e.value is value


def _mixed(e: ast.expr) -> bool:
    """Whether sizes decide a part of it."""
    if isinstance(e, ast.UnaryOp):
        return _mixed(e.operand)
    if isinstance(e, ast.BinOp):
        return _mixed(e.left) or _mixed(e.right)
    return plain_condition(e) is not None


def _operands(e: ast.expr, operator: type[ast.operator]) -> list[ast.expr]:
    if isinstance(e, ast.BinOp) and isinstance(e.op, operator):
        return [*_operands(e.left, operator), *_operands(e.right, operator)]
    return [e]
