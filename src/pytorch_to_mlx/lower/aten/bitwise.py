"""Comparisons, logic and bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import align, as_array, is_complex, is_float, result_type

# aten::<name>.Tensor / .Scalar(Tensor self, Tensor other) -> Tensor (bool)
_COMPARISONS: dict[str, Any] = {
    "eq": mx.equal,
    "ne": mx.not_equal,
    "not_equal": mx.not_equal,
    "lt": mx.less,
    "less": mx.less,
    "le": mx.less_equal,
    "less_equal": mx.less_equal,
    "gt": mx.greater,
    "greater": mx.greater,
    "ge": mx.greater_equal,
    "greater_equal": mx.greater_equal,
}


def _comparison(target: Any) -> Callable[[Any, Any], Value]:
    def lowering(self: Any, other: Any) -> Value:
        return call(target, *align(self, other))

    return lowering


for _name, _target in _COMPARISONS.items():
    lowers(f"aten.{_name}.Tensor", f"aten.{_name}.Scalar")(_comparison(_target))


@lowers("aten.logical_and")
def logical_and(self: Value, other: Value) -> Value:
    """logical_and(Tensor self, Tensor other) -> Tensor"""
    return call(mx.logical_and, self, other)


@lowers("aten.logical_or")
def logical_or(self: Value, other: Value) -> Value:
    """logical_or(Tensor self, Tensor other) -> Tensor"""
    return call(mx.logical_or, self, other)


@lowers("aten.logical_xor")
def logical_xor(self: Value, other: Value) -> Value:
    """logical_xor(Tensor self, Tensor other) -> Tensor"""
    return call(mx.not_equal, self.astype(DType("bool")), other.astype(DType("bool")))


@lowers("aten.bitwise_and", "aten.__and__")
def bitwise_and(self: Any, other: Any) -> Value:
    """bitwise_and.Tensor(Tensor self, Tensor other) -> Tensor"""
    return _bits(mx.bitwise_and, mx.logical_and, self, other)


@lowers("aten.bitwise_or", "aten.__or__")
def bitwise_or(self: Any, other: Any) -> Value:
    """bitwise_or.Tensor(Tensor self, Tensor other) -> Tensor"""
    return _bits(mx.bitwise_or, mx.logical_or, self, other)


@lowers("aten.bitwise_xor", "aten.__xor__")
def bitwise_xor(self: Any, other: Any) -> Value:
    """bitwise_xor.Tensor(Tensor self, Tensor other) -> Tensor"""
    return _bits(mx.bitwise_xor, mx.not_equal, self, other)


def _bits(bitwise: Any, logical: Any, a: Any, b: Any) -> Value:
    """``a & b``: on bools the logical form, which reads as what it is."""
    target = logical if result_type(a, b) == "bool" else bitwise
    return call(target, *align(a, b))


@lowers("aten.bitwise_not")
def bitwise_not(self: Value) -> Value:
    """bitwise_not(Tensor self) -> Tensor"""
    return call(mx.logical_not if self.dtype == "bool" else mx.bitwise_invert, self)


@lowers("aten.bitwise_left_shift", "aten.__lshift__")
def bitwise_left_shift(self: Any, other: Any) -> Value:
    """bitwise_left_shift.Tensor(Tensor self, Tensor other) -> Tensor"""
    return _shifted(mx.left_shift, "ops.shift_left", self, other)


@lowers("aten.bitwise_right_shift", "aten.__rshift__")
def bitwise_right_shift(self: Any, other: Any) -> Value:
    """bitwise_right_shift.Tensor(Tensor self, Tensor other) -> Tensor"""
    return _shifted(mx.right_shift, "ops.shift_right", self, other)


def _shifted(plain: Any, checked: str, x: Any, count: Any) -> Value:
    """A shift; counts beyond the width, which MLX leaves to the machine, need a look."""
    dtype = result_type(x, count)
    a, b = align(x, count)
    if isinstance(b, int) and 0 <= b < 8 * dtype.size:
        return call(plain, a, b)
    return call(checked, as_array(a, str(dtype)), as_array(b, str(dtype)))


@lowers("aten.isclose")
def isclose(
    self: Value, other: Value, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Value:
    """isclose(Tensor self, Tensor other, float rtol=1e-05, float atol=1e-08,
    bool equal_nan=False) -> Tensor"""
    if not is_float(self) and not is_complex(self):
        if rtol == 0 and atol == 0:
            return call(mx.equal, self, other)
        self, other = self.astype(DType("float32")), other.astype(DType("float32"))
    return call(mx.isclose, self, other, rtol=rtol, atol=atol, equal_nan=equal_nan)


@lowers("aten.equal")
def equal(self: Value, other: Value) -> Value:
    """equal(Tensor self, Tensor other) -> bool"""
    return call("mx.array_equal", *align(self, other))
