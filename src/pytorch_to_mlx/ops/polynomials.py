"""Orthogonal polynomials of a fixed degree, by their three-term recurrences."""

from __future__ import annotations

import mlx.core as mx


def three_term(
    x: mx.array, first: mx.array, degree: int, factors: list[tuple[float, float, float]]
) -> mx.array:
    """``p[k+1] = (a x + b) p[k] - c p[k-1]`` from ``p[0] = 1`` and ``p[1] = first``."""
    if degree < 0:
        return mx.zeros_like(first)
    below, above = mx.ones_like(first), first
    if degree == 0:
        return below
    for a, b, c in factors[: degree - 1]:
        below, above = above, (a * x + b) * above - c * below
    return above


def polynomial_argument(x: mx.array) -> mx.array:
    """``x`` as a float of at least 32 bits."""
    return x if x.dtype == mx.float64 else x.astype(mx.float32)


def chebyshev_polynomial_t(x: mx.array, degree: int) -> mx.array:
    """``torch.special.chebyshev_polynomial_t`` (first kind)."""
    x = polynomial_argument(x)
    return three_term(x, x, degree, [(2, 0, 1)] * degree)


def chebyshev_polynomial_u(x: mx.array, degree: int) -> mx.array:
    """``torch.special.chebyshev_polynomial_u`` (second kind)."""
    x = polynomial_argument(x)
    return three_term(x, 2 * x, degree, [(2, 0, 1)] * degree)


def chebyshev_polynomial_v(x: mx.array, degree: int) -> mx.array:
    """``torch.special.chebyshev_polynomial_v`` (third kind)."""
    x = polynomial_argument(x)
    return three_term(x, 2 * x - 1, degree, [(2, 0, 1)] * degree)


def chebyshev_polynomial_w(x: mx.array, degree: int) -> mx.array:
    """``torch.special.chebyshev_polynomial_w`` (fourth kind)."""
    x = polynomial_argument(x)
    return three_term(x, 2 * x + 1, degree, [(2, 0, 1)] * degree)


def hermite_polynomial_h(x: mx.array, degree: int) -> mx.array:
    """``torch.special.hermite_polynomial_h`` (physicists')."""
    x = polynomial_argument(x)
    return three_term(x, 2 * x, degree, [(2, 0, 2 * k) for k in range(1, degree)])


def hermite_polynomial_he(x: mx.array, degree: int) -> mx.array:
    """``torch.special.hermite_polynomial_he`` (probabilists')."""
    x = polynomial_argument(x)
    return three_term(x, x, degree, [(1, 0, k) for k in range(1, degree)])


def laguerre_polynomial_l(x: mx.array, degree: int) -> mx.array:
    """``torch.special.laguerre_polynomial_l``."""
    x = polynomial_argument(x)
    factors = [(-1 / (k + 1), (2 * k + 1) / (k + 1), k / (k + 1)) for k in range(1, degree)]
    return three_term(x, 1 - x, degree, factors)


def legendre_polynomial_p(x: mx.array, degree: int) -> mx.array:
    """``torch.special.legendre_polynomial_p``."""
    x = polynomial_argument(x)
    factors = [((2 * k + 1) / (k + 1), 0.0, k / (k + 1)) for k in range(1, degree)]
    return three_term(x, x, degree, factors)


def recurrence_factors(kind: str, k: int) -> tuple[float, float, float]:
    """``a, b, c`` of ``p[k+1] = (a x + b) p[k] - c p[k-1]``."""
    if kind == "laguerre_l":
        return -1 / (k + 1), (2 * k + 1) / (k + 1), k / (k + 1)
    if kind == "legendre_p":
        return (2 * k + 1) / (k + 1), 0.0, k / (k + 1)
    if kind == "hermite_he":
        return 1.0, 0.0, float(k)
    return 2.0, 0.0, 2.0 * k if kind == "hermite_h" else 1.0


def orthogonal_polynomial(
    x: mx.array, degrees: mx.array, kind: str, shifted: bool = False
) -> mx.array:
    """A polynomial of ``torch.special`` at ``x``, its degree given element by element.

    ``kind`` is "chebyshev_t" (u, v, w), "hermite_h", "hermite_he", "laguerre_l" or "legendre_p";
    ``shifted`` takes ``2 x - 1`` for ``x``. Degrees are cut to integers, negative ones give 0; the
    largest one is evaluated.
    """
    x, degrees = mx.broadcast_arrays(polynomial_argument(x), degrees.astype(mx.int64))
    x = 2 * x - 1 if shifted else x
    slope, start = {
        "chebyshev_u": (2, 0),
        "chebyshev_v": (2, -1),
        "chebyshev_w": (2, 1),
        "hermite_h": (2, 0),
        "laguerre_l": (-1, 1),
    }.get(kind, (1, 0))
    before, now = mx.ones_like(x), slope * x + start
    out = mx.where(degrees == 0, before, mx.where(degrees == 1, now, mx.zeros_like(x)))
    top = int(mx.max(degrees)) if degrees.size else 0
    for k in range(1, top):
        a, b, c = recurrence_factors(kind, k)
        before, now = now, (a * x + b) * now - c * before
        out = mx.where(degrees == k + 1, now, out)
    return out
