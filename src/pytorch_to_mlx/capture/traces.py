"""Traces of a module: how they are made, and how far they reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture import dims as sizes_of
from pytorch_to_mlx.capture.calls import Recorder
from pytorch_to_mlx.capture.host_scalars import Place
from pytorch_to_mlx.capture.limits import Limits
from pytorch_to_mlx.capture.selections import Selections
from pytorch_to_mlx.capture.sizes import Axis, Example, Sizes

if TYPE_CHECKING:
    import torch


@dataclass
class Trace:
    """One successful export: the program, what was traced, and the module calls seen."""

    program: torch.export.ExportedProgram
    recorder: Recorder
    sizes: Sizes
    given_up: dict[Axis, str] = field(default_factory=dict)  # dims not traced symbolically, and why


@dataclass
class Way:
    """How to trace: scalars as numbers, what kept sizes symbolic, loops over what is selected,
    derivatives as what they compute.
    """

    scalars: dict[Place, int] = field(default_factory=dict)
    symbolic: list[str] | None = None
    selections: Selections | None = None
    below_autograd: bool = False  # derivatives are traced there, as what they compute
    again: bool = False  # once more, after what was learnt from a refusal

    @property
    def warning(self) -> str:
        """What is to be known of a model that was traced with selections."""
        turns = "a loop over what nonzero() finds (experts, say) runs for all that it could find"
        rows = "what a mask selects is computed for every row, and the rest is left out"
        every_row = self.selections is not None and self.selections.every_row
        return f"{turns}; {rows}" if every_row else turns


@dataclass
class Found:
    """A trace and how far it reaches; ``base`` are the sizes other than the example's."""

    trace: Trace
    symbols: dict[Any, sizes_of.Symbol]
    limits: Limits
    base: Sizes

    def report(self, example: Example, static: dict[Axis, str]) -> dict[str, Any]:
        """``Captured.dims``."""
        symbols = self.symbols.values()
        return sizes_of.report(example, symbols, static, self.limits.conditions)
