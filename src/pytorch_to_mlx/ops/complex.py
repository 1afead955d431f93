"""Complex numbers: construction, parts, polar form. MLX has complex64 only."""

from __future__ import annotations

import math

import mlx.core as mx


def complex_of(real: mx.array, imaginary: mx.array) -> mx.array:
    """``torch.complex``: complex64 from its parts, whatever is infinite or NaN in them."""
    real, imaginary = mx.broadcast_arrays(real.astype(mx.float32), imaginary.astype(mx.float32))
    return view_as_complex(mx.stack([real, imaginary], axis=-1))


def view_as_complex(x: mx.array) -> mx.array:
    """``torch.view_as_complex``: float [..., 2] to complex64 [...]."""
    return mx.contiguous(x.astype(mx.float32)).view(mx.complex64)[..., 0]


def view_as_real(x: mx.array) -> mx.array:
    """``torch.view_as_real``: complex64 [...] to float32 [..., 2]."""
    return mx.stack([x.real, x.imag], axis=-1)


def polar(size: mx.array, angle: mx.array) -> mx.array:
    """``torch.polar``: ``size * exp(i * angle)``."""
    return complex_of(size * mx.cos(angle), size * mx.sin(angle))


def angle_of(x: mx.array) -> mx.array:
    """``torch.angle``: argument of complex numbers; 0 or pi for real ones, NaN for NaN."""
    if x.dtype == mx.complex64:
        return mx.arctan2(x.imag, x.real)
    x = x if mx.issubdtype(x.dtype, mx.floating) else x.astype(mx.float32)
    flat = mx.where(x < 0, mx.array(math.pi, dtype=x.dtype), mx.zeros_like(x))
    return mx.where(mx.isnan(x), x, flat)


def conj(x: mx.array) -> mx.array:
    """``torch.conj``; real numbers stay."""
    return mx.conj(x) if x.dtype == mx.complex64 else x


def real_part(x: mx.array) -> mx.array:
    """``torch.real``; real numbers stay."""
    return x.real if x.dtype == mx.complex64 else x


def imaginary_part(x: mx.array) -> mx.array:
    """``torch.imag`` of complex64: float32."""
    return x.imag


def complex_reciprocal(x: mx.array) -> mx.array:
    """``1 / x`` of complex numbers, scaled so that no square over- or underflows."""
    scale = mx.maximum(mx.abs(x.real), mx.abs(x.imag))
    real, imaginary = x.real / scale, x.imag / scale
    size = (real * real + imaginary * imaginary) * scale
    return complex_of(real / size, -imaginary / size)


def complex_expm1(x: mx.array) -> mx.array:
    """``exp(x) - 1`` of complex numbers, exact near zero."""
    size, angle = mx.expm1(x.real), x.imag
    real = size * mx.cos(angle) - 2 * mx.square(mx.sin(angle / 2))
    return complex_of(real, (size + 1) * mx.sin(angle))


def complex_logsumexp(
    x: mx.array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> mx.array:
    """``torch.logsumexp`` of complex numbers."""
    most = mx.max(x.real, axis=axis, keepdims=True)
    most = mx.where(mx.isfinite(most), most, 0)
    total = mx.log(mx.sum(mx.exp(x - most), axis=axis, keepdims=True)) + most
    return total if keepdims else mx.squeeze(total, axis)
