"""Quantization: codes and what they stand for, products and convolutions of 8-bit codes."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._casts import BITS, FLOATS, convert
from pytorch_to_mlx.lower.onnx._common import all_zero, array, call_as, cast, element, tagged
from pytorch_to_mlx.lower.onnx._context import node
from pytorch_to_mlx.lower.onnx._dtypes import element_name, storage, to_storage
from pytorch_to_mlx.lower.onnx._values import Known
from pytorch_to_mlx.lower.onnx.conv import conv_integer_
from pytorch_to_mlx.ops.quantized import (
    dequantize_linear,
    dynamic_quantize_linear,
    matmul_of_codes,
    quantize_linear,
    requantize,
    spread_scale,
)

MICROSOFT = "com.microsoft"


def held(x: Any) -> Value | None:
    """The array of a scale or zero point. An initializer stays a weight even with one element:
    calibration sets it, so other weights of the same architecture have another."""
    if not isinstance(x, Known) or not x.source or x.element == "string":
        return None if x is None else array(x)
    lowering = node().lowering
    if x not in lowering.arrays:
        made = lowering.weight(x, to_storage(x.array), storage(x.element))
        lowering.arrays[x] = tagged(made, x.element)
    made = lowering.arrays[x]
    return made


def bounds(element: str) -> tuple[int, int]:
    """The lowest and highest number of an integer element type."""
    bits = BITS.get(element) or int(element.removeprefix("u").removeprefix("int"))
    return (0, 2**bits - 1) if element[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _place(scale: Value, x: Value, axis: int, block: int) -> tuple[int, ...]:
    """The arguments that say how scales lie along an array; none for one scale for all.

    Raises:
        Unsupported: the scale has a rank that fits neither an axis nor blocks.
    """
    if scale.dims in ((), (1,)) or all(d == 1 for d in scale.dims):
        return ()
    if scale.ndim != (x.ndim if block else 1):
        raise Unsupported(f"a scale of rank {scale.ndim} for an array of rank {x.ndim}")
    at = axis % x.ndim
    return (at, block) if block else ((at,) if at != 1 else ())


@lowers("QuantizeLinear")
@lowers("QuantizeLinear", domain=MICROSOFT)
def quantize(
    x: Value,
    y_scale: Any,
    y_zero_point: Any = None,
    axis: int = 1,
    saturate: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
) -> Value:
    """QuantizeLinear(T1 x, T2 y_scale, T3? y_zero_point, int axis=1, int saturate=1,
    int block_size=0, int output_dtype=0, int precision=0) -> T3 y"""
    to = element(y_zero_point) if y_zero_point is not None else "uint8"
    to = element_name(output_dtype) if output_dtype else to
    scale, zero = array(held(y_scale)), held(y_zero_point)
    work = storage(element_name(precision)) if precision else str(scale.dtype)
    x, scale = cast(x, work), cast(scale, work)
    place = _place(scale, x, axis, block_size)
    if to in FLOATS:  # their zero point is zero
        spread = scale if not place else _spread(scale, x, axis % x.ndim, block_size)
        result: Value = convert(x / spread, to, bool(saturate))
        return result
    args = (x, scale, zero, *bounds(to), *place)
    codes = call_as(quantize_linear, [(x.dims, "float32")], *args)
    return tagged(cast(codes, storage(to)), to)


def _spread(scale: Value, x: Value, axis: int, block: int) -> Value:
    return call(spread_scale, scale, x, axis, block)


@lowers("DequantizeLinear")
@lowers("DequantizeLinear", domain=MICROSOFT)
def dequantize(
    x: Any,
    x_scale: Any,
    x_zero_point: Any = None,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Value:
    """DequantizeLinear(T1 x, T2 x_scale, T1? x_zero_point, int axis=1, int block_size=0,
    int output_dtype=0) -> T3 y"""
    codes, scale = array(x), array(held(x_scale))
    place = _place(scale, codes, axis, block_size)
    zero = None if _is_zero(x_zero_point) else held(x_zero_point)
    if element(scale) == "float8e8m0" or output_dtype:
        to = storage(element_name(output_dtype)) if output_dtype else "float32"
        scale = cast(scale, to)
    options = (zero, *place) if zero is not None or place else ()
    return call_as(dequantize_linear, [(codes.dims, str(scale.dtype))], codes, scale, *options)


def _is_zero(zero_point: Any) -> bool:
    """Of floats, and of constants that no file holds: there is nothing to subtract."""
    if zero_point is None:
        return True
    if element(zero_point) in FLOATS:
        return True
    return all_zero(zero_point) and not zero_point.source


@lowers("DynamicQuantizeLinear", since=11)
def dynamic_quantize(x: Value) -> tuple[Value, ...]:
    """DynamicQuantizeLinear(T1 x) -> (T2 y, tensor(float) y_scale, T2 y_zero_point)"""
    results = [(x.dims, "uint8"), ((), "float32"), ((), "uint8")]
    out: tuple[Value, ...] = call_as(dynamic_quantize_linear, results, x)
    return out


# -- products --------------------------------------------------------------------------------------


def less_zero(codes: Value, zero_point: Any, rows: bool = False) -> Value:
    """Codes minus their zero point; with ``rows`` a vector holds one for each row."""
    if zero_point is None or all_zero(zero_point):
        return codes
    wide = cast(codes, "int32")
    zero = cast(array(held(zero_point)), "int32")
    return wide - (by_row(zero) if rows and codes.ndim > 1 else zero)


def by_row(values: Value) -> Value:
    return values.reshape(-1, 1) if values.ndim == 1 and values.dims != (1,) else values


def product_of_codes(a: Value, b: Value) -> Value:
    """``a @ b`` in int32 of what :func:`less_zero` gives, or of codes themselves."""
    dims = call(mx.matmul, cast(a, "float32"), cast(b, "float32")).dims
    return call_as(matmul_of_codes, [(dims, "int32")], a, b)


@lowers("MatMulInteger")
def matmul_integer(A: Value, B: Value, a_zero_point: Any = None, b_zero_point: Any = None) -> Value:
    """MatMulInteger(T1 A, T2 B, T1? a_zero_point, T2? b_zero_point) -> int32 Y"""
    return product_of_codes(less_zero(A, a_zero_point, rows=True), less_zero(B, b_zero_point))


def _codes(total: Value, factor: Value, zero_point: Any, to: str) -> Value:
    zero = array(held(zero_point))
    args = (total, factor, zero, *bounds(to))
    return cast(call_as(requantize, [(total.dims, "float32")], *args), storage(to))


@lowers("QLinearMatMul")
def qlinear_matmul(
    a: Value,
    a_scale: Any,
    a_zero_point: Any,
    b: Value,
    b_scale: Any,
    b_zero_point: Any,
    y_scale: Any,
    y_zero_point: Any,
) -> Value:
    """QLinearMatMul(T1 a, TS a_scale, T1 a_zero_point, T2 b, TS b_scale, T2 b_zero_point,
    TS y_scale, T3 y_zero_point) -> T3 y"""
    if any(element(v) in FLOATS for v in (a, b, y_zero_point)):
        raise Unsupported("a product of 8-bit floats by their codes")
    left = less_zero(a, a_zero_point, rows=True)
    total = product_of_codes(left, less_zero(b, b_zero_point))
    rows = by_row(array(held(a_scale))) if a.ndim > 1 else array(held(a_scale))
    factor = rows * array(held(b_scale)) / by_row(array(held(y_scale)))
    return _codes(total, factor, y_zero_point, element(y_zero_point))


@lowers("QLinearConv")
def qlinear_conv(
    x: Value,
    x_scale: Any,
    x_zero_point: Any,
    w: Value,
    w_scale: Any,
    w_zero_point: Any,
    y_scale: Any,
    y_zero_point: Any,
    B: Value | None = None,
    **window: Any,
) -> Value:
    """QLinearConv(T1 x, tensor(float) x_scale, T1 x_zero_point, T2 w, tensor(float) w_scale,
    T2 w_zero_point, tensor(float) y_scale, T3 y_zero_point, T4? B, ...) -> T3 y"""
    total = conv_integer_(x, w, held(x_zero_point), w_zero_point, **window)
    ones = (1,) * (x.ndim - 2)
    if B is not None:
        total = total + B.reshape(-1, *ones)
    scale = array(held(w_scale))
    each = scale.reshape(-1, *ones) if scale.ndim else scale
    factor = array(held(x_scale)) * each / array(held(y_scale))
    return _codes(total, factor, y_zero_point, element(y_zero_point))
