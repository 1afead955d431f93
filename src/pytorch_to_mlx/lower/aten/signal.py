"""Short-time Fourier transforms and windows."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.lower.aten import Unsupported, lowers


def _given(**options: Any) -> dict[str, Any]:
    """The options that are set."""
    return {k: v for k, v in options.items() if v is not None}


def _real_imag(x: Value) -> Value:
    """Complex numbers as pairs along a new last axis."""
    return call(mx.stack, (call(mx.real, x), call(mx.imag, x)), axis=-1)


def _stft(
    x: Value,
    n_fft: int,
    hop_length: int | None,
    win_length: int | None,
    window: Value | None,
    center: bool,
    pad_mode: str,
    normalized: bool,
    onesided: bool | None,
    return_complex: bool | None,
    align_to_window: bool | None,
) -> Value:
    if align_to_window:
        raise Unsupported("stft with align_to_window=True; pad the signal and the window instead")
    given = _given(hop_length=hop_length, win_length=win_length, window=window, onesided=onesided)
    given |= {} if center else {"center": False}
    given |= {"pad_mode": pad_mode} if center and pad_mode != "reflect" else {}
    given |= {"normalized": True} if normalized else {}
    spectrum = call("ops.stft", x, n_fft, **given)
    if return_complex is None:
        return_complex = x.dtype == "complex64"
    return spectrum if return_complex else _real_imag(spectrum)


@lowers("aten.stft.default")
def stft(
    x: Value,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Value | None = None,
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Value:
    """stft(Tensor self, int n_fft, int? hop_length=None, int? win_length=None, Tensor?
    window=None, bool normalized=False, bool? onesided=None, bool? return_complex=None,
    bool? align_to_window=None) -> Tensor
    """
    return _stft(
        x,
        n_fft,
        hop_length,
        win_length,
        window,
        False,
        "reflect",
        normalized,
        onesided,
        return_complex,
        align_to_window,
    )


@lowers("aten.stft.center")
def stft_center(
    x: Value,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Value | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Value:
    """stft.center(Tensor self, int n_fft, int? hop_length=None, int? win_length=None, Tensor?
    window=None, bool center=True, str pad_mode="reflect", bool normalized=False, bool?
    onesided=None, bool? return_complex=None, bool? align_to_window=None) -> Tensor
    """
    return _stft(
        x,
        n_fft,
        hop_length,
        win_length,
        window,
        center,
        pad_mode,
        normalized,
        onesided,
        return_complex,
        align_to_window,
    )


@lowers("aten.istft.default")
def istft(
    x: Value,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Value | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Value:
    """istft(Tensor self, int n_fft, int? hop_length=None, int? win_length=None, Tensor?
    window=None, bool center=True, bool normalized=False, bool? onesided=None, int?
    length=None, bool return_complex=False) -> Tensor
    """
    if x.dtype != "complex64":
        parts = (call("getitem", x, (Ellipsis, i)) for i in range(2))
        real, imag = parts
        x = real + imag * call(mx.array, 1j)
    given = _given(
        hop_length=hop_length,
        win_length=win_length,
        window=window,
        onesided=onesided,
        length=length,
    )
    given |= {} if center else {"center": False}
    given |= {"normalized": True} if normalized else {}
    given |= {"return_complex": True} if return_complex else {}
    return call("ops.istft", x, n_fft, **given)


def _window(name: str, length: Any, options: dict[str, Any], dtype: str | None) -> Value:
    values = call(f"ops.{name}_window", length, **options)
    return values if dtype is None else values.astype(dtype)


def _periodic(periodic: bool) -> dict[str, Any]:
    return {} if periodic else {"periodic": False}


@lowers("aten.hann_window")
def hann_window(window_length: Any, periodic: bool = True, *, dtype: str | None = None) -> Value:
    """hann_window(int window_length, *, ScalarType? dtype=None, Layout? layout=None, Device?
        device=None, bool? pin_memory=None) -> Tensor
    hann_window.periodic(int window_length, bool periodic, *, ScalarType? dtype=None, Layout?
        layout=None, Device? device=None, bool? pin_memory=None) -> Tensor
    """
    return _window("hann", window_length, _periodic(periodic), dtype)


@lowers("aten.blackman_window")
def blackman_window(
    window_length: Any, periodic: bool = True, *, dtype: str | None = None
) -> Value:
    """blackman_window(int window_length, *, ScalarType? dtype=None, Layout? layout=None, Device?
        device=None, bool? pin_memory=None) -> Tensor
    blackman_window.periodic(int window_length, bool periodic, *, ScalarType? dtype=None,
        Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor
    """
    return _window("blackman", window_length, _periodic(periodic), dtype)


@lowers("aten.bartlett_window")
def bartlett_window(
    window_length: Any, periodic: bool = True, *, dtype: str | None = None
) -> Value:
    """bartlett_window(int window_length, *, ScalarType? dtype=None, Layout? layout=None, Device?
        device=None, bool? pin_memory=None) -> Tensor
    bartlett_window.periodic(int window_length, bool periodic, *, ScalarType? dtype=None,
        Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor
    """
    return _window("bartlett", window_length, _periodic(periodic), dtype)


@lowers("aten.hamming_window")
def hamming_window(
    window_length: Any,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: str | None = None,
) -> Value:
    """hamming_window(int window_length, *, ScalarType? dtype=None, Layout? layout=None, Device?
        device=None, bool? pin_memory=None) -> Tensor
    hamming_window.periodic(int window_length, bool periodic, *, ScalarType? dtype=None, Layout?
        layout=None, Device? device=None, bool? pin_memory=None) -> Tensor
    hamming_window.periodic_alpha(int window_length, bool periodic, float alpha, *, ScalarType?
        dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor
    hamming_window.periodic_alpha_beta(int window_length, bool periodic, float alpha, float
        beta, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool?
        pin_memory=None) -> Tensor
    """
    shape = {} if (alpha, beta) == (0.54, 0.46) else {"alpha": alpha, "beta": beta}
    return _window("hamming", window_length, {**_periodic(periodic), **shape}, dtype)


@lowers("aten.kaiser_window")
def kaiser_window(
    window_length: Any, periodic: bool = True, beta: float = 12.0, *, dtype: str | None = None
) -> Value:
    """kaiser_window(int window_length, *, ScalarType? dtype=None, Layout? layout=None, Device?
        device=None, bool? pin_memory=None) -> Tensor
    kaiser_window.periodic(int window_length, bool periodic, *, ScalarType? dtype=None, Layout?
        layout=None, Device? device=None, bool? pin_memory=None) -> Tensor
    kaiser_window.beta(int window_length, bool periodic, float beta, *, ScalarType? dtype=None,
        Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor
    """
    shape = {} if beta == 12.0 else {"beta": beta}
    return _window("kaiser", window_length, {**_periodic(periodic), **shape}, dtype)
