"""Padding by a constant, by reflection, replication and wrap-around."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call, is_static
from pytorch_to_mlx.lower.aten import Unsupported, lowers


def pad_axes(x: Value, amounts: dict[int, tuple[Any, Any]], value: Any) -> Value:
    """Pads axes by constants; a negative amount cuts."""
    known = [is_static(p) for pair in amounts.values() for p in pair]
    cuts = {a: p for a, p in amounts.items() if any(is_static(v) and int(v) < 0 for v in p)}
    if not all(known) and cuts:
        raise Unsupported("padding that cuts at one end by a size known only at run time at the other")
    if cuts:
        index = tuple(
            slice(_cut(cuts[a][0]), -_cut(cuts[a][1]) if _cut(cuts[a][1]) else None)
            if a in cuts
            else slice(None)
            for a in range(x.ndim)
        )
        x = call("getitem", x, index)
    grow = {a: tuple(max(0, p) if is_static(p) else p for p in pair) for a, pair in amounts.items()}
    if all(p == 0 for pair in grow.values() for p in pair):
        return x
    widths = tuple(grow.get(a, (0, 0)) for a in range(x.ndim))
    return call(mx.pad, x, widths, *(() if value == 0 else (value,)))


def _cut(amount: Any) -> int:
    return -min(0, int(amount))


def _pairs(x: Value, pad: tuple[Any, ...]) -> dict[int, tuple[Any, Any]]:
    """torch lists (before, after) from the last axis backwards."""
    return {x.ndim - 1 - i: (pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)}
