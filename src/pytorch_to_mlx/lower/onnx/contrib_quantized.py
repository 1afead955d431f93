"""Quantized ops of ONNX Runtime (com.microsoft): weights in blocks, products of 8-bit codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._common import array, axis_of, call_as, cast, element, getitem
from pytorch_to_mlx.lower.onnx.contrib_attention import attend_joined
from pytorch_to_mlx.lower.onnx.pooling import average_pool
from pytorch_to_mlx.lower.onnx.quantized import (
    MICROSOFT,
    by_row,
    dequantize,
    dynamic_quantize,
    held,
    less_zero,
    product_of_codes,
    qlinear_conv,
    quantize,
)
from pytorch_to_mlx.ops.quantized import dequantize_linear, matmul_of_blocks, unpack_bits

#: Block sizes that MLX's quantized product has.
BLOCKS = (32, 64, 128)


# -- weights in blocks -----------------------------------------------------------------------------


@lowers("MatMulNBits", domain=MICROSOFT)
def matmul_nbits(
    A: Value,
    B: Value,
    scales: Value,
    zero_points: Value | None = None,
    g_idx: Value | None = None,
    bias: Value | None = None,
    *,
    K: int,
    N: int,
    bits: int = 4,
    block_size: int,
    accuracy_level: int = 0,
    weight_prepacked: int = 0,
) -> Value:
    """com.microsoft.MatMulNBits: ``A @ W.T``, W [N, K] held as codes [N, blocks, bytes] with a
    scale and a zero point for each block. MLX packs codes in the same order."""
    if g_idx is not None or weight_prepacked:
        raise Unsupported("MatMulNBits with reordered inputs or prepacked weights")
    if bits not in (2, 4, 8):
        raise Unsupported(f"MatMulNBits with {bits} bits")
    count = -(-K // block_size)
    scale = cast(scales, str(A.dtype)).reshape(N, count)
    zero = _zero_points(zero_points, N, count, bits, str(A.dtype))
    if block_size in BLOCKS and (count * block_size * bits) % 32 == 0:
        size = count * block_size * bits // 8
        wide = ((N, size // 4), "uint32")
        packed = call_as("mx.view", [wide], B.reshape(N, size), DType("uint32"))
        shift = -(scale * zero)
        result = ((*A.dims[:-1], N), str(A.dtype))
        y = call_as(matmul_of_blocks, [result], A, packed, scale, shift, block_size, bits)
    else:
        codes = _unpacked(B.reshape(N, count * block_size * bits // 8), bits)
        given = (codes, scale, *((zero, 1, block_size) if isinstance(zero, Value) else ()))
        if not isinstance(zero, Value):
            given = (cast(codes, "int32") - int(zero), scale, None, 1, block_size)
        weight = call_as(dequantize_linear, [(codes.dims, str(A.dtype))], *given)
        y = call("ops.linear", A, getitem(weight, slice(None), slice(None, K)))
    return y if bias is None else y + bias


def _unpacked(packed: Value, bits: int) -> Value:
    dims = (*packed.dims[:-1], packed.dims[-1] * (8 // bits))
    return packed if bits == 8 else call_as(unpack_bits, [(dims, "uint8")], packed, bits)


def _zero_points(given: Value | None, rows: int, count: int, bits: int, dtype: str) -> Any:
    """[rows, count] in the dtype of the scales; a number where all are the middle of the codes."""
    if given is None:
        return float(2 ** (bits - 1))
    if given.dtype != "uint8":
        return cast(given, dtype).reshape(rows, count)
    packed = given.reshape(rows, -(-count * bits // 8))
    return cast(getitem(_unpacked(packed, bits), slice(None), slice(None, count)), dtype)


@lowers("GatherBlockQuantized", domain=MICROSOFT)
def gather_block_quantized(
    data: Value,
    indices: Value,
    scales: Value,
    zero_points: Value | None = None,
    gather_axis: int = 0,
    quantize_axis: int = 1,
    block_size: int = 128,
    bits: int = 4,
) -> Value:
    """com.microsoft.GatherBlockQuantized: places of an axis, turned into numbers after that."""
    rank = data.ndim
    along, blocks = axis_of(gather_axis, rank), axis_of(quantize_axis, rank)
    if along == blocks:
        raise Unsupported("GatherBlockQuantized along the axis of the blocks")
    packed = element(data) == "uint8"

    def taken(x: Value, numbers: bool) -> Value:
        found = call(mx.take, x, indices, axis=along)
        return _unpacked(found, bits) if packed and numbers else found

    codes, scale = taken(data, True), taken(scales, False)
    at = blocks if blocks < along else blocks + indices.ndim - 1
    zero: Value | None = None
    if zero_points is not None:
        zero = taken(zero_points, True)
        if packed:
            zero = getitem(zero, *(slice(None),) * at, slice(None, scale.dims[at]))
    elif packed:
        codes = cast(codes, "int32") - 2 ** (bits - 1)
    result = (codes.dims, str(scale.dtype))
    out: Value = call_as(dequantize_linear, [result], codes, scale, zero, at, block_size)
    return out


# -- products of 8-bit codes -----------------------------------------------------------------------


def _to_float(total: Value, a_scale: Value, b_scale: Any, bias: Value | None) -> Value:
    y = cast(total, "float32") * (a_scale * array(held(b_scale)))
    return y if bias is None else y + bias


@lowers("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer_to_float(
    A: Value,
    B: Value,
    a_scale: Any,
    b_scale: Any,
    a_zero_point: Any = None,
    b_zero_point: Any = None,
    bias: Value | None = None,
) -> Value:
    """com.microsoft.MatMulIntegerToFloat: MatMulInteger times its scales"""
    total = product_of_codes(less_zero(A, a_zero_point, rows=True), less_zero(B, b_zero_point))
    return _to_float(total, by_row(array(held(a_scale))), b_scale, bias)


@lowers("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_quantize_matmul(
    A: Value, B: Value, b_scale: Any, b_zero_point: Any = None, bias: Value | None = None
) -> Value:
    """com.microsoft.DynamicQuantizeMatMul: A is quantized by its own range"""
    codes, scale, zero = dynamic_quantize(A)
    total = product_of_codes(less_zero(codes, zero), less_zero(B, b_zero_point))
    return _to_float(total, scale, b_scale, bias)


@lowers("QAttention", domain=MICROSOFT)
def qattention(
    input: Value,
    weight: Value,
    bias: Value,
    input_scale: Any,
    weight_scale: Any,
    mask_index: Value | None = None,
    input_zero_point: Any = None,
    weight_zero_point: Any = None,
    past: Value | None = None,
    *,
    num_heads: int,
    scale: float = 0.0,
    unidirectional: int = 0,
    mask_filter_value: float = -10000.0,
    do_rotary: int = 0,
    past_present_share_buffer: int = 0,
) -> tuple[Any, ...]:
    """com.microsoft.QAttention -> (output, present): Attention whose first product is of codes"""
    if do_rotary or past_present_share_buffer:
        raise Unsupported("QAttention with rotary positions or a shared buffer")
    left, right = less_zero(input, input_zero_point), less_zero(weight, weight_zero_point)
    joined = _to_float(product_of_codes(left, right), array(held(input_scale)), weight_scale, bias)
    return attend_joined(
        joined, mask_index, past, None, num_heads, (), scale, bool(unidirectional),
        mask_filter_value,
    )  # fmt: skip


@lowers("QGemm", domain=MICROSOFT)
def qgemm(
    A: Value,
    a_scale: Any,
    a_zero_point: Any,
    B: Value,
    b_scale: Any,
    b_zero_point: Any,
    C: Value | None = None,
    y_scale: Any = None,
    y_zero_point: Any = None,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Value:
    """com.microsoft.QGemm: Gemm of codes; numbers where no output scale is given"""
    left, right = less_zero(A, a_zero_point), cast(B, "int32")
    right = right.transpose(1, 0) if transB else right
    if b_zero_point is not None:
        right = right - cast(array(held(b_zero_point)), "int32")
    total = product_of_codes(left.transpose(1, 0) if transA else left, right)
    total = total if C is None else total + C
    y = _to_float(total, array(held(a_scale)), b_scale, None)
    y = y if alpha == 1.0 else y * alpha
    return y if y_scale is None else quantize(y, y_scale, y_zero_point)


@lowers("QLinearConv", domain=MICROSOFT)
def qlinear_conv_(*inputs: Any, channels_last: int = 0, **window: Any) -> Value:
    """The standard op with a layout."""
    if channels_last:
        raise Unsupported("QLinearConv with channels last")
    given = [array(v) if i in (0, 3, 8) else v for i, v in enumerate(inputs)]
    return qlinear_conv(*given, **window)


# -- ops on what codes stand for -------------------------------------------------------------------


@lowers("QLinearAdd", domain=MICROSOFT)
def qlinear_add(A: Any, A_scale: Any, A_zero: Any, B: Any, B_scale: Any, *rest: Any) -> Value:
    """com.microsoft.QLinearAdd(A, A_scale, A_zero_point, B, B_scale, B_zero_point, C_scale,
    C_zero_point)"""
    return _both(mx.add, A, A_scale, A_zero, B, B_scale, *rest)


@lowers("QLinearMul", domain=MICROSOFT)
def qlinear_mul(A: Any, A_scale: Any, A_zero: Any, B: Any, B_scale: Any, *rest: Any) -> Value:
    """com.microsoft.QLinearMul: as QLinearAdd"""
    return _both(mx.multiply, A, A_scale, A_zero, B, B_scale, *rest)


def _both(
    fn: Callable[..., Any], A: Any, A_scale: Any, A_zero: Any, B: Any, B_scale: Any, B_zero: Any,
    C_scale: Any, C_zero: Any = None,
) -> Value:  # fmt: skip
    left, right = dequantize(A, A_scale, A_zero), dequantize(B, B_scale, B_zero)
    return quantize(call(fn, left, right), C_scale, C_zero or _like(A_zero))


def _like(zero: Any) -> Any:
    """Without a zero point of the result its codes are uint8."""
    if zero is not None and element(zero) != "uint8":
        raise Unsupported("signed codes without a zero point")
    return None


@lowers("QLinearSigmoid", domain=MICROSOFT)
def qlinear_sigmoid(X: Any, X_scale: Any, X_zero: Any, Y_scale: Any, Y_zero: Any = None) -> Value:
    """com.microsoft.QLinearSigmoid(X, X_scale, X_zero_point, Y_scale, Y_zero_point)"""
    y = call(mx.sigmoid, dequantize(X, X_scale, X_zero))
    return quantize(y, Y_scale, Y_zero or _like(X_zero))


@lowers("QLinearLeakyRelu", domain=MICROSOFT)
def qlinear_leaky_relu(
    X: Any, X_scale: Any, X_zero: Any, Y_scale: Any, Y_zero: Any = None, alpha: float = 0.01
) -> Value:
    """com.microsoft.QLinearLeakyRelu(X, X_scale, X_zero_point, Y_scale, Y_zero_point)"""
    y = call("nn.leaky_relu", dequantize(X, X_scale, X_zero), alpha)
    return quantize(y, Y_scale, Y_zero or _like(X_zero))


@lowers("QLinearSoftmax", domain=MICROSOFT)
def qlinear_softmax(
    X: Any, X_scale: Any, X_zero: Any, Y_scale: Any, Y_zero: Any, axis: int = -1, opset: int = 13
) -> Value:
    """com.microsoft.QLinearSoftmax(X, X_scale, x_zero_point, y_scale, y_zero_point)"""
    x = dequantize(X, X_scale, X_zero)
    if opset < 13 and axis_of(axis, x.ndim) != x.ndim - 1:
        raise Unsupported("QLinearSoftmax over several axes")
    return quantize(call(mx.softmax, x, axis=axis), Y_scale, Y_zero)


@lowers("QLinearGlobalAveragePool", domain=MICROSOFT)
def qlinear_global_average_pool(
    X: Any, x_scale: Any, x_zero: Any, y_scale: Any, y_zero: Any, channels_last: int = 0
) -> Value:
    """com.microsoft.QLinearGlobalAveragePool(X, x_scale, x_zero_point, y_scale, y_zero_point)"""
    x = dequantize(X, x_scale, x_zero)
    axes = tuple(range(1, x.ndim - 1) if channels_last else range(2, x.ndim))
    return quantize(call(mx.mean, x, axis=axes, keepdims=True), y_scale, y_zero)


@lowers("QLinearAveragePool", domain=MICROSOFT)
def qlinear_average_pool(
    X: Any, x_scale: Any, x_zero: Any, y_scale: Any, y_zero: Any = None,
    channels_last: int = 0, **window: Any,
) -> Value:  # fmt: skip
    """com.microsoft.QLinearAveragePool(X, x_scale, x_zero_point, y_scale, y_zero_point)"""
    if channels_last:
        raise Unsupported("QLinearAveragePool with channels last")
    y = average_pool(dequantize(X, x_scale, x_zero), **window)
    return quantize(y, y_scale, y_zero or _like(x_zero))


@lowers("QLinearConcat", domain=MICROSOFT)
def qlinear_concat(Y_scale: Any, Y_zero_point: Any, *inputs: Any, axis: int) -> Value:
    """com.microsoft.QLinearConcat(Y_scale, Y_zero_point, (X, X_scale, X_zero_point)...)"""
    each = [dequantize(*inputs[i : i + 3]) for i in range(0, len(inputs), 3)]
    return quantize(call(mx.concatenate, tuple(each), axis=axis), Y_scale, Y_zero_point)
