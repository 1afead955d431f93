"""The mark of a function that implements an op."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
MARK = "__implements_op__"
_NAME = re.compile(r"[A-Za-z_][\w.]*::[A-Za-z_]\w*(\.[A-Za-z_]\w*)?")


def implements(op: str) -> Callable[[F], F]:
    """Marks a function of plain MLX as the form of a torch op (``"mylib::op"``).

    The function takes the arguments of the op's schema in order (keyword-only ones by name):
    ``mx.array`` for tensors, an ``mx.Dtype`` for a dtype, tuples for lists, Python numbers for the
    rest. It returns arrays of the original's shapes and dtypes (float64 as float32).

    Raises:
        ValueError: the name is not of the form ``namespace::op`` or ``namespace::op.overload``.
    """
    if not isinstance(op, str) or not _NAME.fullmatch(op):
        raise ValueError(f"{op!r} names no op; write 'namespace::op'")

    def mark(function: F) -> F:
        setattr(function, MARK, op)
        return function

    return mark
