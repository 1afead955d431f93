"""Fourier transforms, short-time transforms and windows against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.lower.harness import check_op

WAVE = torch.randn(2, 64)
GRID = torch.randn(3, 6, 5)
SPECTRUM = torch.fft.rfft2(GRID)
STFT = torch.stft(WAVE, 16, 4, window=torch.hann_window(16), return_complex=True)
fft = torch.fft

CASES: dict[str, tuple[Callable[..., Any], torch.Tensor]] = {
    "fft": (lambda x: fft.fft(x), GRID),
    "fft n dim norm": (lambda x: fft.fft(x, 8, 1, "ortho"), GRID),
    "fft of integers": (lambda x: fft.fft(x), (GRID * 9).long()),
    "ifft": (lambda x: fft.ifft(x, norm="forward"), SPECTRUM),
    "rfft": (lambda x: fft.rfft(x), GRID),
    "rfft n": (lambda x: fft.rfft(x, 4, 1), GRID),
    "irfft": (lambda x: fft.irfft(x), SPECTRUM),
    "irfft n": (lambda x: fft.irfft(x, 5), SPECTRUM),
    "hfft": (lambda x: fft.hfft(x, 7), SPECTRUM),
    "ihfft": (lambda x: fft.ihfft(x), GRID),
    "fft2": (lambda x: fft.fft2(x), GRID),
    "ifft2": (lambda x: fft.ifft2(x, (4, -1)), SPECTRUM),
    "rfft2": (lambda x: fft.rfft2(x, norm="ortho"), GRID),
    "irfft2": (lambda x: fft.irfft2(x, (6, 5)), SPECTRUM),
    "fftn": (lambda x: fft.fftn(x), GRID),
    "fftn s": (lambda x: fft.fftn(x, (4, 8)), GRID),
    "ifftn": (lambda x: fft.ifftn(x, dim=(0, 2)), SPECTRUM),
    "rfftn": (lambda x: fft.rfftn(x, dim=(0, 1)), GRID),
    "irfftn": (lambda x: fft.irfftn(x), SPECTRUM),
    "hfftn": (lambda x: fft.hfftn(x, (6, 5)), SPECTRUM),
    "hfft2": (lambda x: fft.hfft2(x, norm="ortho"), SPECTRUM),
    "ihfft2": (lambda x: fft.ihfft2(x), GRID),
    "_fft_r2c": (lambda x: torch.ops.aten._fft_r2c(x, [1, 2], 2, True), GRID),
    "_fft_c2r": (lambda x: torch.ops.aten._fft_c2r(x, [1, 2], 1, 5), SPECTRUM),
    "_fft_c2c": (lambda x: torch.ops.aten._fft_c2c(x, [2], 2, False), SPECTRUM),
    "fftshift": (lambda x: fft.fftshift(x), GRID),
    "ifftshift": (lambda x: fft.ifftshift(x, dim=(1,)), GRID),
    "fftfreq": (lambda x: x[0, 0, 0] + fft.fftfreq(7, 0.5), GRID),
    "rfftfreq": (lambda x: x[0, 0, 0] + fft.rfftfreq(6), GRID),
    "stft": (
        lambda x: torch.stft(x, 16, 4, window=torch.hann_window(16), return_complex=True),
        WAVE,
    ),
    "stft of one signal, not centred": (
        lambda x: torch.stft(x, 16, center=False, normalized=True, return_complex=True),
        WAVE[0],
    ),
    "stft short window, two sides": (
        lambda x: torch.stft(
            x, 16, 5, 12, torch.hamming_window(12), onesided=False, return_complex=True
        ),
        WAVE,
    ),
    "istft": (lambda x: torch.istft(x, 16, 4, window=torch.hann_window(16)), STFT),
    "istft length": (
        lambda x: torch.istft(x, 16, 4, window=torch.hann_window(16), length=60),
        STFT,
    ),
    "hann": (lambda x: x[0, 0] * torch.hann_window(9, periodic=False), WAVE),
    "hamming": (lambda x: x[0, 0] * torch.hamming_window(9, True, 0.5, 0.4), WAVE),
    "blackman": (lambda x: x[0, 0] * torch.blackman_window(9), WAVE),
    "bartlett": (lambda x: x[0, 0] * torch.bartlett_window(9), WAVE),
    "kaiser": (lambda x: x[0, 0] * torch.kaiser_window(9, True, 6.0), WAVE),
}


@pytest.mark.parametrize("name", CASES)
def test_signal(name: str) -> None:
    fn, x = CASES[name]
    check_op(fn, x, atol=1e-5, dynamic=False)


@pytest.mark.parametrize("name", ["stft", "istft", "rfft"])
def test_at_another_size(name: str) -> None:
    fn, x = CASES[name]
    check_op(fn, x, atol=1e-5)
