"""Unary and binary arithmetic, comparisons, logic, casts."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.onnx import lowers
from pytorch_to_mlx.lower.onnx._common import (
    array,
    cast,
    element,
    is_array,
    is_float,
    number,
    operand,
)
from pytorch_to_mlx.lower.onnx._values import Known
from pytorch_to_mlx.ops.activations import hardtanh
from pytorch_to_mlx.ops.elementwise import fmod, trunc_divide

_UNARY: dict[str, Callable[..., Any]] = {
    "Abs": mx.abs,
    "Acos": mx.arccos,
    "Acosh": mx.arccosh,
    "Asin": mx.arcsin,
    "Asinh": mx.arcsinh,
    "Atan": mx.arctan,
    "Atanh": mx.arctanh,
    "BitwiseNot": mx.bitwise_invert,
    "Ceil": mx.ceil,
    "Cos": mx.cos,
    "Cosh": mx.cosh,
    "Erf": mx.erf,
    "Exp": mx.exp,
    "Floor": mx.floor,
    "IsNaN": mx.isnan,
    "Log": mx.log,
    "Neg": mx.negative,
    "Not": mx.logical_not,
    "Reciprocal": mx.reciprocal,
    "Round": mx.round,
    "Sigmoid": mx.sigmoid,
    "Sign": mx.sign,
    "Sin": mx.sin,
    "Sinh": mx.sinh,
    "Sqrt": mx.sqrt,
    "Tan": mx.tan,
    "Tanh": mx.tanh,
}


def _register_unary(name: str, fn: Callable[..., Any]) -> None:
    @lowers(name)
    def lowering(X: Value) -> Value:
        return call(fn, X)

    lowering.__doc__ = f"{name}(T X) -> T Y"


for _name, _fn in _UNARY.items():
    _register_unary(_name, _fn)


def pair(A: Any, B: Any) -> tuple[Any, Any]:
    """Two operands, one of them a Python number where that is the same."""
    if isinstance(A, Known) and isinstance(B, Known):
        return array(A), operand(B, array(A))
    if isinstance(A, Known):
        return operand(A, B), B
    return A, operand(B, A)


_BINARY: dict[str, Callable[..., Any]] = {
    "Add": mx.add,
    "Sub": mx.subtract,
    "Mul": mx.multiply,
    "And": mx.logical_and,
    "Or": mx.logical_or,
    "Equal": mx.equal,
    "Greater": mx.greater,
    "GreaterOrEqual": mx.greater_equal,
    "Less": mx.less,
    "LessOrEqual": mx.less_equal,
    "BitwiseAnd": mx.bitwise_and,
    "BitwiseOr": mx.bitwise_or,
    "BitwiseXor": mx.bitwise_xor,
}


def aligned(A: Any, B: Any, axis: int | None, broadcast: int) -> tuple[Any, Any]:
    """Operands of opsets before 7: ``broadcast`` lines B up with A's axes from ``axis`` on."""
    if broadcast and axis is not None:
        b, rank = array(B), array(A).ndim
        after = rank - axis % rank - b.ndim
        return A, b.reshape(*b.dims, *(1,) * after) if after else b
    return A, B


def _register_binary(name: str, fn: Callable[..., Any]) -> None:
    @lowers(name)
    def lowering(A: Any, B: Any, axis: int | None = None, broadcast: int = 0) -> Value:
        return call(fn, *pair(*aligned(A, B, axis, broadcast)))

    lowering.__doc__ = f"{name}(T A, T B) -> T C"


for _name, _fn in _BINARY.items():
    _register_binary(_name, _fn)


@lowers("Xor")
def xor(A: Value, B: Value, axis: int | None = None, broadcast: int = 0) -> Value:
    """Xor(T A, T B) -> T1 C"""
    return call(mx.not_equal, *aligned(A, B, axis, broadcast))


@lowers("Div")
def div(A: Any, B: Any, axis: int | None = None, broadcast: int = 0) -> Value:
    """Div(T A, T B) -> T C; integers are divided towards zero."""
    a, b = pair(*aligned(A, B, axis, broadcast))
    some = a if is_array(a) else b
    if is_float(some) or some.dtype == "complex64":
        return call(mx.divide, a, b)
    if DType(str(some.dtype)).startswith("uint"):
        return call(mx.floor_divide, a, b)
    return call(trunc_divide, array(A), array(B))


@lowers("Mod")
def mod(A: Any, B: Any, fmod: int = 0) -> Value:
    """Mod(T A, T B, int fmod=0) -> T C; the divisor's sign, with fmod the dividend's."""
    if fmod:
        return call(_fmod, array(A), array(B))
    return call(mx.remainder, *pair(A, B))


_fmod = fmod


@lowers("Pow")
def pow_(X: Value, Y: Any, axis: int | None = None, broadcast: int = 0) -> Value:
    """Pow(T X, T1 Y) -> T Z; computed in the wider type, given back in the base's."""
    exponent = aligned(X, Y, axis, broadcast)[1]
    value = exponent.item() if isinstance(exponent, Known) and exponent.array.size == 1 else None
    if isinstance(value, float) and value.is_integer() and not is_float(X):
        value = int(value)
    if value == 2:
        return call(mx.square, X)
    if value == 0.5 and is_float(X):
        return call(mx.sqrt, X)
    if isinstance(value, (int, float)) and (is_float(X) or isinstance(value, int)):
        return call(mx.power, X, value)
    y = array(exponent)
    if is_float(y) and not is_float(X):
        return cast(call(mx.power, cast(X, str(y.dtype)), y), str(X.dtype))
    power: Any = "ops.integer_power" if str(X.dtype).startswith("int") else mx.power
    return call(power, X, cast(y, str(X.dtype)))


def _register_variadic(name: str, fn: Callable[..., Any]) -> None:
    @lowers(name)
    def lowering(*data_0: Any) -> Any:
        if len(data_0) == 1:
            return array(data_0[0])
        return reduce(lambda a, b: call(fn, *pair(a, b)), data_0)

    lowering.__doc__ = f"{name}(T data_0...) -> T {name.lower()}"


for _name, _fn in {"Sum": mx.add, "Max": mx.maximum, "Min": mx.minimum}.items():
    _register_variadic(_name, _fn)


@lowers("Mean")
def mean(*data_0: Value) -> Value:
    """Mean(T data_0...) -> T mean"""
    total = reduce(lambda a, b: a + b, data_0)
    return total / len(data_0) if len(data_0) > 1 else total


@lowers("Where")
def where(condition: Value, X: Any, Y: Any) -> Value:
    """Where(B condition, T X, T Y) -> T output"""
    x, y = (X, Y) if is_array(X) or is_array(Y) else (array(X), Y)
    return call(mx.where, condition, *pair(x, y))


@lowers("Clip", since=11)
def clip(input: Value, min: Any = None, max: Any = None) -> Value:
    """Clip(T input, T? min, T? max) -> T output; the upper bound wins."""
    out = input
    if min is not None:
        out = call(mx.maximum, *pair(out, min))
    if max is not None:
        out = call(mx.minimum, *pair(out, max))
    if isinstance(min, Known) and isinstance(max, Known) and is_float(input):
        low, high = number(min), number(max)
        if isinstance(low, float) and isinstance(high, float) and low <= high:
            return call(mx.clip, input, low, high)
    return out


@lowers("Clip")
def clip_1(input: Value, min: float | None = None, max: float | None = None) -> Value:
    """Clip(T input, float min, float max) -> T output"""
    if min is None and max is None:
        return input
    if min is not None and max is not None:
        return call(hardtanh, input, min, max)
    bound = (mx.maximum, min) if min is not None else (mx.minimum, max)
    return call(bound[0], input, bound[1])


@lowers("BitShift")
def bit_shift(X: Value, Y: Value, direction: str) -> Value:
    """BitShift(T X, T Y, string direction) -> T Z; negative shifts count as beyond the width,
    which leaves 0, of a signed number shifted right its sign."""
    left, dtype = direction == "LEFT", DType(str(X.dtype))
    bits, signed = 8 * dtype.size, not dtype.startswith("uint")
    count = call(mx.minimum, Y, bits - 1)
    if signed:
        count = call(mx.where, call(mx.less, Y, 0), bits - 1, count)
    shifted = call(mx.left_shift if left else mx.right_shift, X, count)
    if signed and not left:
        return shifted
    inside = call(mx.less, Y, bits)
    if signed:
        inside = call(mx.logical_and, inside, call(mx.greater_equal, Y, 0))
    return call(mx.where, inside, shifted, call(mx.zeros_like, shifted))


@lowers("IsInf")
def is_inf(X: Value, detect_negative: int = 1, detect_positive: int = 1) -> Value:
    """IsInf(T1 X, int detect_negative=1, int detect_positive=1) -> T2 Y"""
    if detect_negative and detect_positive:
        return call(mx.isinf, X)
    if not detect_negative and not detect_positive:
        return call(mx.zeros, X.dims, DType("bool"))
    return call(mx.isneginf if detect_negative else mx.isposinf, X)


@lowers("Cast", since=6)
def cast_(input: Any, to: int, saturate: int = 1, round_mode: str = "up") -> Any:
    """Cast(T1 input, int to, int saturate=1) -> T2 output"""
    from pytorch_to_mlx.lower.onnx._casts import convert
    from pytorch_to_mlx.lower.onnx._dtypes import element_name

    return convert(input, element_name(to), bool(saturate), round_mode)


@lowers("CastLike")
def cast_like(input: Any, target_type: Any, saturate: int = 1, round_mode: str = "up") -> Any:
    """CastLike(T1 input, T2 target_type, int saturate=1) -> T2 output"""
    from pytorch_to_mlx.lower.onnx._casts import convert

    return convert(input, element(target_type), bool(saturate), round_mode)


@lowers("BitCast")
def bit_cast(input: Any, to: int) -> Any:
    """BitCast(T1 input, int to) -> T2 output"""
    from pytorch_to_mlx.lower.onnx._casts import reinterpret
    from pytorch_to_mlx.lower.onnx._dtypes import element_name

    return reinterpret(input, element_name(to))
