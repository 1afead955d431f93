"""Special functions of the gamma, error and zeta kinds, in float32.

Float16 and bfloat16 compute in float32 and round once. Bessel functions are in ``bessel``,
orthogonal polynomials in ``polynomials``. Sources: Abramowitz and Stegun (A&S), chapters 6, 7, 23
and 26; ``ERFCX`` was computed with mpmath at 30 digits.
"""

from __future__ import annotations

import math

import mlx.core as mx

from pytorch_to_mlx.ops.bessel import chebyshev_series, float_dtype

# (1 + 2 x) * exp(x**2) * erfc(x) in Chebyshev polynomials of (x - 3.75) / (x + 3.75).
ERFCX = (
    1.1775789346,
    -0.0045900545806,
    -0.084249133367,
    0.059209939998,
    -0.026658668435,
    0.0090749976707,
    -0.0024131635404,
    0.00049077583653,
    -6.9169733025e-05,
    4.1390279861e-06,
    7.7403830662e-07,
    -2.1886401049e-07,
    1.0764999466e-08,
    4.5219598112e-09,
    -7.7544002088e-10,
)

# (-1)**k * (zeta(k) - 1) / k for k = 2, 3, ...: lgamma(2 + z) = (1 - gamma) z + sum of these z**k.
LGAMMA_AT_2 = (
    0.322467033424,
    -0.0673523010532,
    0.0205808084278,
    -0.00738555102867,
    0.00289051033074,
    -0.0011927539117,
    0.000509669524743,
    -0.000223154758454,
    9.94575127818e-05,
    -4.49262367381e-05,
    2.05072127757e-05,
    -9.43948827527e-06,
    4.37486678991e-06,
    -2.0392157538e-06,
    9.55141213041e-07,
)
# B(2k) / (2k)!, of the Bernoulli numbers, for k = 1, 2, ...
BERNOULLI_OVER_FACTORIAL = (
    0.0833333333333,
    -0.00138888888889,
    3.30687830688e-05,
    -8.2671957672e-07,
    2.08767569879e-08,
    -5.28419013869e-10,
)


def lgamma(x: mx.array) -> mx.array:
    """``torch.lgamma``: log of the absolute gamma function; inf at 0, -1, -2, ..."""
    wide = x.astype(mx.float32)
    size = mx.where(wide < 0, 1 - wide, wide)
    positive = lgamma_positive(size)
    # Reflection (A&S 6.1.17); the distance to the nearest integer is exact, at the poles too.
    fraction = mx.abs(wide - mx.round(wide))
    mirrored = math.log(math.pi) - mx.log(mx.sin(math.pi * fraction)) - positive
    mirrored = mx.where((fraction == 0) | mx.isinf(wide), mx.inf, mirrored)
    return mx.where(wide < 0, mirrored, positive).astype(float_dtype(x))


def lgamma_positive(x: mx.array) -> mx.array:
    """lgamma for ``x >= 0``: series about 2 below 8.5 (A&S 6.1.33), Stirling's above (6.1.41)."""
    low = mx.minimum(x, 8.5)
    steps = mx.clip(mx.round(low) - 2, -2, 6)
    z = low - (2 + steps)  # exact
    series = mx.zeros_like(z)
    for c in reversed(LGAMMA_AT_2):
        series = series * z + c
    series = z * (0.42278433509846714 + z * series)
    up, down = mx.ones_like(z), mx.ones_like(z)
    for j in range(1, 7):  # gamma(x) = (x - 1) ... (x - n) gamma(x - n)
        up = mx.where(steps >= j, up * (low - j), up)
    for j in range(2):
        down = mx.where(steps <= -1 - j, down * (low + j), down)
    near = series + mx.log(up) - mx.log(down)
    high = mx.maximum(x, 8.5)
    far = (high - 0.5) * (mx.log(high) - 1) + (0.5 * math.log(2 * math.pi) - 0.5)
    return mx.where(x <= 8.5, near, far + stirling_error(high))


def stirling_error(x: mx.array) -> mx.array:
    """What Stirling's formula for lgamma misses, for ``x >= 8``."""
    inverse = 1 / x
    square = inverse * inverse
    return inverse * (1 / 12 - square * (1 / 360 - square / 1260))


def multigammaln(x: mx.array, p: int) -> mx.array:
    """``torch.special.multigammaln``: log of the ``p``-variate gamma function."""
    total = mx.full(x.shape, p * (p - 1) / 4 * math.log(math.pi), dtype=mx.float32)
    for i in range(p):
        total = total + lgamma(x.astype(mx.float32) - i / 2)
    return total.astype(float_dtype(x))


def digamma(x: mx.array) -> mx.array:
    """``torch.digamma``: NaN at -1, -2, ..., minus infinity with the sign of ``x`` at 0."""
    wide = x.astype(mx.float32)
    size = mx.where(wide < 0.5, 1 - wide, wide)
    shifted, total = size, mx.zeros_like(size)
    for _ in range(8):  # psi(x) = psi(x + 1) - 1 / x
        small = shifted < 8
        total = mx.where(small, total - 1 / shifted, total)
        shifted = mx.where(small, shifted + 1, shifted)
    square = 1 / (shifted * shifted)
    tail = square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))
    value = total + mx.log(shifted) - 0.5 / shifted - tail
    # Reflection (A&S 6.3.7); the distance to the nearest integer is exact.
    fraction = wide - mx.round(wide)
    mirrored = value - math.pi / mx.tan(math.pi * fraction)
    mirrored = mx.where((fraction == 0) | mx.isinf(wide), mx.nan, mirrored)
    value = mx.where(wide < 0.5, mirrored, value)
    return mx.where(wide == 0, -1 / wide, value).astype(float_dtype(x))


def zeta(x: mx.array, q: mx.array) -> mx.array:
    """``torch.special.zeta``: Hurwitz's zeta function, ``q > -15``, by Euler and Maclaurin.

    A&S 23.2.7 and 3.6.28. NaN for ``x < 1``, inf for ``x == 1`` and at the poles of ``q``.
    """
    dtype = float_dtype(x) if mx.issubdtype(x.dtype, mx.floating) else float_dtype(q)
    s, q = mx.broadcast_arrays(x.astype(mx.float32), q.astype(mx.float32))
    total, place = mx.zeros_like(s), q
    for _ in range(24):
        small = place < 9
        term = mx.power(mx.abs(place), -s)
        odd = (place < 0) & (mx.remainder(s, 2) == 1)
        total = mx.where(small, total + mx.where(odd, -term, term), total)
        place = mx.where(small, place + 1, place)
    power = mx.power(place, -s)
    total = total + power * (place / (s - 1) + 0.5)
    factor = s * power / place
    for k, c in enumerate(BERNOULLI_OVER_FACTORIAL):
        total = total + factor * c
        factor = factor * (s + 2 * k + 1) * (s + 2 * k + 2) / (place * place)
    pole = (q <= 0) & (q == mx.floor(q))
    total = mx.where((q < 0) & (s != mx.floor(s)), mx.nan, total)
    total = mx.where(pole | (s == 1), mx.inf, total)
    return mx.where((s < 1) | (q != q), mx.nan, total).astype(dtype)


def polygamma(n: int, x: mx.array) -> mx.array:
    """``torch.polygamma``: the ``n``-th derivative of digamma (``x > -15`` for n > 1)."""
    if n == 0:
        return digamma(x)
    wide = x.astype(mx.float32)
    scale = (-1.0) ** (n + 1) * math.factorial(n)
    order = mx.array(float(n + 1))
    if n > 1:
        return (scale * zeta(order, wide)).astype(float_dtype(x))
    # Reflection (A&S 6.4.7) for the trigamma function.
    value = zeta(order, mx.where(wide < 0.5, 1 - wide, wide))
    fraction = wide - mx.round(wide)
    mirrored = mx.square(math.pi / mx.sin(math.pi * fraction)) - value
    return mx.where(wide < 0.5, mirrored, value).astype(float_dtype(x))


def erfcx(x: mx.array) -> mx.array:
    """``torch.special.erfcx``: ``exp(x**2) * erfc(x)``."""
    wide = x.astype(mx.float32)
    size = mx.abs(wide)
    t = mx.where(mx.isinf(size), 1.0, (size - 3.75) / (size + 3.75))
    scaled = chebyshev_series(ERFCX, t) / (1 + 2 * size)
    value = mx.where(wide < 0, 2 * exp_square(wide, 1) - scaled, scaled)
    return value.astype(float_dtype(x))


def exp_square(x: mx.array, sign: int) -> mx.array:
    """``exp(sign * x**2)``, the square split so that its rounding does not grow with it."""
    coarse = mx.round(x * 64) / 64
    fine = (x - coarse) * (x + coarse)
    value = mx.exp(sign * coarse * coarse) * mx.exp(sign * fine)
    return mx.where(mx.abs(x) > 1e4, mx.inf if sign > 0 else 0.0, value)


def erfc(x: mx.array) -> mx.array:
    """``torch.erfc``: ``1 - erf(x)``, exact to the last digits far out too."""
    wide = x.astype(mx.float32)
    tail = erfcx(mx.abs(wide)) * exp_square(wide, -1)
    value = mx.where(wide > 0.5, tail, 1 - mx.erf(wide))
    return value.astype(float_dtype(x))


def ndtr(x: mx.array) -> mx.array:
    """``torch.special.ndtr``: the normal distribution function."""
    return (0.5 * erfc(-x.astype(mx.float32) / math.sqrt(2))).astype(float_dtype(x))


def log_ndtr(x: mx.array) -> mx.array:
    """``torch.special.log_ndtr``: log of the normal distribution function."""
    wide = x.astype(mx.float32)
    t = wide / math.sqrt(2)
    below = mx.log(erfcx(-mx.minimum(t, 0)) / 2) - t * t
    value = mx.where(wide < -1, below, mx.log1p(-erfc(t) / 2))
    return mx.where(wide == -mx.inf, -mx.inf, value).astype(float_dtype(x))


def ndtri(p: mx.array) -> mx.array:
    """``torch.special.ndtri``: inverse of ``ndtr``; A&S 26.2.23, mended by Newton's method."""
    wide = p.astype(mx.float32)
    tail = mx.minimum(wide, 1 - wide)
    safe = mx.maximum(tail, 1e-38)
    t = mx.sqrt(-2 * mx.log(safe))
    top = 2.515517 + t * (0.802853 + t * 0.010328)
    x = -(t - top / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))))
    for _ in range(2):  # on the logarithm, where the tails are smooth
        slope = math.sqrt(2 / math.pi) / erfcx(-x / math.sqrt(2))
        x = x - (log_ndtr(x) - mx.log(safe)) / slope
    # About the middle the tail has no digits to spare: use the inverse error function there.
    x = mx.where(tail > 0.1, math.sqrt(2) * mx.erfinv(2 * tail - 1), x)
    x = mx.where(tail == 0, -mx.inf, mx.where(tail < 0, mx.nan, x))
    return mx.where(wide > 0.5, -x, x).astype(float_dtype(p))


def entr(x: mx.array) -> mx.array:
    """``torch.special.entr``: ``-x log x``, 0 at 0, -inf below."""
    wide = x.astype(mx.float32)
    value = mx.where(wide == 0, 0.0, -wide * mx.log(wide))
    return mx.where(wide < 0, -mx.inf, value).astype(float_dtype(x))


def gamma_density(a: mx.array, x: mx.array) -> mx.array:
    """``x**a * exp(-x) / gamma(a + 1)`` without the cancellation of its large parts."""
    u = (x - a) / a
    r = u / (2 + u)
    r2 = r * r
    odd = 1 / 3 + r2 * (1 / 5 + r2 * (1 / 7 + r2 * (1 / 9 + r2 / 11)))
    # log(1 + u) - u, by the series of atanh where both are close.
    gap = mx.where(mx.abs(u) < 0.25, 2 * r * r2 * odd - u * r, mx.log1p(u) - u)
    large = mx.exp(a * gap - stirling_error(mx.maximum(a, 8))) / mx.sqrt(2 * math.pi * a)
    small = mx.exp(a * mx.log(x) - x - lgamma(a + 1))
    return mx.where(a > 8, large, small)


def gammainc_pair(a: mx.array, x: mx.array) -> tuple[mx.array, mx.array]:
    """Lower and upper regularised incomplete gamma functions, for ``a`` up to about 400.

    The series (A&S 6.5.29) below ``a + 1``, the continued fraction (6.5.31, by Lentz) above.
    """
    a, x = mx.broadcast_arrays(a.astype(mx.float32), x.astype(mx.float32))
    density = gamma_density(a, x)
    left = x <= a + 1
    z = mx.where(left, x, 0.0)
    term, total = mx.ones_like(z), mx.ones_like(z)
    for n in range(1, 128):
        term = term * z / (a + n)
        total = total + term
    lower = density * total
    y = mx.where(left, a + 2, x)
    b = y + 1 - a
    c, d = mx.full(b.shape, 1e30), 1 / b
    h = d
    for n in range(1, 128):
        step = n * (a - n)
        b = b + 2
        d = 1 / (step * d + b)
        c = b + step / c
        h = h * c * d
    upper = density * a * h
    p, q = mx.where(left, lower, 1 - upper), mx.where(left, 1 - lower, upper)
    bad = (a < 0) | (x < 0) | (a != a) | (x != x) | ((a == 0) & (x == 0))
    one = (x == mx.inf) | ((a == 0) & (x > 0))
    p = mx.where(bad, mx.nan, mx.where(one, 1.0, mx.where(x == 0, 0.0, p)))
    q = mx.where(bad, mx.nan, mx.where(one, 0.0, mx.where(x == 0, 1.0, q)))
    return p, q


def gammainc(a: mx.array, x: mx.array) -> mx.array:
    """``torch.special.gammainc``: lower regularised incomplete gamma function (a <= about 400)."""
    return gammainc_pair(a, x)[0].astype(float_dtype(x))


def gammaincc(a: mx.array, x: mx.array) -> mx.array:
    """``torch.special.gammaincc``: upper regularised incomplete gamma function (a <= about 400)."""
    return gammainc_pair(a, x)[1].astype(float_dtype(x))
