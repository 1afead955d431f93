"""Padding by a constant, by reflection, replication and wrap-around."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call, is_static
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.ops.padding import pad_circular, pad_constant, pad_reflect, pad_replicate

MLX_MODES = {"reflect": "reflect", "replicate": "edge"}
GENERAL = {"reflect": pad_reflect, "replicate": pad_replicate, "circular": pad_circular}
ENUM = ("constant", "reflect", "replicate", "circular")


def _widths(x: Value, pad: Any) -> tuple[tuple[Any, Any], ...]:
    """torch lists (before, after) from the last axis backwards; MLX one pair an axis, in order."""
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return ((0, 0),) * (x.ndim - len(pairs)) + tuple(reversed(pairs))


def _grows(widths: tuple[tuple[Any, Any], ...]) -> bool:
    """Whether no amount can be negative (a negative one cuts)."""
    amounts = [p for pair in widths for p in pair]
    return all(int(p) >= 0 if is_static(p) else bool(p.is_nonnegative) for p in amounts)


def pad_widths(x: Value, widths: tuple[tuple[Any, Any], ...], value: Any = 0) -> Value:
    """``x`` with a constant around it, or cut where an amount is negative."""
    value = 0 if value is None else value
    if all(is_static(p) and int(p) == 0 for pair in widths for p in pair):
        return x
    if not _grows(widths) or (value != 0 and not DType(str(x.dtype)).is_floating):
        return call(pad_constant, x, widths, *(() if value == 0 else (value,)))
    return call(mx.pad, x, widths, **({} if value == 0 else {"constant_values": value}))


def _pad(x: Value, pad: Any, mode: str, value: Any = None) -> Value:
    widths = _widths(x, pad)
    if mode == "constant":
        return pad_widths(x, widths, value)
    if mode in MLX_MODES and _grows(widths):
        return call(mx.pad, x, widths, mode=MLX_MODES[mode])
    return call(GENERAL[mode], x, widths)


@lowers("aten.pad.default")
def pad(x: Value, pad: Any, mode: str = "constant", value: float | None = None) -> Value:
    """pad(Tensor self, SymInt[] pad, str mode="constant", float? value=None) -> Tensor"""
    return _pad(x, pad, mode, value)


@lowers("aten.constant_pad_nd.default")
def constant_pad_nd(x: Value, pad: Any, value: Any = 0) -> Value:
    """constant_pad_nd(Tensor self, SymInt[] pad, Scalar value=0) -> Tensor"""
    return _pad(x, pad, "constant", value)


@lowers("aten._pad_enum.default")
def _pad_enum(x: Value, pad: Any, mode: int, value: float | None = None) -> Value:
    """_pad_enum(Tensor self, SymInt[] pad, int mode, float? value=None) -> Tensor"""
    return _pad(x, pad, ENUM[mode], value)


@lowers("aten._pad_circular.default")
def _pad_circular(x: Value, pad: Any) -> Value:
    """_pad_circular(Tensor self, SymInt[] pad) -> Tensor"""
    return _pad(x, pad, "circular")


@lowers(
    "aten.reflection_pad1d.default",
    "aten.reflection_pad2d.default",
    "aten.reflection_pad3d.default",
)
def reflection_pad(x: Value, padding: Any) -> Value:
    """reflection_pad1d(Tensor self, SymInt[2] padding) -> Tensor
    reflection_pad2d(Tensor self, SymInt[4] padding) -> Tensor
    reflection_pad3d(Tensor self, SymInt[6] padding) -> Tensor
    """
    return _pad(x, padding, "reflect")


@lowers(
    "aten.replication_pad1d.default",
    "aten.replication_pad2d.default",
    "aten.replication_pad3d.default",
)
def replication_pad(x: Value, padding: Any) -> Value:
    """replication_pad1d(Tensor self, SymInt[2] padding) -> Tensor
    replication_pad2d(Tensor self, SymInt[4] padding) -> Tensor
    replication_pad3d(Tensor self, SymInt[6] padding) -> Tensor
    """
    return _pad(x, padding, "replicate")
