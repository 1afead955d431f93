"""What a name stands for while a graph is lowered.

- :class:`Value`: an array that the model computes;
- :class:`Known`: a tensor known at conversion: an initializer, a constant, or something folded from
  these. Its numpy array may hold sizes (sympy expressions, dtype object), so that ``Shape`` →
  ``Gather`` → ``Concat`` → ``Reshape`` becomes ``B, T``. A weight is made only where an array is
  needed;
- a Python list: a sequence; ``None``: an optional that is absent;
- :class:`Stacked`: a sequence whose length only the running model knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy

from pytorch_to_mlx.graph.dims import LONGEST, as_dim, length
from pytorch_to_mlx.lower.registry import Unsupported


@dataclass(eq=False)
class Known:
    """A tensor whose elements are known numbers or sizes; ``name`` is the weight it would become.

    ``element`` is its ONNX element type.
    """

    array: np.ndarray
    element: str
    name: str = ""
    source: str = ""  # the initializer's own name in the model
    constant: str = ""  # that of a constant, however few its elements

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def dims(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def symbolic(self) -> bool:
        """Whether any element is an expression over sizes."""
        return self.array.dtype == object and self.element != "string"

    def items(self) -> list[Any]:
        """The elements in order, as Python numbers or expressions."""
        return [plain(v) for v in self.array.reshape(-1)]

    def item(self) -> Any:
        (value,) = self.items()
        return value

    def __repr__(self) -> str:
        return f"Known({self.element}{list(self.dims)})"


@dataclass(eq=False)
class Stacked:
    """A sequence of as many arrays of one shape as the running model makes: one array, stacked."""

    array: Any


@dataclass(eq=False)
class Growing:
    """A sequence that a loop carries, as its body sees it: what was there, and one element more."""

    before: Growing | None = None
    element: Any = None


def plain(value: Any) -> Any:
    """A numpy scalar or sympy number as a Python one; expressions stay."""
    if isinstance(value, np.float32):
        return float(str(value))  # as a person would write it; float32 again in the computation
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, sympy.Integer):
        return int(value)
    if value in (sympy.true, sympy.false):
        return bool(value)
    return value


def known(values: Any, element: str = "int64", name: str = "") -> Known:
    """A tensor of numbers or sizes (a nest of lists); of dtype object only where symbolic."""
    array = np.array(values, dtype=object)
    flat = [plain(v) for v in array.reshape(-1)]
    if not any(isinstance(v, sympy.Basic) for v in flat):
        from pytorch_to_mlx.lower.onnx._dtypes import numpy_dtype

        return Known(np.array(flat, numpy_dtype(element)).reshape(array.shape), element, name)
    if any(isinstance(v, sympy.Basic) and length(v) > LONGEST for v in flat):
        raise Unsupported("a size whose formula is too long")
    out = np.empty(len(flat), dtype=object)
    out[:] = [as_dim(v) if isinstance(v, sympy.Expr) else v for v in flat]
    return Known(out.reshape(array.shape), element, name)
