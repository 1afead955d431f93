"""Numbers of fewer bits than any MLX dtype: floats of 8 and 4 bits, integers of 4 and 2.

They are emulated: floats as float32 rounded to the format, integers as int8 or uint8.
"""

from __future__ import annotations

import math

import mlx.core as mx


def round_to_float(
    x: mx.array, mantissa: int, bias: int, largest: float, saturate: bool, infinite: bool
) -> mx.array:
    """float32 ``x`` rounded (half to even) to a float with that many mantissa bits and that bias.

    Beyond ``largest``: that number with ``saturate``, else infinity where the format has one, NaN
    where it has none. Source: the ONNX standard, "Float stored in 8 bits".
    """
    size = mx.abs(x)
    bits = mx.maximum(size, 2.0**-126).view(mx.int32)
    exponent = mx.maximum((bits >> 23) - 127, 1 - bias)
    step = mx.power(2.0, (exponent - mantissa).astype(mx.float32))
    rounded = mx.round(size / step) * step
    beyond = largest if saturate else (math.inf if infinite else math.nan)
    rounded = mx.where(rounded > largest, beyond, rounded)
    if not saturate and infinite:
        rounded = mx.where(mx.isinf(x), math.inf, rounded)
    if not saturate and not infinite:
        rounded = mx.where(mx.isinf(x), math.nan, rounded)
    return mx.where(mx.isnan(x), math.nan, mx.where(x < 0, -rounded, rounded))


def round_to_power(x: mx.array, mode: str, saturate: bool) -> mx.array:
    """float32 ``x`` as a power of two from 2**-127 to 2**127 (the e8m0 scale format).

    ``mode`` is ``"up"``, ``"down"`` or ``"nearest"``. Source: the ONNX standard, ``Cast``.
    """
    size = mx.abs(x)
    bits = size.view(mx.int32)
    exponent, rest = (bits >> 23) - 127, bits & 0x7FFFFF
    if mode == "up":
        exponent = exponent + (rest > 0)
    elif mode == "nearest":
        exponent = exponent + (rest >= 0x400000)
    low = mx.maximum(exponent, -127)
    out = mx.power(2.0, mx.minimum(low, 127).astype(mx.float32))
    if not saturate:
        out = mx.where(low > 127, math.nan, out)
    return mx.where(mx.isnan(x), math.nan, out)


def wrap_integer(x: mx.array, bits: int, signed: bool) -> mx.array:
    """The lowest ``bits`` bits of integers, as signed or unsigned numbers."""
    low = mx.bitwise_and(x, 2**bits - 1)
    return mx.where(low >= 2 ** (bits - 1), low - 2**bits, low) if signed else low
