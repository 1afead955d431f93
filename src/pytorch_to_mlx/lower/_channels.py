"""Helpers of the spatial families: channels-last in and out, batch axes, per-axis settings.

MLX's convolutions, pools and resizes take channels-last arrays. A lowering transposes there and
back; the layout pass removes the pairs that meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pytorch_to_mlx.graph import Value, call, rules_ops  # noqa: F401 - registers its rules


def to_last(x: Value) -> Value:
    """``[N, C, *spatial]`` to ``[N, *spatial, C]``."""
    return x if x.ndim == 2 else x.transpose(0, *range(2, x.ndim), 1)


def to_first(x: Value) -> Value:
    """``[N, *spatial, C]`` to ``[N, C, *spatial]``."""
    return x if x.ndim == 2 else x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


def add_batch(x: Value) -> Value:
    """A leading axis of size 1."""
    return call("getitem", x, (None,))


def drop_batch(x: Value) -> Value:
    """Without the leading axis of size 1."""
    return call("getitem", x, (0,))


def spatial(x: Value, axes: int, fn: Callable[[Value], Any]) -> Any:
    """Runs ``fn`` on ``x`` as a batched channels-last array; results come back in torch's order.

    ``x`` is ``[N, C, *spatial]`` or, with as many axes less one, ``[C, *spatial]``.
    """
    batched = x.ndim == axes + 2
    result = fn(to_last(x if batched else add_batch(x)))

    def back(y: Value) -> Value:
        return to_first(y) if batched else drop_batch(to_first(y))

    return tuple(back(y) for y in result) if isinstance(result, tuple) else back(result)


def per_axis(value: Any, axes: int) -> tuple[Any, ...]:
    """torch's ``int[k]``: one number for every axis, or one for all of them."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * axes if len(values) == 1 else values


def compact(value: Any) -> Any:
    """``(2, 2)`` as ``2``: the shorter form of a setting that is the same on every axis."""
    if isinstance(value, (tuple, list)) and value and all(v == value[0] for v in value):
        return value[0]
    return tuple(value) if isinstance(value, list) else value


def settings(defaults: dict[str, Any], **given: Any) -> dict[str, Any]:
    """The given keyword arguments that differ from the target's defaults, in their compact form."""
    kept = {k: compact(v) for k, v in given.items()}
    return {k: v for k, v in kept.items() if v != defaults[k]}


def weights(*values: Value | None) -> tuple[Any, ...]:
    """Optional trailing array arguments, without the ``None`` at their end."""
    last: Sequence[Value | None] = values
    while last and last[-1] is None:
        last = last[:-1]
    return tuple(last)
