"""The table of lowerings: op name to the function that builds its MLX calls.

A lowering is registered under the source op's full name (``aten.add.Tensor``) or its packet
(``aten.add``, all overloads). Its parameters are the schema's arguments by name; arrays are
:class:`Value`, sizes are ints or sympy expressions, dtypes are :class:`DType`. It returns a value,
or
a tuple of values for an op with several results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Lowering = Callable[..., Any]
F = TypeVar("F", bound=Lowering)


class Unsupported(Exception):
    """Raised by a lowering for arguments it cannot do; the message says which and what would
    work.
    """


class Registry:
    """Op names to lowerings; registering a name twice raises."""

    def __init__(self) -> None:
        self._table: dict[str, Lowering] = {}

    def lowers(self, *names: str) -> Callable[[F], F]:
        """Decorator: registers a function for the named ops.

        Raises:
            ValueError: a name is registered already.
        """

        def register(fn: F) -> F:
            for name in names:
                if name in self._table:
                    raise ValueError(
                        f"two lowerings for {name}: {self._table[name].__module__} and "
                        f"{fn.__module__}"
                    )
                self._table[name] = fn
            return fn

        return register

    def find(self, name: str) -> Lowering | None:
        """The lowering of ``namespace.op.overload``, else of ``namespace.op``."""
        return self._table.get(name) or self._table.get(name.rsplit(".", 1)[0])

    def names(self) -> list[str]:
        return sorted(self._table)
