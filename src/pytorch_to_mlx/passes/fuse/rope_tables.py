"""Cosine and sine tables, recognised by their values.

The frequencies are the angles ``atan2(sin, cos)`` at position 1. Geometric ones are
``base ** (-2 i / d)``, with the base snapped to a round number; others (Llama 3, long-context
scalings) are kept as an array. Then the whole table is checked at several lengths, one of them
beyond every integer that its calls mention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pytorch_to_mlx.graph import Dim, Graph, Node, Value
from pytorch_to_mlx.passes import evaluate
from pytorch_to_mlx.passes.match import uncast

Array = np.ndarray[Any, Any]
_AFTER = {
    "mx.astype", "mx.expand_dims", "getitem", "mx.reshape", "mx.transpose", "mx.broadcast_to",
    "mx.multiply", "mx.squeeze",
}  # fmt: skip
_LONG = 4096  # positions in half precision go wrong from 256 or 2048 on
_NOT_FROM_ZERO = "the rotary tables are not those of the positions 0, 1, 2, ..."


@dataclass(frozen=True)
class Frequencies:
    """``base`` (geometric) or ``periods``; ``axis`` of the positions, from the end (-2, -3)."""

    base: float | None
    periods: tuple[float, ...]
    scale: float
    factor: float
    pairs: int
    axis: int
    length: Dim
    scope: str


class Tables:
    """Reads pairs of tables, each once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.known: dict[tuple[Value, Value, str], Frequencies | str] = {}

    def read(self, cos: Value, sin: Value, layout: str) -> Frequencies | str:
        """The frequencies of two tables, or why they cannot be read."""
        key = (cos, sin, layout)
        if key not in self.known:
            self.known[key] = self._read(uncast(cos), uncast(sin), layout)
        return self.known[key]

    def _read(self, cos: Value, sin: Value, layout: str) -> Frequencies | str:
        parts = [evaluate.slice_of(v) for v in (cos, sin)]
        if any(p is None for p in parts):
            return "the rotary tables depend on control flow or on data"
        given = [evaluate.constants(p, self.graph) for p in parts if p is not None]
        if any(g is None for g in given):
            return "the rotary positions or frequencies depend on an input or on a learned weight"
        literal = max(_LONG, *(evaluate.literals(p) for p in parts if p is not None))
        made = [
            evaluate.tables(v, self.graph, beyond=literal, unrounded=_casts_after_the_angle(v))
            for v in (cos, sin)
        ]
        if made[0] is None or made[1] is None or len(made[0]) != len(made[1]):
            return f"the rotary tables are too large to be computed beyond their literal {literal}"
        return _fit(list(zip(made[0], made[1], strict=True)), cos, layout)


def _casts_after_the_angle(table: Value) -> list[Node]:
    """Casts of the finished table to the model's dtype; MLX turns by the exact one instead.

    Casts of positions, frequencies or angles change which angle is meant, and stay.
    """
    casts: list[Node] = []
    at: Any = table
    while isinstance(at, Value) and at.node is not None:
        node = at.node
        if node.target in ("mx.cos", "mx.sin"):
            return casts
        if node.target not in _AFTER:
            return []
        if node.target == "mx.astype":
            casts.append(node)
        at = node.args[0]
    return []


def _fit(runs: list[tuple[Array, Array]], cos: Value, layout: str) -> Frequencies | str:
    lanes: list[tuple[Array, Array]] = []
    axis = 0
    for c, s in runs:
        axis = _position_axis(c)
        if axis == 0 or c.shape != s.shape:
            return "the rotary tables have no axis of positions"
        pair = [_lanes(_plane(t, axis), layout) for t in (c, s)]
        if any(p is None for p in pair):
            return "the two lanes of the rotary tables differ"
        lanes.append((pair[0], pair[1]))  # type: ignore[arg-type]
    if not lanes or max(len(c) for c, _ in lanes) < 2:
        return "the rotary tables could not be computed"
    c, s = max(lanes, key=lambda run: len(run[0]))
    factor = float(np.hypot(c[0, 0], s[0, 0]))
    angles = np.arctan2(s[1].astype(np.float64), c[1].astype(np.float64))
    if np.abs(s[0]).max() > 1e-6 * factor:
        return _NOT_FROM_ZERO
    if factor == 0 or np.any(angles <= 0):
        return "the rotary tables are no rotation"
    factor = 1.0 if abs(factor - 1) < 1e-6 else factor
    base, scale = _geometric(angles)
    exact = _angles(base, scale, len(angles)) if base is not None else angles
    if base is not None and not np.allclose(exact, angles, rtol=2e-6, atol=1e-9):
        base, scale, exact = None, 1.0, angles
    for c, s in lanes:
        if not _agrees(c, s, exact, factor):
            return _NOT_FROM_ZERO
    periods = tuple(float(np.float32(1 / a)) for a in angles) if base is None else ()
    scope = _scope(cos)
    return Frequencies(base, periods, scale, factor, len(angles), axis, cos.dims[axis], scope)


def _scope(cos: Value) -> str:
    """The module that makes the table: the deepest one behind it."""
    part = evaluate.slice_of(cos)
    makers = [n for n in part.nodes if n.target in ("mx.cos", "mx.sin")] if part else []
    node = makers[-1] if makers else cos.node
    return node.scope[-1].path if node is not None and node.scope else ""


def _position_axis(table: Array) -> int:
    """The one axis before the last that a table varies along, from the end; 0 if there is none."""
    varying = [
        a - table.ndim
        for a in range(table.ndim - 1)
        if table.shape[a] > 1
        and not np.array_equal(table, np.broadcast_to(table.take([0], a), table.shape))
    ]
    return varying[0] if len(varying) == 1 else 0


def _plane(table: Array, axis: int) -> Array:
    """[positions, features]: the other axes hold copies."""
    moved = np.moveaxis(table, axis, -2)
    return np.asarray(moved.reshape(-1, *moved.shape[-2:])[0])


def _lanes(plane: Array, layout: str) -> Array | None:
    """One column for each pair of features.

    Tables as wide as all features hold each angle twice, in the layout's order; ``apart`` ones
    once.
    """
    if layout == "apart":
        return plane
    n = plane.shape[-1] // 2
    one, two = (
        (plane[:, :n], plane[:, n:]) if layout == "halves" else (plane[:, ::2], plane[:, 1::2])
    )
    return one if one.shape == two.shape and np.array_equal(one, two) else None


def _geometric(angles: Array) -> tuple[float | None, float]:
    """``(base, scale)`` with ``angles = scale * base ** (-i / n)``, the base a round number."""
    n = len(angles)
    scale = float(angles[0])
    scale = 1.0 if abs(scale - 1) < 1e-6 else scale
    if n == 1:
        return 10000.0, scale
    base = float((angles[-1] / scale) ** (-n / (n - 1)))
    for digits in (1, 2, 3, 4, 5, 6):
        rounded = float(f"{base:.{digits - 1}e}")
        if abs(rounded / base - 1) < 3e-6:
            return rounded, scale
    return base, scale


def _angles(base: float, scale: float, n: int) -> Array:
    return np.asarray(scale * base ** (-np.arange(n, dtype=np.float64) / n))


def _agrees(c: Array, s: Array, angles: Array, factor: float) -> bool:
    """Whether the tables hold the angles at 0, 1, 2, ...; float32 loses digits as they grow."""
    at = np.arange(len(c), dtype=np.float64)[:, None] * angles
    allowed = factor * (2e-6 + 5e-7 * np.abs(at))
    right = np.abs(c - factor * np.cos(at)) <= allowed
    return bool(np.all(right & (np.abs(s - factor * np.sin(at)) <= allowed)))
