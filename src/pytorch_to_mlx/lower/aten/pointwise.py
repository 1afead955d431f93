"""Elementwise arithmetic and functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import (
    align,
    as_array,
    is_array,
    is_complex,
    is_float,
    result_type,
)

# aten::<name>(Tensor self) -> Tensor, each with the MLX function that equals it on every dtype.
_UNARY: dict[str, Any] = {
    "abs": mx.abs,
    "acos": mx.arccos,
    "acosh": mx.arccosh,
    "arccos": mx.arccos,
    "arccosh": mx.arccosh,
    "arcsin": mx.arcsin,
    "arcsinh": mx.arcsinh,
    "arctan": mx.arctan,
    "arctanh": mx.arctanh,
    "absolute": mx.abs,
    "asin": mx.arcsin,
    "asinh": mx.arcsinh,
    "atan": mx.arctan,
    "atanh": mx.arctanh,
    "ceil": mx.ceil,
    "cos": mx.cos,
    "cosh": mx.cosh,
    "deg2rad": mx.radians,
    "erf": mx.erf,
    "erfinv": mx.erfinv,
    "exp": mx.exp,
    "floor": mx.floor,
    "isneginf": mx.isneginf,
    "isposinf": mx.isposinf,
    "log": mx.log,
    "log10": mx.log10,
    "log1p": mx.log1p,
    "log2": mx.log2,
    "logical_not": mx.logical_not,
    "neg": mx.negative,
    "negative": mx.negative,
    "rad2deg": mx.degrees,
    "reciprocal": mx.reciprocal,
    "rsqrt": mx.rsqrt,
    "sin": mx.sin,
    "sinh": mx.sinh,
    "special_erf": mx.erf,
    "special_erfinv": mx.erfinv,
    "special_log1p": mx.log1p,
    "sqrt": mx.sqrt,
    "square": mx.square,
    "tan": mx.tan,
    "tanh": mx.tanh,
    "trunc": "mx.trunc",
    "fix": "mx.trunc",
    "isnan": mx.isnan,
    "isinf": mx.isinf,
    "isfinite": mx.isfinite,
    "frac": "ops.frac",
    "exp2": "ops.exp2",
    "special_exp2": "ops.exp2",
    "sinc": "ops.sinc",
    "special_sinc": "ops.sinc",
    "signbit": "ops.signbit",
}


def _unary(target: Any) -> Callable[[Value], Value]:
    def lowering(self: Value) -> Value:
        return call(target, self)

    return lowering


for _name, _target in _UNARY.items():
    lowers(f"aten.{_name}.default")(_unary(_target))


@lowers("aten.expm1.default", "aten.special_expm1.default")
def expm1(self: Value) -> Value:
    """expm1(Tensor self) -> Tensor"""
    return call("ops.complex_expm1" if is_complex(self) else mx.expm1, self)


@lowers("aten.sigmoid.default", "aten.special_expit.default")
def sigmoid(self: Value) -> Value:
    """sigmoid(Tensor self) -> Tensor"""
    if is_complex(self):
        return call("ops.complex_reciprocal", call(mx.exp, -self) + 1)
    return call(mx.sigmoid, self)


@lowers("aten.sign", "aten.sgn")
def sign(self: Value) -> Value:
    """sign(Tensor self) -> Tensor"""
    return call("ops.sgn" if is_complex(self) else mx.sign, self)


@lowers("aten.positive")
def positive(self: Value) -> Value:
    """positive(Tensor(a) self) -> Tensor(a)"""
    return self


@lowers("aten.round.default")
def round_(self: Value) -> Value:
    """round(Tensor self) -> Tensor"""
    return call("mx.round", self)


@lowers("aten.round.decimals")
def round_decimals(self: Value, decimals: int = 0) -> Value:
    """round.decimals(Tensor self, *, int decimals) -> Tensor"""
    return call("ops.round_decimals", self, decimals)


# -- arithmetic ----------------------------------------------------------------------------------


def _scaled(other: Any, alpha: Any) -> Any:
    """``alpha * other``, where ``alpha`` is not 1."""
    if alpha == 1:
        return other
    factor, scale = align(other, alpha) if is_array(other) else (other, alpha)
    return factor * scale


@lowers("aten.add")
def add(self: Any, other: Any, alpha: Any = 1) -> Value:
    """add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor"""
    a, b = align(self, other)
    if DType(str(result_type(self, other))) == "bool":
        return call(mx.logical_or, a, b) if alpha else a
    return call(mx.add, a, _scaled(b, alpha))


@lowers("aten.sub", "aten.subtract")
def sub(self: Any, other: Any, alpha: Any = 1) -> Value:
    """sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor"""
    a, b = align(self, other)
    return call(mx.subtract, a, _scaled(b, alpha))


@lowers("aten.rsub")
def rsub(self: Any, other: Any, alpha: Any = 1) -> Value:
    """rsub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor"""
    a, b = align(self, other)
    return call(mx.subtract, b, _scaled(a, alpha))


@lowers("aten.mul", "aten.multiply")
def mul(self: Any, other: Any) -> Value:
    """mul.Tensor(Tensor self, Tensor other) -> Tensor"""
    a, b = align(self, other)
    return call(mx.logical_and if result_type(self, other) == "bool" else mx.multiply, a, b)


def _float_operands(a: Any, b: Any) -> tuple[Any, Any]:
    """Operands of an operation that makes floats of integers (in torch's default dtype)."""
    dtype = result_type(a, b)
    if dtype.is_floating or dtype.is_complex:
        return align(a, b)
    return a, b


@lowers(
    "aten.div.Tensor",
    "aten.div.Scalar",
    "aten.true_divide",
    "aten.divide.Tensor",
    "aten.divide.Scalar",
)
def div(self: Any, other: Any) -> Value:
    """div.Tensor(Tensor self, Tensor other) -> Tensor"""
    return call(mx.divide, *_float_operands(self, other))


@lowers(
    "aten.div.Tensor_mode",
    "aten.div.Scalar_mode",
    "aten.divide.Tensor_mode",
    "aten.divide.Scalar_mode",
)
def div_mode(self: Any, other: Any, rounding_mode: str | None = None) -> Value:
    """div.Tensor_mode(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor"""
    if rounding_mode is None:
        return div(self, other)
    if rounding_mode == "floor":
        return floor_divide(self, other)
    a, b = align(self, other)
    if result_type(self, other).is_floating:
        return call("mx.trunc", call(mx.divide, a, b))
    return call("ops.trunc_divide", as_array(a), as_array(b, str(result_type(self, other))))


@lowers("aten.floor_divide")
def floor_divide(self: Any, other: Any) -> Value:
    """floor_divide(Tensor self, Tensor other) -> Tensor"""
    a, b = align(self, other)
    power_of_two = isinstance(b, (int, float)) and abs(math.frexp(b)[0]) == 0.5
    if power_of_two or not any(is_array(v) and is_float(v) for v in (a, b)):
        return call(mx.floor_divide, a, b)
    # The floor of a quotient is one too many where rounding brings that to a whole number.
    wide = str(result_type(a, b).replace("bfloat16", "float32").replace("float16", "float32"))
    return call("ops.floor_divide", as_array(a, wide), as_array(b, wide))


@lowers("aten.remainder")
def remainder(self: Any, other: Any) -> Value:
    """remainder.Tensor(Tensor self, Tensor other) -> Tensor"""
    return call(mx.remainder, *align(self, other))


@lowers("aten.fmod")
def fmod(self: Any, other: Any) -> Value:
    """fmod.Tensor(Tensor self, Tensor other) -> Tensor"""
    a, b = align(self, other)
    return call("ops.fmod", a, as_array(b, str(result_type(self, other))))


@lowers("aten.pow.Tensor_Scalar")
def pow_scalar(self: Value, exponent: Any) -> Value:
    """pow.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor"""
    (x, e) = align(self, exponent)
    if e == 2 and str(x.dtype) == str(result_type(self, exponent)):
        return call(mx.square, x)
    if e == 0.5:
        return call(mx.sqrt, x)
    if e == -0.5:
        return call(mx.rsqrt, x)
    if e == -1 and is_float(x):
        return call(mx.reciprocal, x)
    if type(e) is float and e.is_integer() and is_float(x):
        e = int(e)
    return call(mx.power, x, e)


@lowers("aten.pow.Tensor_Tensor", "aten.pow.Scalar")
def pow_tensor(self: Any, exponent: Value) -> Value:
    """pow.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor"""
    dtype = result_type(self, exponent)
    a, b = align(self, exponent)
    if dtype.startswith("int"):
        # MLX's own power of integers knows no negative exponents.
        return call("ops.integer_power", as_array(a, str(dtype)), b)
    return call(mx.power, a, b)


@lowers("aten.float_power")
def float_power(self: Any, exponent: Any) -> Value:
    """float_power.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor"""
    want = "complex64" if result_type(self, exponent).is_complex else "float32"
    return call(mx.power, *align(self, exponent, dtype=want))


@lowers("aten.maximum", "aten.max.other")
def maximum(self: Value, other: Value) -> Value:
    """maximum(Tensor self, Tensor other) -> Tensor"""
    return call(mx.maximum, *align(self, other))


@lowers("aten.minimum", "aten.min.other")
def minimum(self: Value, other: Value) -> Value:
    """minimum(Tensor self, Tensor other) -> Tensor"""
    return call(mx.minimum, *align(self, other))


@lowers("aten.clamp", "aten.clip")
def clamp(self: Value, min: Any = None, max: Any = None) -> Value:
    """clamp(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor"""
    x, lo, hi = align(self, min, max)
    if lo is None and hi is None:
        return x
    if hi is None:
        return call(mx.maximum, x, lo)
    if lo is None:
        return call(mx.minimum, x, hi)
    return call(mx.clip, x, lo, hi)


@lowers("aten.clamp_min")
def clamp_min(self: Value, min: Any) -> Value:
    """clamp_min(Tensor self, Scalar min) -> Tensor"""
    return clamp(self, min=min)


@lowers("aten.clamp_max")
def clamp_max(self: Value, max: Any) -> Value:
    """clamp_max(Tensor self, Scalar max) -> Tensor"""
    return clamp(self, max=max)


@lowers("aten.atan2", "aten.arctan2")
def atan2(self: Value, other: Value) -> Value:
    """atan2(Tensor self, Tensor other) -> Tensor"""
    return call(mx.arctan2, *_float_operands(self, other))


@lowers("aten.logaddexp")
def logaddexp(self: Value, other: Value) -> Value:
    """logaddexp(Tensor self, Tensor other) -> Tensor"""
    return call(mx.logaddexp, *_float_operands(self, other))


@lowers("aten.addcmul")
def addcmul(self: Value, tensor1: Value, tensor2: Value, value: Any = 1) -> Value:
    """addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor"""
    x, a, b = align(self, tensor1, tensor2)
    return x + _scaled(a * b, value)


@lowers("aten.addcdiv")
def addcdiv(self: Value, tensor1: Value, tensor2: Value, value: Any = 1) -> Value:
    """addcdiv(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor"""
    x, a, b = align(self, tensor1, tensor2)
    return x + _scaled(a / b, value)


@lowers("aten.lerp")
def lerp(self: Value, end: Value, weight: Any) -> Value:
    """lerp.Scalar(Tensor self, Tensor end, Scalar weight) -> Tensor"""
    return self + (end - self) * (
        weight.astype(DType(str(self.dtype))) if is_array(weight) else weight
    )


@lowers("aten.nan_to_num")
def nan_to_num(
    self: Value, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Value:
    """nan_to_num(Tensor self, float? nan=None, float? posinf=None, float? neginf=None) -> Tensor"""
    if not is_float(self):
        return self
    given = {"nan": nan or None, "posinf": posinf, "neginf": neginf}
    return call("mx.nan_to_num", self, **{k: v for k, v in given.items() if v is not None})
