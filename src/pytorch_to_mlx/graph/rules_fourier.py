"""Inference rules of Fourier transforms."""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph.dims import Dim, FloorDiv, as_dim, is_static
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.infer import rule
from pytorch_to_mlx.graph.ir import Value

COMPLEX, FLOAT = DType("complex64"), DType("float32")


def _half(n: Dim) -> Dim:
    """Bins of a one-sided spectrum."""
    return int(n) // 2 + 1 if is_static(n) else as_dim(FloorDiv(n, 2) + 1)


def _resized(x: Value, s: Any, axes: Any) -> tuple[list[Dim], list[int]]:
    """Sizes after cropping or padding to ``s``, and the transformed axes."""
    if axes is None:
        axes = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    places = [a % x.ndim for a in axes]
    dims = list(x.dims)
    if s is not None:
        for place, size in zip(places, s, strict=True):
            dims[place] = size
    return dims, places


def _sizes(n: Any) -> Any:
    return None if n is None else (n,)


@rule("mx.fft.fftn", "mx.fft.ifftn")
def _fftn(x: Value, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    return tuple(_resized(x, s, axes)[0]), COMPLEX


@rule("mx.fft.fft", "mx.fft.ifft")
def _fft(x: Value, n: Any = None, axis: int = -1, norm: str = "backward") -> Any:
    return _fftn(x, _sizes(n), (axis,))


@rule("mx.fft.rfftn")
def _rfftn(x: Value, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    dims, places = _resized(x, s, axes)
    dims[places[-1]] = _half(dims[places[-1]])
    return tuple(dims), COMPLEX


@rule("mx.fft.rfft", "ops.rfft", "ops.ihfft")
def _rfft(x: Value, n: Any = None, axis: int = -1, norm: str = "backward") -> Any:
    return _rfftn(x, _sizes(n), (axis,))


@rule("mx.fft.irfftn")
def _irfftn(x: Value, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    dims, places = _resized(x, s, axes)
    if s is None:
        dims[places[-1]] = as_dim(2 * (dims[places[-1]] - 1))
    return tuple(dims), FLOAT


@rule("mx.fft.irfft", "ops.hfft")
def _irfft(x: Value, n: Any = None, axis: int = -1, norm: str = "backward") -> Any:
    return _irfftn(x, _sizes(n), (axis,))


@rule("mx.fft.fftshift", "mx.fft.ifftshift")
def _fftshift(x: Value, axes: Any = None) -> Any:
    return x.dims, x.dtype
