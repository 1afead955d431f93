"""Fake quantisation and the quantise/dequantise pairs of exported quantised models."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.aten import lowers

FLOAT = DType("float32")


def _along(values: Value, x: Value, axis: int) -> Value:
    """One number a channel, shaped to broadcast over ``x``."""
    return values.reshape(-1, *(1,) * (x.ndim - 1 - axis % x.ndim))


def _quantize(x: Value, scale: Any, zero_point: Any, low: Any, high: Any) -> Value:
    """Whole numbers in ``[low, high]``, as floats; torch multiplies by the reciprocal scale."""
    inverse = 1.0 / scale
    return call(mx.clip, call(mx.round, x * inverse) + zero_point, low, high)


def _fake(x: Value, scale: Any, zero_point: Any, low: int, high: int) -> Value:
    """torch takes NaN for the lowest number (where one scale is for all)."""
    steps = call(mx.round, x * (1.0 / scale)) + zero_point
    whole = call(mx.where, call(mx.greater_equal, steps, low), call(mx.minimum, steps, high), low)
    return (whole - zero_point) * scale


def _inside(x: Value, scale: Any, zero_point: Any, low: int, high: int) -> Value:
    """Which elements are not clipped."""
    steps = call(mx.round, x * (1.0 / scale)) + zero_point
    return call(
        mx.logical_and, call(mx.greater_equal, steps, low), call(mx.less_equal, steps, high)
    )


@lowers(
    "aten.fake_quantize_per_tensor_affine.default",
    "aten.fake_quantize_per_tensor_affine.tensor_qparams",
)
def fake_quantize_per_tensor_affine(
    x: Value, scale: Any, zero_point: Any, quant_min: int, quant_max: int
) -> Value:
    """fake_quantize_per_tensor_affine(Tensor self, float scale, int zero_point, int quant_min, int
        quant_max) -> Tensor
    fake_quantize_per_tensor_affine.tensor_qparams(Tensor self, Tensor scale, Tensor zero_point,
        int quant_min, int quant_max) -> Tensor
    """
    return _fake(x, scale, zero_point, quant_min, quant_max)


@lowers("aten.fake_quantize_per_tensor_affine_cachemask.default")
def fake_quantize_per_tensor_affine_cachemask(
    x: Value, scale: float, zero_point: int, quant_min: int, quant_max: int
) -> tuple[Value, Value]:
    """fake_quantize_per_tensor_affine_cachemask(Tensor self, float scale, int zero_point, int
    quant_min, int quant_max) -> (Tensor output, Tensor mask)
    """
    settings = scale, zero_point, quant_min, quant_max
    return _fake(x, *settings), _inside(x, *settings)


@lowers("aten.fake_quantize_per_channel_affine.default")
def fake_quantize_per_channel_affine(
    x: Value, scale: Value, zero_point: Value, axis: int, quant_min: int, quant_max: int
) -> Value:
    """fake_quantize_per_channel_affine(Tensor self, Tensor scale, Tensor zero_point, int axis, int
    quant_min, int quant_max) -> Tensor
    """
    settings = _along(scale, x, axis), _along(zero_point, x, axis)
    return _fake(x, *settings, quant_min, quant_max)


@lowers("aten.fake_quantize_per_channel_affine_cachemask.default")
def fake_quantize_per_channel_affine_cachemask(
    x: Value, scale: Value, zero_point: Value, axis: int, quant_min: int, quant_max: int
) -> tuple[Value, Value]:
    """fake_quantize_per_channel_affine_cachemask(Tensor self, Tensor scale, Tensor zero_point, int
    axis, int quant_min, int quant_max) -> (Tensor output, Tensor mask)
    """
    settings = _along(scale, x, axis), _along(zero_point, x, axis), quant_min, quant_max
    return _fake(x, *settings), _inside(x, *settings)


@lowers("quantized_decomposed.quantize_per_tensor")
def quantize_per_tensor(
    x: Value, scale: Any, zero_point: Any, quant_min: Any, quant_max: Any, dtype: str
) -> Value:
    """quantize_per_tensor(Tensor input, float scale, int zero_point, int quant_min, int quant_max,
        ScalarType dtype) -> Tensor
    quantize_per_tensor.tensor(Tensor input, Tensor scale, Tensor zero_point, int quant_min, int
        quant_max, ScalarType dtype) -> Tensor
    quantize_per_tensor.tensor2(Tensor input, Tensor scale, Tensor zero_point, Tensor quant_min,
        Tensor quant_max, ScalarType dtype) -> Tensor
    """
    return _quantize(x, scale, zero_point, quant_min, quant_max).astype(dtype)


@lowers("quantized_decomposed.dequantize_per_tensor")
def dequantize_per_tensor(
    x: Value,
    scale: Any,
    zero_point: Any,
    quant_min: Any,
    quant_max: Any,
    dtype: str,
    *,
    out_dtype: str | None = None,
) -> Value:
    """dequantize_per_tensor(Tensor input, float scale, int zero_point, int quant_min, int
        quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor
    dequantize_per_tensor.tensor(Tensor input, Tensor scale, Tensor zero_point, int quant_min,
        int quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor
    dequantize_per_tensor.tensor2(Tensor input, Tensor scale, Tensor zero_point, Tensor
        quant_min, Tensor quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor
    """
    return ((x.astype(FLOAT) - zero_point) * scale).astype(out_dtype or FLOAT)


@lowers("quantized_decomposed.quantize_per_channel")
def quantize_per_channel(
    x: Value,
    scales: Value,
    zero_points: Value,
    axis: int,
    quant_min: int,
    quant_max: int,
    dtype: str,
) -> Value:
    """quantize_per_channel(Tensor input, Tensor scales, Tensor zero_points, int axis, int
    quant_min, int quant_max, ScalarType dtype) -> Tensor
    """
    settings = _along(scales, x, axis), _along(zero_points, x, axis)
    return _quantize(x, *settings, quant_min, quant_max).astype(dtype)


@lowers("quantized_decomposed.dequantize_per_channel")
def dequantize_per_channel(
    x: Value,
    scales: Value,
    zero_points: Value | None,
    axis: int,
    quant_min: int,
    quant_max: int,
    dtype: str,
    *,
    out_dtype: str | None = None,
) -> Value:
    """dequantize_per_channel(Tensor input, Tensor scales, Tensor? zero_points, int axis, int
    quant_min, int quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor
    """
    whole = x.astype(FLOAT)
    whole = whole if zero_points is None else whole - _along(zero_points, x, axis)
    return (whole * _along(scales, x, axis)).astype(out_dtype or FLOAT)


@lowers("quantized_decomposed.choose_qparams.tensor")
def choose_qparams(
    x: Value, quant_min: int, quant_max: int, eps: float, dtype: str
) -> tuple[Value, Value]:
    """choose_qparams.tensor(Tensor input, int quant_min, int quant_max, float eps, ScalarType
    dtype) -> (Tensor, Tensor)
    """
    low = call(mx.minimum, call(mx.min, x), 0.0)
    high = call(mx.maximum, call(mx.max, x), 0.0)
    scale = call(mx.maximum, (high - low) / float(quant_max - quant_min), eps)
    zero_point = call(mx.clip, quant_min - call(mx.round, low / scale), quant_min, quant_max)
    return scale, zero_point.astype(DType("int64"))


@lowers("aten._weight_int8pack_mm.default")
def _weight_int8pack_mm(x: Value, mat2: Value, scales: Value) -> Value:
    """_weight_int8pack_mm(Tensor self, Tensor mat2, Tensor scales) -> Tensor"""
    return call("ops.linear", x, mat2.astype(DType(str(x.dtype)))) * scales
