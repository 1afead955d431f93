"""The unfused graph of a captured program, with what each source value became and is in the
original: what the search for a fault needs of a frontend.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import sympy

from pytorch_to_mlx.graph import Graph, Node, Value
from pytorch_to_mlx.validate.code import sizes_of
from pytorch_to_mlx.validate.compare import Array
from pytorch_to_mlx.validate.inputs import Inputs

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.program import Captured
    from pytorch_to_mlx.validate.repro import SourceSide

#: What the source's values go by: nodes of a torch program, names in an ONNX graph.
Key: TypeAlias = Hashable


class Lowered(ABC):
    """``env`` maps keys to values (or tuples of them, or sizes); ``actual`` to what they are on one
    call of the original; ``groups`` to the nodes that each became; ``given`` maps values of the
    graph to the original's.
    """

    captured: Captured
    graph: Graph
    env: dict[Any, Any]
    actual: dict[Any, Any]
    groups: dict[Any, list[Node]]

    def bind(self) -> None:
        """Fills in ``given``, ``source`` (the key of a value) and ``sizes``."""
        self.given: dict[Value, Any] = {}
        self.source: dict[Value, Any] = {}
        for key, became in self.env.items():
            for value, actual in pairs(became, self.actual.get(key)):
                if value not in self.given:
                    self.given[value] = actual
                    self.source[value] = key
        self.sizes: dict[sympy.Symbol, int] = sizes_of(self.given.items())

    # -- values of the original --------------------------------------------------------------------

    @abstractmethod
    def is_array(self, actual: Any) -> bool:
        """Whether a value of the original is an array."""

    @abstractmethod
    def array(self, actual: Any) -> Array:
        """An array of the original as it is compared: in the dtype that MLX stores."""

    @abstractmethod
    def to_mlx(self, actual: Any) -> Any:
        """A value of the original as MLX takes it."""

    def given_mlx(self, value: Value) -> Any:
        """What the original computed for a value, as MLX takes it."""
        return self.to_mlx(self.given[value])

    @abstractmethod
    def weight(self, path: str, originals: Mapping[str, Any]) -> Any:
        """A weight of the source for the passes; ``originals`` are those that have been changed."""

    # -- the source --------------------------------------------------------------------------------

    @abstractmethod
    def source_values(self) -> Iterator[Any]:
        """The keys of what the program computes, in order."""

    @abstractmethod
    def results(self) -> list[tuple[str, Any]]:
        """Every result in words, and its key (or a constant)."""

    def expected(self) -> list[Any]:
        """What the original gives for the arguments of the return node: outputs, then new state."""
        return [self.actual.get(a) if a in self.actual else None for _, a in self.results()]

    @abstractmethod
    def is_used(self, key: Any, value: Value) -> bool:
        """Whether a result matters."""

    @abstractmethod
    def is_random(self, key: Any) -> bool:
        """Whether the original itself gives something else the second time."""

    @abstractmethod
    def place(self, key: Any) -> dict[str, Any]:
        """``op``, ``module`` path and ``origin`` of a value."""

    @abstractmethod
    def choices(self) -> Iterator[tuple[Any, np.ndarray, int | None]]:
        """Choices between floats (argmax, sort, topk): key, candidates, the axis of the choice."""

    def folded(self, key: Any) -> Array | None:
        """A value that lowering has computed itself; ``None`` for what the graph computes."""
        return None

    @abstractmethod
    def script(self) -> SourceSide:
        """The source's side of a script that shows a fault."""


def lower_source(captured: Captured, inputs: Inputs) -> Lowered:
    """The unfused graph beside the original's values at the inputs."""
    if captured.frontend == "onnx":
        from pytorch_to_mlx.validate.lowered_onnx import OnnxLowered

        return OnnxLowered(captured, inputs)
    from pytorch_to_mlx.validate.lowered_torch import TorchLowered
    from pytorch_to_mlx.validate.values import node_values

    return TorchLowered(captured, node_values(captured, inputs))


def pairs(became: Any, actual: Any) -> Iterator[tuple[Value, Any]]:
    """Values of the graph with what they are in the original."""
    if isinstance(became, Value):
        if actual is not None:
            yield became, actual
    elif isinstance(became, (tuple, list)) and isinstance(actual, (tuple, list)):
        for b, a in zip(became, actual, strict=False):  # unused results may be missing
            yield from pairs(b, a)
