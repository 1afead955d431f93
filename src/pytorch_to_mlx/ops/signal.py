"""Fourier transforms, short-time transforms and windows, as torch normalises and pads them."""

from __future__ import annotations

import math

import mlx.core as mx

from pytorch_to_mlx.ops.bessel import i0


def pad_signal(x: mx.array, count: int, mode: str) -> mx.array:
    """Extend the last axis by ``count`` at both ends: constant, reflect, replicate or circular."""
    if count == 0:
        return x
    if mode == "constant":
        return mx.pad(x, [(0, 0)] * (x.ndim - 1) + [(count, count)])
    if mode == "reflect":
        before, after = x[..., count:0:-1], x[..., -2 : -count - 2 : -1]
    elif mode == "circular":
        before, after = x[..., -count:], x[..., :count]
    else:
        before, after = mx.repeat(x[..., :1], count, -1), mx.repeat(x[..., -1:], count, -1)
    return mx.concatenate([before, x, after], axis=-1)


def stft_window(window: mx.array | None, n_fft: int, win_length: int) -> mx.array:
    """The window (ones by default) [win_length], centred in zeros [n_fft]."""
    window = mx.ones((win_length,)) if window is None else window
    left = (n_fft - win_length) // 2
    return mx.pad(window, (left, n_fft - win_length - left)) if win_length < n_fft else window


def stft(
    x: mx.array,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: mx.array | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
) -> mx.array:
    """``torch.stft(return_complex=True)``: [T] or [B, T] to complex64 [..., frequencies, frames].

    Imaginary parts at zero and at the Nyquist frequency are exactly zero for real signals.
    """
    hop_length = n_fft // 4 if hop_length is None else hop_length
    onesided = x.dtype != mx.complex64 if onesided is None else onesided
    if center:
        x = pad_signal(x, n_fft // 2, pad_mode)
    frames = 1 + (x.shape[-1] - n_fft) // hop_length
    places = mx.arange(frames)[:, None] * hop_length + mx.arange(n_fft)
    pieces = x[..., places] * stft_window(window, n_fft, win_length or n_fft)
    if onesided:
        spectrum = clear_real_bins(mx.fft.rfft(pieces, axis=-1), n_fft)
    else:
        spectrum = mx.fft.fft(pieces, axis=-1)
    if normalized:
        spectrum = spectrum * (1 / math.sqrt(n_fft))
    return mx.swapaxes(spectrum, -1, -2)


def clear_real_bins(spectrum: mx.array, n: int) -> mx.array:
    """Drop rounding from the imaginary part of the bins that are real: first, and n / 2."""
    bins = mx.arange(spectrum.shape[-1])
    imaginary = mx.where((bins == 0) | (2 * bins == n), 0.0, spectrum.imag)
    return spectrum.real + imaginary * mx.array(1j)


def overlap_add(frames: mx.array, hop: int) -> mx.array:
    """Sum frames [..., count, n] at distance ``hop`` into [..., n + hop * (count - 1)]."""
    count, n = frames.shape[-2:]
    blocks = -(-n // hop)
    lead = [(0, 0)] * (frames.ndim - 2)
    padded = mx.pad(frames, [*lead, (0, 0), (0, blocks * hop - n)])
    padded = padded.reshape(frames.shape[:-1] + (blocks, hop))
    # Block j of every frame lands j hops later: as many shifted sums as a frame has blocks.
    total = mx.zeros(frames.shape[:-2] + (count + blocks - 1, hop), dtype=frames.dtype)
    for j in range(blocks):
        total = total + mx.pad(padded[..., j, :], [*lead, (j, blocks - 1 - j), (0, 0)])
    return total.reshape(frames.shape[:-2] + (-1,))[..., : n + hop * (count - 1)]


def istft(
    spectrum: mx.array,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: mx.array | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> mx.array:
    """``torch.istft``: complex64 [..., frequencies, frames] to [..., T].

    Frames are overlap-added and divided by the overlap-added squared window.
    """
    hop_length = n_fft // 4 if hop_length is None else hop_length
    onesided = spectrum.shape[-2] != n_fft if onesided is None else onesided
    window = stft_window(window, n_fft, win_length or n_fft)
    columns = mx.swapaxes(spectrum, -1, -2)
    if return_complex:
        pieces = mx.fft.ifft(columns, axis=-1)
    else:
        half = columns if onesided else columns[..., : n_fft // 2 + 1]
        pieces = mx.fft.irfft(half, n=n_fft, axis=-1)
    if normalized:
        pieces = pieces * math.sqrt(n_fft)
    count = pieces.shape[-2]
    signal = overlap_add(pieces * window, hop_length)
    envelope = overlap_add(mx.broadcast_to(window * window, (count, n_fft)), hop_length)
    start = n_fft // 2 if center else 0
    if length is not None:
        end = start + length
    else:
        end = signal.shape[-1] - (n_fft // 2 if center else 0)
    signal = signal[..., start:end] / envelope[start:end]
    if length is not None and signal.shape[-1] < length:
        missing = length - signal.shape[-1]
        signal = mx.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, missing)])
    return signal


def rfft(x: mx.array, n: int | None = None, axis: int = -1, norm: str = "backward") -> mx.array:
    """``torch.fft.rfft``: as ``mx.fft.rfft``, with exactly real bins at zero and Nyquist."""
    n = x.shape[axis] if n is None else n
    last = mx.moveaxis(mx.fft.rfft(x, n=n, axis=axis, norm=norm), axis, -1)
    return mx.moveaxis(clear_real_bins(last, n), -1, axis)


def hfft(x: mx.array, n: int | None = None, axis: int = -1, norm: str = "backward") -> mx.array:
    """``torch.fft.hfft``: transform of a half-Hermitian signal, real [..., n]."""
    n = 2 * (x.shape[axis] - 1) if n is None else n
    return mx.fft.irfft(mx.conj(x), n=n, axis=axis, norm=opposite_norm(norm))


def ihfft(x: mx.array, n: int | None = None, axis: int = -1, norm: str = "backward") -> mx.array:
    """``torch.fft.ihfft``: inverse of ``hfft``, complex64 [..., n // 2 + 1]."""
    return mx.conj(rfft(x, n, axis, opposite_norm(norm)))


def opposite_norm(norm: str) -> str:
    """The normalisation that scales the other direction."""
    return {"backward": "forward", "forward": "backward", "ortho": "ortho"}[norm]


def window_places(length: int, periodic: bool) -> mx.array:
    """Places 0 .. 1 of a window's samples; a periodic window is one sample of a longer one."""
    return mx.arange(length) / max(1, length if periodic else length - 1)


def cosine_window(length: int, weights: tuple[float, ...], periodic: bool) -> mx.array:
    """``torch.signal.windows.general_cosine``: alternating sum of cosines."""
    if length == 1:
        return mx.ones((1,))
    phase = 2 * math.pi * window_places(length, periodic)
    terms = [(-1) ** k * w * mx.cos(k * phase) for k, w in enumerate(weights)]
    return sum(terms[1:], terms[0])


def hann_window(length: int, periodic: bool = True) -> mx.array:
    """``torch.hann_window``: float32 [length]."""
    return cosine_window(length, (0.5, 0.5), periodic)


def hamming_window(
    length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46
) -> mx.array:
    """``torch.hamming_window``: float32 [length]."""
    return cosine_window(length, (alpha, beta), periodic)


def blackman_window(length: int, periodic: bool = True) -> mx.array:
    """``torch.blackman_window``: float32 [length]."""
    return cosine_window(length, (0.42, 0.5, 0.08), periodic)


def bartlett_window(length: int, periodic: bool = True) -> mx.array:
    """``torch.bartlett_window``: float32 [length], a triangle."""
    if length == 1:
        return mx.ones((1,))
    return 1 - mx.abs(2 * window_places(length, periodic) - 1)


def kaiser_window(length: int, periodic: bool = True, beta: float = 12.0) -> mx.array:
    """``torch.kaiser_window``: float32 [length], by the modified Bessel function of order 0."""
    if length == 1:
        return mx.ones((1,))
    place = 2 * window_places(length, periodic) - 1
    return i0(beta * mx.sqrt(mx.maximum(1 - place * place, 0))) / i0(mx.array(float(beta)))


def gaussian_window(length: int, std: float = 1.0, periodic: bool = False) -> mx.array:
    """``torch.signal.windows.gaussian``: float32 [length]."""
    middle = (length if periodic and length > 1 else length - 1) / 2
    return mx.exp(-mx.square((mx.arange(length) - middle) / (std * math.sqrt(2))))


def dft(
    x: mx.array, axis: int, n: int | None = None, inverse: bool = False, onesided: bool = False
) -> mx.array:
    """ONNX's ``DFT`` along an axis: the last one holds a real part, or real and imaginary parts.

    ``n`` crops or pads the axis. ``onesided`` gives half the spectrum [..., n // 2 + 1, ..., 2], or
    with ``inverse`` takes it and gives a real signal [..., n, ..., 1].
    """
    axis %= x.ndim
    real = x.shape[-1] == 1
    parts = x.astype(mx.float32)
    z = parts[..., 0] if real else parts[..., 0] + parts[..., 1] * mx.array(1j)
    if inverse and onesided:
        n = 2 * (x.shape[axis] - 1) if n is None else n
        return mx.fft.irfft(z, n=n, axis=axis)[..., None].astype(x.dtype)
    n = x.shape[axis] if n is None else n
    if real:
        spectrum = real_spectrum(z, n, axis)
        spectrum = mx.conj(spectrum) / n if inverse else spectrum
    else:
        spectrum = mx.fft.ifft(z, n=n, axis=axis) if inverse else mx.fft.fft(z, n=n, axis=axis)
    if onesided:
        spectrum = mx.split(spectrum, [n // 2 + 1], axis=axis)[0]
    return mx.stack([spectrum.real, spectrum.imag], axis=-1).astype(x.dtype)


def real_spectrum(x: mx.array, n: int, axis: int) -> mx.array:
    """All ``n`` bins of a real signal: the second half mirrors the first."""
    half = mx.moveaxis(rfft(x, n, axis), axis, -1)
    mirrored = mx.conj(half[..., 1 : (n + 1) // 2])[..., ::-1]
    return mx.moveaxis(mx.concatenate([half, mirrored], axis=-1), -1, axis)


def mel_weights(mels: int, n_fft: int, sample_rate: int, low: float, high: float) -> mx.array:
    """ONNX's ``MelWeightMatrix``: float32 [n_fft // 2 + 1, mels], triangles over a spectrum's bins.

    Their corners lie at equal distances on the mel scale from ``low`` to below ``high`` hertz.
    """
    first = 2595 * math.log10(1 + low / 700)
    step = (2595 * math.log10(1 + high / 700) - first) / (mels + 2)
    hertz = [700 * (10 ** ((first + k * step) / 2595) - 1) for k in range(mels + 2)]
    corners = [int((n_fft + 1) * h // sample_rate) for h in hertz]
    left, top, right = (mx.array(corners[k : k + mels]) for k in range(3))
    bins = mx.arange(n_fft // 2 + 1)[:, None]
    rising = (bins - left) / mx.maximum(top - left, 1)
    falling = (right - bins) / mx.maximum(right - top, 1)
    return mx.where(bins == top, 1.0, mx.maximum(mx.minimum(rising, falling), 0.0))
