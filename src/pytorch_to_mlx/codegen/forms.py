"""How each call target is written: as an operator, a method of its first argument, or a function
call.
"""

from __future__ import annotations

import ast

BINARY: dict[str, type[ast.operator]] = {
    "mx.add": ast.Add,
    "mx.subtract": ast.Sub,
    "mx.multiply": ast.Mult,
    "mx.divide": ast.Div,
    "mx.floor_divide": ast.FloorDiv,
    "mx.remainder": ast.Mod,
    "mx.power": ast.Pow,
    "mx.matmul": ast.MatMult,
    "mx.bitwise_and": ast.BitAnd,
    "mx.bitwise_or": ast.BitOr,
    "mx.bitwise_xor": ast.BitXor,
    "mx.left_shift": ast.LShift,
    "mx.right_shift": ast.RShift,
    "mx.logical_and": ast.BitAnd,
    "mx.logical_or": ast.BitOr,
}

COMPARE: dict[str, type[ast.cmpop]] = {
    "mx.equal": ast.Eq,
    "mx.not_equal": ast.NotEq,
    "mx.less": ast.Lt,
    "mx.less_equal": ast.LtE,
    "mx.greater": ast.Gt,
    "mx.greater_equal": ast.GtE,
}

# Logical operators only read as & and | between bool arrays.
BOOL_ONLY = frozenset({"mx.logical_and", "mx.logical_or"})

# x.reshape(2, 3): the tuple argument is spread.
SPREAD_METHODS = {"mx.reshape": "reshape", "mx.transpose": "transpose"}

# x.astype(dtype): arguments after the first stay as they are.
METHODS = {
    "mx.astype": "astype",
    "mx.view": "view",
    "mx.squeeze": "squeeze",
    "mx.swapaxes": "swapaxes",
    "mx.flatten": "flatten",
    "mx.square": "square",
}

# Shown even when the value is used once: the result deserves a line of its own.
OWN_LINE = frozenset({"mx.fast.scaled_dot_product_attention", "mx.fast.rope"})

# Random calls run in order and are never inlined, merged or moved.
RANDOM_PREFIXES = ("mx.random.", "ops.random_")


def is_random(target: str) -> bool:
    return target.startswith(RANDOM_PREFIXES)
