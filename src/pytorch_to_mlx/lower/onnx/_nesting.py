"""Results that hold sequences and optionals as their arrays and the shape of their nesting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytorch_to_mlx.graph import Value


def nesting(value: Any) -> Any:
    """How the arrays of a result nest: True for an array, None where there is none."""
    if value is None:
        return None
    return [nesting(v) for v in value] if isinstance(value, list) else True


def flat(value: Any) -> list[Any]:
    """The arrays of a result, in order."""
    if isinstance(value, list):
        return [leaf for v in value for leaf in flat(v)]
    return [] if value is None else [value]


def nested(shape: Any, arrays: Iterator[Value]) -> Any:
    """The inverse of :func:`flat`."""
    if shape is None:
        return None
    return [nested(s, arrays) for s in shape] if isinstance(shape, list) else next(arrays)
