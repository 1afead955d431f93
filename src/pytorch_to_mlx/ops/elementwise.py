"""Elementwise maths that MLX lacks or rounds differently from torch."""

from __future__ import annotations

import math

import mlx.core as mx


def as_float(x: mx.array) -> mx.array:
    """float32 for integers and bools; floats and complex stay."""
    return x if mx.issubdtype(x.dtype, mx.inexact) else x.astype(mx.float32)


def frac(x: mx.array) -> mx.array:
    """``torch.frac``: what follows the decimal point, with the sign of ``x``."""
    return x - mx.trunc(x)


def is_integral(x: mx.array) -> bool:
    """Whether the dtype is an integer or bool."""
    return not mx.issubdtype(x.dtype, mx.inexact)


def fmod(x: mx.array, y: mx.array) -> mx.array:
    """``torch.fmod``: remainder with the sign of ``x`` (C's rule)."""
    rest = mx.remainder(x, y)
    if is_integral(rest):
        return mx.where((rest != 0) & ((rest < 0) != (x < 0)), rest - y, rest)
    x = mx.broadcast_to(x, rest.shape).astype(rest.dtype)  # the least integer has no absolute value
    return copysign(mx.remainder(mx.abs(x), mx.abs(y)), x)


def remainder(x: mx.array, y: mx.array) -> mx.array:
    """``torch.remainder``: remainder with the sign of ``y`` (Python's rule)."""
    if is_integral(x) and is_integral(y):
        return mx.remainder(x, y)
    rest = fmod(x, y)
    return mx.where((rest != 0) & ((rest < 0) != (y < 0)), rest + y, rest)


def floor_divide(x: mx.array, y: mx.array) -> mx.array:
    """``torch.floor_divide``: exact floor of the quotient, integers or floats."""
    if is_integral(x) and is_integral(y):
        return mx.floor_divide(x, y)
    quotient = x / y
    rest = fmod(x, y)
    exact = (x - rest) / y
    exact = mx.where((rest != 0) & ((y < 0) != (rest < 0)), exact - 1, exact)
    floor = mx.floor(exact)
    floor = mx.where(exact - floor > 0.5, floor + 1, floor)
    floor = mx.where(exact == 0, copysign(mx.zeros_like(quotient), quotient), floor)
    return mx.where(y == 0, quotient, floor)


def trunc_divide(x: mx.array, y: mx.array) -> mx.array:
    """``torch.div(rounding_mode="trunc")``: quotient rounded to zero, integers or floats."""
    if not (is_integral(x) and is_integral(y)):
        return mx.trunc(x / y)
    floor = mx.floor_divide(x, y)
    inexact = floor * y != x
    return mx.where(inexact & ((x < 0) != (y < 0)), floor + 1, floor)


def divide(x: mx.array, y: mx.array, rounding_mode: str | None = None) -> mx.array:
    """``torch.div``: ``rounding_mode`` is ``None``, "trunc" or "floor"."""
    if rounding_mode == "trunc":
        return trunc_divide(x, y)
    if rounding_mode == "floor":
        return floor_divide(x, y)
    return x / y


def signbit(x: mx.array) -> mx.array:
    """``torch.signbit``: bool, true for -0.0 and negative NaN as well."""
    if x.dtype == mx.float32:
        return x.view(mx.int32) < 0
    if x.dtype in (mx.float16, mx.bfloat16):
        return x.view(mx.int16) < 0
    return x < 0 if x.dtype != mx.bool_ else mx.zeros_like(x)


def copysign(x: mx.array, y: mx.array) -> mx.array:
    """``torch.copysign``: magnitude of ``x``, sign bit of ``y``; integers give float32."""
    size = mx.abs(as_float(x))
    return mx.where(signbit(y), -size, size)


def hypot(x: mx.array, y: mx.array) -> mx.array:
    """``torch.hypot``: root of the sum of squares without overflow in between."""
    x, y = mx.abs(x), mx.abs(y)
    large, small = mx.maximum(x, y), mx.minimum(x, y)
    ratio = small / mx.where(large == 0, mx.ones_like(large), large)
    size = large * mx.sqrt(1 + ratio * ratio)
    return mx.where(mx.isinf(x) | mx.isinf(y), mx.array(mx.inf, dtype=size.dtype), size)


def heaviside(x: mx.array, values: mx.array) -> mx.array:
    """``torch.heaviside``: 0 below zero, 1 above, ``values`` at zero."""
    return mx.where(x == 0, values, (x > 0).astype(x.dtype))


def nan_to_num(
    x: mx.array, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> mx.array:
    """``torch.nan_to_num``: infinities become the largest finite values unless told otherwise."""
    if is_integral(x):
        return x
    limits = mx.finfo(x.dtype)
    high = limits.max if posinf is None else posinf
    low = limits.min if neginf is None else neginf
    x = mx.where(mx.isnan(x), mx.array(nan, dtype=x.dtype), x)
    x = mx.where(x == mx.inf, mx.array(high, dtype=x.dtype), x)
    return mx.where(x == -mx.inf, mx.array(low, dtype=x.dtype), x)


def sgn(x: mx.array) -> mx.array:
    """``torch.sgn``: sign, for complex numbers the point of the unit circle (0 for 0)."""
    if x.dtype != mx.complex64:
        return mx.sign(x)
    size = mx.abs(x)
    return mx.where(size == 0, mx.zeros_like(x), x / mx.where(size == 0, 1.0, size))


def xlogy(x: mx.array, y: mx.array) -> mx.array:
    """``torch.xlogy``: ``x * log(y)``, zero where ``x`` is zero unless ``y`` is NaN."""
    product = as_float(x) * mx.log(as_float(y))
    return mx.where((x == 0) & (y == y), mx.zeros_like(product), product)


def xlog1py(x: mx.array, y: mx.array) -> mx.array:
    """``torch.special.xlog1py``: ``x * log1p(y)``, zero where ``x`` is zero."""
    product = as_float(x) * mx.log1p(as_float(y))
    return mx.where((x == 0) & (y == y), mx.zeros_like(product), product)


def logit(x: mx.array, eps: float | None = None) -> mx.array:
    """``torch.logit``: log of the odds; ``eps`` clamps the argument into [eps, 1 - eps]."""
    x = as_float(x)
    if eps is not None:
        x = mx.clip(x, eps, 1 - eps)
    return mx.log(x / (1 - x))


def sinc(x: mx.array) -> mx.array:
    """``torch.sinc``: ``sin(pi x) / (pi x)``, 1 at 0."""
    x = as_float(x)
    angle = (x if x.dtype == mx.complex64 else x.astype(mx.float32)) * math.pi
    safe = mx.where(angle == 0, 1.0, angle)
    return mx.where(angle == 0, 1.0, mx.sin(angle) / safe).astype(x.dtype)


def float_power(x: mx.array, exponent: mx.array | float) -> mx.array:
    """``torch.float_power`` in float32 (torch's float64 exists on MLX's CPU only)."""
    wide = x if x.dtype == mx.complex64 else x.astype(mx.float32)
    return mx.power(wide, exponent)


def integer_power(x: mx.array, exponent: mx.array) -> mx.array:
    """``torch.pow`` of integers: to negative powers 1 and -1 stay units, all else gives 0."""
    power = mx.power(x, mx.maximum(exponent, 0))
    unit = mx.where(exponent % 2 == 0, mx.abs(x), x)
    inverse = mx.where(mx.abs(x) == 1, unit, mx.zeros_like(x))
    return mx.where(exponent < 0, inverse, power)


def gcd(x: mx.array, y: mx.array) -> mx.array:
    """``torch.gcd`` of integers, never negative."""
    x, y = mx.broadcast_arrays(mx.abs(x), mx.abs(y))
    # Euclid's worst case is a pair of Fibonacci numbers: 1.44 steps a bit.
    for _ in range(math.ceil(1.45 * 8 * x.itemsize)):
        rest = mx.where(y == 0, x, mx.remainder(x, mx.maximum(y, 1)))
        x, y = mx.where(y == 0, x, y), mx.where(y == 0, y, rest)
    return x


def lcm(x: mx.array, y: mx.array) -> mx.array:
    """``torch.lcm`` of integers, never negative; zero if either is."""
    divisor = gcd(x, y)
    return mx.abs(x) // mx.maximum(divisor, 1) * mx.abs(y)


def ldexp(x: mx.array, exponent: mx.array) -> mx.array:
    """``torch.ldexp``: ``x * 2**exponent``."""
    return as_float(x) * mx.power(mx.array(2.0), exponent.astype(mx.float32)).astype(
        as_float(x).dtype
    )


def frexp(x: mx.array) -> tuple[mx.array, mx.array]:
    """``torch.frexp``: mantissa in [0.5, 1) with the sign of ``x``, and int32 exponent."""
    wide = x.astype(mx.float32)
    tiny = mx.abs(wide) < 2.0**-126  # subnormal: its exponent bits say nothing, so scale it up
    bits = mx.where(tiny, wide * 2.0**25, wide).view(mx.int32)
    exponent = ((bits >> 23) & 255) - 126 - mx.where(tiny, 25, 0)
    mantissa = ((bits & ~(255 << 23)) | (126 << 23)).view(mx.float32)
    plain = (wide == 0) | mx.logical_not(mx.isfinite(wide))
    return (
        mx.where(plain, wide, mantissa).astype(x.dtype),
        mx.where(plain, 0, exponent).astype(mx.int32),
    )


def nextafter(x: mx.array, y: mx.array) -> mx.array:
    """``torch.nextafter``: the next number of the dtype from ``x`` towards ``y``."""
    kind = mx.int32 if x.dtype == mx.float32 else mx.int16
    bits = x.view(kind)
    # Bit patterns of one sign are ordered by magnitude; from zero one steps to the least number.
    away = (y > x) == (x > 0)
    stepped = mx.where(away, bits + 1, bits - 1).astype(kind).view(x.dtype)
    least = mx.array(1, dtype=kind).view(x.dtype)
    stepped = mx.where(x == 0, mx.where(y > 0, least, -least), stepped)
    stepped = mx.where(x == y, y, stepped)
    return mx.where((x != x) | (y != y), x + y, stepped)


def shift_left(x: mx.array, count: mx.array) -> mx.array:
    """``x << count`` as torch has it: 0 where ``count`` is negative or not below the width."""
    width = 8 * x.itemsize
    outside = (count < 0) | (count >= width)
    shifted = mx.left_shift(x, mx.where(outside, mx.zeros_like(count), count))
    return mx.where(outside, mx.zeros_like(shifted), shifted)


def shift_right(x: mx.array, count: mx.array) -> mx.array:
    """``x >> count`` (arithmetic) as torch has it: the sign where ``count`` is out of range."""
    width = 8 * x.itemsize
    outside = (count < 0) | (count >= width)
    shifted = mx.right_shift(x, mx.where(outside, mx.zeros_like(count), count))
    return mx.where(outside, mx.where(x < 0, -1, 0).astype(shifted.dtype), shifted)


def clamp(
    x: mx.array, low: mx.array | float | None = None, high: mx.array | float | None = None
) -> mx.array:
    """``torch.clamp``: numbers or arrays as bounds; NaN stays, ``high`` wins over ``low``."""
    if low is not None:
        x = mx.maximum(x, low)
    return x if high is None else mx.minimum(x, high)


def fmax(x: mx.array, y: mx.array) -> mx.array:
    """``torch.fmax``: the larger one, and the other one where one is NaN."""
    return mx.where(mx.isnan(x), y, mx.where(mx.isnan(y), x, mx.maximum(x, y)))


def fmin(x: mx.array, y: mx.array) -> mx.array:
    """``torch.fmin``: the smaller one, and the other one where one is NaN."""
    return mx.where(mx.isnan(x), y, mx.where(mx.isnan(y), x, mx.minimum(x, y)))


def isclose(
    x: mx.array, y: mx.array, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> mx.array:
    """``torch.isclose``: bool; integers are compared as floats."""
    close = x == y
    if equal_nan:
        close = close | ((x != x) & (y != y))
    a, b = as_float(x), as_float(y)
    gap, allowed = mx.abs(a - b), atol + mx.abs(b) * rtol
    return close | (mx.isfinite(gap) & mx.isfinite(a) & mx.isfinite(b) & (gap <= allowed))


def lerp(start: mx.array, end: mx.array, weight: mx.array | float) -> mx.array:
    """``torch.lerp``: ``start + weight * (end - start)``, exact at both ends."""
    weight = weight if isinstance(weight, mx.array) else mx.array(weight, dtype=start.dtype)
    near = start + weight * (end - start)
    far = end - (end - start) * (1 - weight)
    return mx.where(mx.abs(weight) < 0.5, near, far)


def addcmul(x: mx.array, a: mx.array, b: mx.array, value: float = 1) -> mx.array:
    """``torch.addcmul``: ``x + value * a * b``."""
    return x + (a * b if value == 1 else value * a * b)


def addcdiv(x: mx.array, a: mx.array, b: mx.array, value: float = 1) -> mx.array:
    """``torch.addcdiv``: ``x + value * a / b``."""
    return x + (a / b if value == 1 else value * a / b)


def deg2rad(x: mx.array) -> mx.array:
    """``torch.deg2rad``; integers give float32."""
    return as_float(x) * (math.pi / 180)


def rad2deg(x: mx.array) -> mx.array:
    """``torch.rad2deg``; integers give float32."""
    return as_float(x) * (180 / math.pi)


def round_decimals(x: mx.array, decimals: int = 0) -> mx.array:
    """``torch.round``: half to even, after scaling by ``10**decimals`` as torch does."""
    if decimals == 0 or is_integral(x):
        return x if is_integral(x) else mx.round(x)
    scale = 10.0 ** abs(decimals)
    wide = x.astype(mx.float32)
    rounded = mx.round(wide * scale) / scale if decimals > 0 else mx.round(wide / scale) * scale
    return rounded.astype(x.dtype)


def exp2(x: mx.array) -> mx.array:
    """``torch.exp2``: ``2**x``."""
    x = as_float(x)
    return mx.power(mx.array(2.0, dtype=x.dtype), x)


def logaddexp2(x: mx.array, y: mx.array) -> mx.array:
    """``torch.logaddexp2``: ``log2(2**x + 2**y)`` without overflow."""
    return mx.logaddexp(x * math.log(2), y * math.log(2)) / math.log(2)
