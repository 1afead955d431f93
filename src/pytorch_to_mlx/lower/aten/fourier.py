"""Fourier transforms."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call, rules_fourier  # noqa: F401 - registers its rules
from pytorch_to_mlx.graph.dims import product
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.aten import lowers

NORMS = ("backward", "ortho", "forward")  # of a forward transform, by ATen's number


def _float(x: Value) -> Value:
    """Integers as float32: a transform of integers is one of floats."""
    dtype = DType(str(x.dtype))
    return x if dtype.is_floating or dtype.is_complex else x.astype(DType("float32"))


def _norm(norm: str | None) -> dict[str, Any]:
    return {} if norm in (None, "backward") else {"norm": norm}


def _one(fn: Any, x: Value, n: Any, dim: int, norm: str | None) -> Value:
    given: dict[str, Any] = {} if n is None else {"n": n}
    given |= {} if dim == -1 else {"axis": dim}
    return call(fn, _float(x), **given, **_norm(norm))


def _many(fn: Any, x: Value, s: Any, dim: Any, norm: str | None) -> Value:
    """torch: sizes without axes mean the last axes; -1 keeps a size."""
    given: dict[str, Any] = {}
    if s is not None:
        axes = tuple(range(x.ndim - len(s), x.ndim)) if dim is None else tuple(dim)
        sizes = (x.dims[a] if n == -1 else n for n, a in zip(s, axes, strict=True))
        given = {"s": tuple(sizes), "axes": axes}
    elif dim is not None:
        given = {"axes": tuple(dim)}
    return call(fn, _float(x), **given, **_norm(norm))


@lowers("aten.fft_fft.default")
def fft_fft(x: Value, n: Any = None, dim: int = -1, norm: str | None = None) -> Value:
    """fft_fft(Tensor self, SymInt? n=None, int dim=-1, str? norm=None) -> Tensor"""
    return _one(mx.fft.fft, x, n, dim, norm)


@lowers("aten.fft_ifft.default")
def fft_ifft(x: Value, n: Any = None, dim: int = -1, norm: str | None = None) -> Value:
    """fft_ifft(Tensor self, SymInt? n=None, int dim=-1, str? norm=None) -> Tensor"""
    return _one(mx.fft.ifft, x, n, dim, norm)


@lowers("aten.fft_rfft.default")
def fft_rfft(x: Value, n: Any = None, dim: int = -1, norm: str | None = None) -> Value:
    """fft_rfft(Tensor self, SymInt? n=None, int dim=-1, str? norm=None) -> Tensor"""
    return _one("ops.rfft", x, n, dim, norm)


@lowers("aten.fft_irfft.default")
def fft_irfft(x: Value, n: Any = None, dim: int = -1, norm: str | None = None) -> Value:
    """fft_irfft(Tensor self, SymInt? n=None, int dim=-1, str? norm=None) -> Tensor"""
    return _one(mx.fft.irfft, x, n, dim, norm)


@lowers("aten.fft_hfft.default")
def fft_hfft(x: Value, n: Any = None, dim: int = -1, norm: str | None = None) -> Value:
    """fft_hfft(Tensor self, SymInt? n=None, int dim=-1, str? norm=None) -> Tensor"""
    return _one("ops.hfft", x, n, dim, norm)


@lowers("aten.fft_ihfft.default")
def fft_ihfft(x: Value, n: Any = None, dim: int = -1, norm: str | None = None) -> Value:
    """fft_ihfft(Tensor self, SymInt? n=None, int dim=-1, str? norm=None) -> Tensor"""
    return _one("ops.ihfft", x, n, dim, norm)


@lowers("aten.fft_fftn.default")
def fft_fftn(x: Value, s: Any = None, dim: Any = None, norm: str | None = None) -> Value:
    """fft_fftn(Tensor self, SymInt[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor"""
    return _many(mx.fft.fftn, x, s, dim, norm)


@lowers("aten.fft_ifftn.default")
def fft_ifftn(x: Value, s: Any = None, dim: Any = None, norm: str | None = None) -> Value:
    """fft_ifftn(Tensor self, SymInt[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor"""
    return _many(mx.fft.ifftn, x, s, dim, norm)


@lowers("aten.fft_rfftn.default")
def fft_rfftn(x: Value, s: Any = None, dim: Any = None, norm: str | None = None) -> Value:
    """fft_rfftn(Tensor self, SymInt[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor"""
    return _many(mx.fft.rfftn, x, s, dim, norm)


@lowers("aten.fft_irfftn.default")
def fft_irfftn(x: Value, s: Any = None, dim: Any = None, norm: str | None = None) -> Value:
    """fft_irfftn(Tensor self, SymInt[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor"""
    return _many(mx.fft.irfftn, x, s, dim, norm)


@lowers("aten.fft_fft2.default")
def fft_fft2(x: Value, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Value:
    """fft_fft2(Tensor self, SymInt[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor"""
    return _many(mx.fft.fftn, x, s, dim, norm)


@lowers("aten.fft_ifft2.default")
def fft_ifft2(x: Value, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Value:
    """fft_ifft2(Tensor self, SymInt[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor"""
    return _many(mx.fft.ifftn, x, s, dim, norm)


@lowers("aten.fft_rfft2.default")
def fft_rfft2(x: Value, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Value:
    """fft_rfft2(Tensor self, SymInt[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor"""
    return _many(mx.fft.rfftn, x, s, dim, norm)


@lowers("aten.fft_irfft2.default")
def fft_irfft2(x: Value, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Value:
    """fft_irfft2(Tensor self, SymInt[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor"""
    return _many(mx.fft.irfftn, x, s, dim, norm)


OPPOSITE = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


def _hermitian(x: Value, s: Any, dim: Any, norm: str | None) -> Value:
    """A Hermitian signal's transform: the inverse real transform of its conjugate, scaled back."""
    return _many(mx.fft.irfftn, call(mx.conjugate, x), s, dim, OPPOSITE[norm])


@lowers("aten.fft_hfftn.default")
def fft_hfftn(x: Value, s: Any = None, dim: Any = None, norm: str | None = None) -> Value:
    """fft_hfftn(Tensor self, SymInt[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor"""
    return _hermitian(x, s, dim, norm)


@lowers("aten.fft_hfft2.default")
def fft_hfft2(x: Value, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Value:
    """fft_hfft2(Tensor self, SymInt[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor"""
    return _hermitian(x, s, dim, norm)


@lowers("aten.fft_ihfftn.default")
def fft_ihfftn(x: Value, s: Any = None, dim: Any = None, norm: str | None = None) -> Value:
    """fft_ihfftn(Tensor self, SymInt[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor"""
    return call(mx.conjugate, _many(mx.fft.rfftn, x, s, dim, OPPOSITE[norm]))


@lowers("aten.fft_ihfft2.default")
def fft_ihfft2(x: Value, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Value:
    """fft_ihfft2(Tensor self, SymInt[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor"""
    return call(mx.conjugate, _many(mx.fft.rfftn, x, s, dim, OPPOSITE[norm]))


@lowers("aten._fft_r2c.default")
def _fft_r2c(x: Value, dim: Any, normalization: int, onesided: bool) -> Value:
    """_fft_r2c(Tensor self, int[] dim, int normalization, bool onesided) -> Tensor"""
    return _many(mx.fft.rfftn if onesided else mx.fft.fftn, x, None, dim, NORMS[normalization])


@lowers("aten._fft_c2c.default")
def _fft_c2c(x: Value, dim: Any, normalization: int, forward: bool) -> Value:
    """_fft_c2c(Tensor self, SymInt[] dim, int normalization, bool forward) -> Tensor"""
    if forward:
        return _many(mx.fft.fftn, x, None, dim, NORMS[normalization])
    return _many(mx.fft.ifftn, x, None, dim, NORMS[2 - normalization])


@lowers("aten._fft_c2r.default")
def _fft_c2r(x: Value, dim: Any, normalization: int, last_dim_size: Any) -> Value:
    """_fft_c2r(Tensor self, int[] dim, int normalization, SymInt last_dim_size) -> Tensor"""
    sizes = (*(x.dims[a] for a in dim[:-1]), last_dim_size)
    return _many(mx.fft.irfftn, x, sizes, dim, NORMS[2 - normalization])


def _frequencies(places: Value, n: Any, d: float, dtype: str | None) -> Value:
    values = places / (product((n,)) * d)
    return values if dtype is None else values.astype(dtype)


@lowers("aten.fft_fftfreq.default")
def fft_fftfreq(n: Any, d: float = 1.0, *, dtype: str | None = None) -> Value:
    """fft_fftfreq(int n, float d=1., *, ScalarType? dtype=None, Layout? layout=None, Device?
    device=None, bool? pin_memory=None) -> Tensor
    """
    places = call(mx.arange, n)
    negative = call(mx.greater_equal, places * 2, n)
    return _frequencies(call(mx.where, negative, places - n, places), n, d, dtype)


@lowers("aten.fft_rfftfreq.default")
def fft_rfftfreq(n: Any, d: float = 1.0, *, dtype: str | None = None) -> Value:
    """fft_rfftfreq(int n, float d=1., *, ScalarType? dtype=None, Layout? layout=None, Device?
    device=None, bool? pin_memory=None) -> Tensor
    """
    return _frequencies(call(mx.arange, n // 2 + 1), n, d, dtype)


@lowers("aten.fft_fftshift.default")
def fft_fftshift(x: Value, dim: Any = None) -> Value:
    """fft_fftshift(Tensor self, int[1]? dim=None) -> Tensor"""
    return call(mx.fft.fftshift, x, *(() if dim is None else (tuple(dim),)))


@lowers("aten.fft_ifftshift.default")
def fft_ifftshift(x: Value, dim: Any = None) -> Value:
    """fft_ifftshift(Tensor self, int[1]? dim=None) -> Tensor"""
    return call(mx.fft.ifftshift, x, *(() if dim is None else (tuple(dim),)))
