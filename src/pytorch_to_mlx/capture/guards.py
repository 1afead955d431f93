"""The conditions on sizes that a trace rests on, as functions of plain numbers.

torch notes a guard wherever tracing asked something of a symbolic size: in the model's own code (a
branch: ``if height % 4: pad``) and within torch itself (is this broadcast, is that contiguous).
sympy answers one of them at one size in milliseconds, and there may be thousands; so each is
compiled once, as the Python expression that torch itself prints of it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sympy

from pytorch_to_mlx.capture.program import is_foreign
from pytorch_to_mlx.graph.conditions import compiled

if TYPE_CHECKING:
    import torch

Values = Mapping[str, int]  # sizes by torch's names of their symbols


@dataclass(frozen=True, eq=False)
class Guard:
    """One condition: ``place`` is the line of the model's code that asked, empty for torch's."""

    expr: Any
    place: str

    @property
    def is_equality(self) -> bool:
        return isinstance(self.expr, sympy.Eq)

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(symbol.name for symbol in self.expr.free_symbols)

    @cached_property
    def text(self) -> str:
        """The condition as Python writes it."""
        from torch.utils._sympy.printers import PythonPrinter

        return str(PythonPrinter().doprint(self.expr)).replace("torch.sym_float(", "float(")

    def holds(self, values: Values) -> bool:
        """Whether it is true at these sizes; one that divides by a zero there is not."""
        try:
            return bool(self._compiled(*(values[name] for name in sorted(self.names))))
        except ZeroDivisionError:
            return False

    @cached_property
    def _compiled(self) -> Callable[..., bool]:
        order = sorted(self.names)
        made = compiled(self.text, order)
        if made is not None:
            return made
        symbols = {s.name: s for s in self.expr.free_symbols}

        def slowly(*numbers: int) -> bool:
            given = {symbols[n]: v for n, v in zip(order, numbers, strict=True)}
            return bool(self.expr.subs(given) != sympy.false)

        return slowly


class Guards:
    """Every guard of a trace that asks about sizes, each condition once."""

    def __init__(self, program: torch.export.ExportedProgram, names: Iterable[str]) -> None:
        known = set(names)
        env = shape_env(program)
        found: dict[Any, Guard] = {}
        for made in [] if env is None else env.guards:
            guard = Guard(made.expr, _place(made))
            if guard.names and guard.names <= known:
                seen = found.get(made.expr)
                if seen is None or (guard.place and not seen.place):
                    found[made.expr] = guard
        self.all = list(found.values())

    def failing(self, values: Values) -> set[Guard]:
        """The guards that do not hold at these sizes."""
        return {guard for guard in self.all if not guard.holds(values)}

    def hold(self, values: Values) -> bool:
        return all(guard.holds(values) for guard in self.all)


def shape_env(program: torch.export.ExportedProgram) -> Any:
    """torch's record of symbols and guards; ``None`` for a program without symbols."""
    for node in program.graph.nodes:
        mode = getattr(node.meta.get("val"), "fake_mode", None)
        if mode is not None and mode.shape_env is not None:
            return mode.shape_env
    return None


def _place(guard: Any) -> str:
    """``file:line: text`` where the model's own code asked."""
    frame = getattr(getattr(guard, "sloc", None), "framework_loc", None)
    if isinstance(frame, traceback.FrameSummary) and not is_foreign(frame.filename):
        return f"{frame.filename}:{frame.lineno}: {(frame.line or '').strip()}"
    return ""
