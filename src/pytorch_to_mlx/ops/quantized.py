"""Linear quantization: ``code = round(x / scale) + zero_point``, and products of 8-bit codes."""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.ops.pooling_padded import window_taps


def spread_scale(values: mx.array, x: mx.array, axis: int, block: int) -> mx.array:
    """Scales or zero points so that they broadcast to ``x``: one for all of it, one for each place
    of an axis, or (with ``block``, in the rank of ``x``) one for so many places of the axis."""
    if values.size == 1:
        return values.reshape(())
    if block:
        return mx.split(mx.repeat(values, block, axis), [x.shape[axis]], axis)[0]
    shape = [1] * x.ndim
    shape[axis] = -1
    return values.reshape(shape)


def quantize_linear(
    x: mx.array,
    scale: mx.array,
    zero_point: mx.array | None,
    lowest: int,
    highest: int,
    axis: int = 1,
    block: int = 0,
) -> mx.array:
    """Codes of ``x`` from ``lowest`` to ``highest``, as whole float32 numbers; half to even.

    Source: the ONNX standard, ``QuantizeLinear``.
    """
    codes = mx.round(x / spread_scale(scale, x, axis, block)).astype(mx.float32)
    if zero_point is not None:
        codes = codes + spread_scale(zero_point, x, axis, block)
    return mx.clip(codes, lowest, highest)


def dequantize_linear(
    codes: mx.array,
    scale: mx.array,
    zero_point: mx.array | None = None,
    axis: int = 1,
    block: int = 0,
) -> mx.array:
    """The numbers that codes stand for, in the dtype of ``scale``.

    Source: the ONNX standard, ``DequantizeLinear``.
    """
    x = codes.astype(mx.float32)
    if zero_point is not None:
        x = x - spread_scale(zero_point, codes, axis, block)
    return (x * spread_scale(scale, codes, axis, block)).astype(scale.dtype)


def dynamic_quantize_linear(x: mx.array) -> tuple[mx.array, mx.array, mx.array]:
    """uint8 codes that span ``x`` and zero, with their scale and zero point.

    Source: the ONNX standard, ``DynamicQuantizeLinear``.
    """
    low, high = mx.minimum(x.min(), 0), mx.maximum(x.max(), 0)
    scale = mx.where(high > low, (high - low) / 255, 1.0)
    zero_point = mx.round(mx.clip(-low / scale, 0, 255))
    codes = mx.clip(mx.round(x / scale) + zero_point, 0, 255)
    return codes.astype(mx.uint8), scale, zero_point.astype(mx.uint8)


def matmul_of_codes(a: mx.array, b: mx.array) -> mx.array:
    """``a @ b`` in int32 of numbers from -255 to 255, exactly: float32 adds up 256 of their
    products without rounding."""
    total = mx.array(0, mx.int32)
    for start in range(0, a.shape[-1], 256):
        part = slice(start, start + 256)
        rows = b[part] if b.ndim == 1 else b[..., part, :]
        product = a[..., part].astype(mx.float32) @ rows.astype(mx.float32)
        total = total + product.astype(mx.int32)
    return total


def conv_of_codes(
    x: mx.array,
    weight: mx.array,
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int = 1,
) -> mx.array:
    """Convolution in int32 of numbers from -255 to 255, exactly: a product for each kernel tap."""
    taps = [x]
    for axis, given in enumerate(
        zip(weight.shape[1:-1], stride, dilation, padding, strict=True), start=1
    ):
        taps = [t for x in taps for t in window_taps(x, axis, *given, ceil_mode=False, fill=0)]
    features, inputs = weight.shape[0], weight.shape[-1]
    kernels = weight.reshape(groups, features // groups, -1, inputs).transpose(2, 0, 3, 1)
    total = mx.array(0, mx.int32)
    for tap, kernel in zip(taps, kernels, strict=True):
        rows = tap.reshape(-1, groups, inputs).swapaxes(0, 1)
        total = total + matmul_of_codes(rows, kernel)
    return total.swapaxes(0, 1).reshape(*taps[0].shape[:-1], features)


def requantize(
    total: mx.array, factor: mx.array, zero_point: mx.array, lowest: int, highest: int
) -> mx.array:
    """int32 sums times a factor, as codes from ``lowest`` to ``highest`` (whole float32)."""
    scaled = total.astype(mx.float32) * factor.astype(mx.float32)
    return mx.clip(mx.round(scaled) + zero_point, lowest, highest)


def unpack_bits(packed: mx.array, bits: int) -> mx.array:
    """The numbers of few bits in the bytes of uint8 ``packed`` [.., n], lowest bits first:
    uint8 [.., n * 8 / bits]."""
    shifts = mx.arange(0, 8, bits, dtype=mx.uint8)
    codes = mx.right_shift(packed[..., None], shifts) & (2**bits - 1)
    return codes.reshape(*packed.shape[:-1], -1)


def matmul_of_blocks(
    x: mx.array,
    weight: mx.array,
    scales: mx.array,
    biases: mx.array,
    block: int,
    bits: int,
    bias: mx.array | None = None,
) -> mx.array:
    """``x @ w.T + bias`` where ``w`` is held as uint32 codes [N, ..], with a scale and a shift for
    each block of inputs [N, blocks]. ``x`` may end within the last block."""
    missing = scales.shape[-1] * block - x.shape[-1]
    if missing:
        x = mx.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])
    y = mx.quantized_matmul(
        x, weight, scales=scales, biases=biases, transpose=True, group_size=block, bits=bits
    )
    return y if bias is None else y + bias
