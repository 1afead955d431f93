"""Bessel functions of orders 0 and 1, ordinary and modified, in float32.

Each range is a Chebyshev expansion (coefficients computed with mpmath at 30 digits), with the
logarithmic and oscillating factors split off as in Abramowitz and Stegun, chapter 9.
"""

from __future__ import annotations

import math

import mlx.core as mx

I0E_NEAR = (
    0.3383976372,
    -0.30468267234,
    0.17162090152,
    -0.094901097048,
    0.04930528424,
    -0.023737414806,
    0.010546460395,
    -0.0043243099951,
    0.0016394756169,
    -0.00057637557454,
    0.0001885028851,
    -5.7541950101e-05,
    1.6448448071e-05,
    -4.4167383585e-06,
    1.1173875391e-06,
    -2.6707938539e-07,
    6.0469950225e-08,
    -1.30002501e-08,
    2.6598237247e-09,
    -5.1897956016e-10,
    9.6758090354e-11,
)
I0E_FAR = (
    0.40224520551,
    0.0033691164783,
    6.8897583469e-05,
    2.8913705208e-06,
    2.0489185895e-07,
    2.2666689905e-08,
    3.3962320257e-09,
    4.9406023882e-10,
)
K0_NEAR = (
    -0.26766369662,
    0.34428989992,
    0.035979936515,
    0.0012646154114,
    2.2862121031e-05,
    2.534791079e-07,
    1.9045163772e-09,
)
K0E_FAR = (
    1.220151541,
    -0.031448101312,
    0.0015698838857,
    -0.00012849549582,
    1.3949813719e-05,
    -1.8317555227e-06,
    2.7668136394e-07,
    -4.6604898977e-08,
    8.5740340174e-09,
    -1.6975345094e-09,
    3.5773972814e-10,
)
J0_NEAR = (
    0.15772797147,
    -0.0087234423529,
    0.2651786132,
    -0.37009499387,
    0.15806710233,
    -0.034893769411,
    0.0048191800695,
    -0.00046062616621,
    3.2460328821e-05,
    -1.7619469078e-06,
    7.6081635924e-08,
    -2.6792535306e-09,
    7.8486963145e-11,
)
Y0_NEAR = (
    -0.033146113203,
    -0.27447430553,
    0.17903431408,
    0.26156734626,
    -0.17730201278,
    0.047196689596,
    -0.0072879624796,
    0.00075311359326,
    -5.6320791411e-05,
    3.2065325377e-06,
    -1.4407233274e-07,
    5.2487947873e-09,
    -1.5837552542e-10,
)
P0_FAR = (
    0.99946034935,
    -0.00053652204681,
    3.0751847875e-06,
    -5.1705945376e-08,
    1.6306464635e-09,
)
Q0_FAR = (
    -0.12444683684,
    0.00054708159541,
    -5.9315987288e-06,
    1.4377965798e-07,
    -5.8175327495e-09,
    3.3760975237e-10,
    -2.5653979368e-11,
)
I1E_NEAR = (
    0.12629359322,
    -0.17641651836,
    0.10264365869,
    -0.052945981208,
    0.024726449031,
    -0.010564084895,
    0.0041564229443,
    -0.0015135724506,
    0.00051228595617,
    -0.00016176081583,
    4.7815651076e-05,
    -1.3273163656e-05,
    3.4702513081e-06,
    -8.5687202647e-07,
    2.0032947536e-07,
    -4.4450591288e-08,
    9.3815373865e-09,
    -1.8872497517e-09,
    3.6255902816e-10,
    -6.6634897235e-11,
)
I1E_FAR = (
    0.38928811751,
    -0.0097610974914,
    -0.00011058893876,
    -3.8825648089e-06,
    -2.5122362379e-07,
    -2.6314688469e-08,
    -3.835380386e-09,
    -5.5897434622e-10,
)
K1_NEAR = (
    0.76265011367,
    -0.35315596078,
    -0.12261118082,
    -0.0069757238596,
    -0.00017302889575,
    -2.4334061416e-06,
    -2.2133876307e-08,
)
K1E_FAR = (
    1.3603130952,
    0.10392373658,
    -0.0028578168596,
    0.00019521551847,
    -1.9361979742e-05,
    2.4064849478e-06,
    -3.5019606031e-07,
    5.7410841255e-08,
    -1.0345762466e-08,
    2.0150497552e-09,
    -4.1903547593e-10,
)
J1_NEAR = (
    0.081044846326,
    -0.14897514507,
    0.16099926236,
    -0.082680491767,
    0.022213639655,
    -0.0036469406008,
    0.00040503377284,
    -3.2555548669e-05,
    1.985877405e-06,
    -9.5219847568e-08,
    3.6871337591e-09,
    -1.1780266227e-10,
)
Y1_NEAR = (
    0.0025380132357,
    -0.016087173048,
    -0.095912045361,
    0.084451972597,
    -0.028328123945,
    0.0052898975442,
    -0.00064145514513,
    5.5059828733e-05,
    -3.5380800187e-06,
    1.7707804556e-07,
    -7.1105500499e-09,
    2.3443379059e-10,
)
P1_FAR = (
    1.0009030409,
    0.00089898983309,
    -3.9872843005e-06,
    6.1776339606e-08,
    -1.8718907491e-09,
)
Q1_FAR = (
    0.37422229656,
    -0.00077021788393,
    7.3108922064e-06,
    -1.6767825107e-07,
    6.5833546621e-09,
    -3.7490909505e-10,
)


def chebyshev_series(coefficients: tuple[float, ...], t: mx.array) -> mx.array:
    """Sum of ``coefficients[k] * T_k(t)`` for ``t`` in [-1, 1], by Clenshaw's recurrence."""
    ahead, behind = mx.zeros_like(t), mx.zeros_like(t)
    for c in reversed(coefficients[1:]):
        ahead, behind = 2 * t * ahead - behind + c, ahead
    return t * ahead - behind + coefficients[0]


def i0e(x: mx.array) -> mx.array:
    """``torch.special.i0e``: ``exp(-|x|) * I0(x)``."""
    size = mx.abs(x.astype(mx.float32))
    near = chebyshev_series(I0E_NEAR, mx.minimum(size, 8) / 4 - 1)
    beyond = mx.maximum(size, 8)
    far = chebyshev_series(I0E_FAR, 16 / beyond - 1) * mx.rsqrt(beyond)
    return mx.where(size <= 8, near, far).astype(float_dtype(x))


def i0(x: mx.array) -> mx.array:
    """``torch.special.i0``: modified Bessel function of the first kind, order 0."""
    wide = x.astype(mx.float32)
    return (scaled_exp(mx.abs(wide), i0e(wide))).astype(float_dtype(x))


def i1e(x: mx.array) -> mx.array:
    """``torch.special.i1e``: ``exp(-|x|) * I1(x)``."""
    wide = x.astype(mx.float32)
    size = mx.abs(wide)
    near = chebyshev_series(I1E_NEAR, mx.minimum(size, 8) / 4 - 1) * size
    beyond = mx.maximum(size, 8)
    far = chebyshev_series(I1E_FAR, 16 / beyond - 1) * mx.rsqrt(beyond)
    value = mx.where(size <= 8, near, far)
    return mx.where(wide < 0, -value, value).astype(float_dtype(x))


def i1(x: mx.array) -> mx.array:
    """``torch.special.i1``: modified Bessel function of the first kind, order 1."""
    wide = x.astype(mx.float32)
    return (scaled_exp(mx.abs(wide), i1e(wide))).astype(float_dtype(x))


def scaled_exp(power: mx.array, factor: mx.array) -> mx.array:
    """``exp(power) * factor`` in two halves: the product may fit where the exponential does not."""
    half = mx.exp(power / 2)
    product = half * factor * half
    return mx.where((power == mx.inf) & (factor == 0), power, product)


def float_dtype(x: mx.array) -> mx.Dtype:
    """The dtype of the answer: that of ``x``, or float32 for integers and bools."""
    return x.dtype if mx.issubdtype(x.dtype, mx.floating) else mx.float32


def modified_bessel_k0(x: mx.array) -> mx.array:
    """``torch.special.modified_bessel_k0``: inf at 0, NaN below."""
    wide = x.astype(mx.float32)
    value = mx.where(wide <= 2, k0_near(wide), k0e_far(wide) * mx.exp(-mx.maximum(wide, 2)))
    return outside_positive(wide, value, mx.inf).astype(float_dtype(x))


def scaled_modified_bessel_k0(x: mx.array) -> mx.array:
    """``torch.special.scaled_modified_bessel_k0``: ``exp(x) * K0(x)``."""
    wide = x.astype(mx.float32)
    value = mx.where(wide <= 2, k0_near(wide) * mx.exp(mx.minimum(wide, 2)), k0e_far(wide))
    return outside_positive(wide, value, mx.inf).astype(float_dtype(x))


def modified_bessel_k1(x: mx.array) -> mx.array:
    """``torch.special.modified_bessel_k1``: inf at 0, NaN below."""
    wide = x.astype(mx.float32)
    value = mx.where(wide <= 2, k1_near(wide), k1e_far(wide) * mx.exp(-mx.maximum(wide, 2)))
    return outside_positive(wide, value, mx.inf).astype(float_dtype(x))


def scaled_modified_bessel_k1(x: mx.array) -> mx.array:
    """``torch.special.scaled_modified_bessel_k1``: ``exp(x) * K1(x)``."""
    wide = x.astype(mx.float32)
    value = mx.where(wide <= 2, k1_near(wide) * mx.exp(mx.minimum(wide, 2)), k1e_far(wide))
    return outside_positive(wide, value, mx.inf).astype(float_dtype(x))


def k0_near(x: mx.array) -> mx.array:
    """K0 for 0 < x <= 2."""
    x = mx.minimum(x, 2)
    return chebyshev_series(K0_NEAR, x * x / 2 - 1) - mx.log(x / 2) * i0(x)


def k1_near(x: mx.array) -> mx.array:
    """K1 for 0 < x <= 2."""
    x = mx.minimum(x, 2)
    return chebyshev_series(K1_NEAR, x * x / 2 - 1) / x + mx.log(x / 2) * i1(x)


def k0e_far(x: mx.array) -> mx.array:
    """``exp(x) * K0(x)`` for x >= 2."""
    x = mx.maximum(x, 2)
    return chebyshev_series(K0E_FAR, 4 / x - 1) * mx.rsqrt(x)


def k1e_far(x: mx.array) -> mx.array:
    """``exp(x) * K1(x)`` for x >= 2."""
    x = mx.maximum(x, 2)
    return chebyshev_series(K1E_FAR, 4 / x - 1) * mx.rsqrt(x)


def outside_positive(x: mx.array, value: mx.array, at_zero: float) -> mx.array:
    """``value`` for positive ``x``, ``at_zero`` at 0, NaN below and for NaN."""
    return mx.where(x > 0, value, mx.where(x == 0, at_zero, mx.nan))


def bessel_j0(x: mx.array) -> mx.array:
    """``torch.special.bessel_j0``: Bessel function of the first kind, order 0."""
    size = mx.abs(x.astype(mx.float32))
    near = chebyshev_series(J0_NEAR, mx.minimum(size * size, 64) / 32 - 1)
    return mx.where(size <= 8, near, oscillation(size, P0_FAR, Q0_FAR, 0, 0)).astype(float_dtype(x))


def bessel_j1(x: mx.array) -> mx.array:
    """``torch.special.bessel_j1``: Bessel function of the first kind, order 1."""
    wide = x.astype(mx.float32)
    size = mx.abs(wide)
    near = chebyshev_series(J1_NEAR, mx.minimum(size * size, 64) / 32 - 1) * size
    value = mx.where(size <= 8, near, oscillation(size, P1_FAR, Q1_FAR, 1, 0))
    return mx.where(wide < 0, -value, value).astype(float_dtype(x))


def bessel_y0(x: mx.array) -> mx.array:
    """``torch.special.bessel_y0``: second kind, order 0; -inf at 0, NaN below."""
    wide = x.astype(mx.float32)
    log_part = (2 / math.pi) * mx.log(wide) * bessel_j0(wide)
    near = chebyshev_series(Y0_NEAR, mx.minimum(wide * wide, 64) / 32 - 1) + log_part
    value = mx.where(wide <= 8, near, oscillation(wide, P0_FAR, Q0_FAR, 0, 1))
    return outside_positive(wide, value, -mx.inf).astype(float_dtype(x))


def bessel_y1(x: mx.array) -> mx.array:
    """``torch.special.bessel_y1``: second kind, order 1; -inf at 0, NaN below."""
    wide = x.astype(mx.float32)
    singular = (2 / math.pi) * (mx.log(wide) * bessel_j1(wide) - 1 / wide)
    near = chebyshev_series(Y1_NEAR, mx.minimum(wide * wide, 64) / 32 - 1) * wide + singular
    value = mx.where(wide <= 8, near, oscillation(wide, P1_FAR, Q1_FAR, 1, 1))
    return outside_positive(wide, value, -mx.inf).astype(float_dtype(x))


def oscillation(
    x: mx.array, p: tuple[float, ...], q: tuple[float, ...], order: int, kind: int
) -> mx.array:
    """Hankel's form for x >= 8: first (``kind`` 0) or second kind (1)."""
    x = mx.maximum(x, 8)
    t = 128 / (x * x) - 1
    modulus, phase = chebyshev_series(p, t), chebyshev_series(q, t) / x
    # cos and sin of x - (2 * order + 1) * pi / 4, without the rounding of that difference.
    sine, cosine = mx.sin(x), mx.cos(x)
    c, s = (cosine + sine, sine - cosine) if order == 0 else (sine - cosine, -(sine + cosine))
    wave = modulus * c - phase * s if kind == 0 else modulus * s + phase * c
    return wave * mx.rsqrt(math.pi * x)


def spherical_bessel_j0(x: mx.array) -> mx.array:
    """``torch.special.spherical_bessel_j0``: ``sin(x) / x``, 1 at 0, 0 at infinity."""
    wide = x.astype(mx.float32)
    value = mx.where(wide == 0, 1.0, mx.sin(wide) / mx.where(wide == 0, 1.0, wide))
    return mx.where(mx.isinf(wide), 0.0, value).astype(float_dtype(x))
