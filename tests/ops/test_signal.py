"""ops.signal against torch."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
import torch

from pytorch_to_mlx.ops import signal as sg
from tests.ops.torch_parity import assert_same, to_mx

STFTS = [
    {"n_fft": 16},
    {"n_fft": 16, "hop_length": 5, "win_length": 12},
    {"n_fft": 15, "hop_length": 4},
    {"n_fft": 16, "hop_length": 4, "normalized": True},
    {"n_fft": 16, "hop_length": 4, "onesided": False},
    {"n_fft": 12, "hop_length": 3, "center": False},
    {"n_fft": 9, "hop_length": 1, "win_length": 6},
]


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("case", range(len(STFTS)))
@pytest.mark.parametrize("shape", [(50,), (3, 64), (1, 33)])
def test_stft_and_back(case: int, shape: tuple[int, ...], windowed: bool) -> None:
    torch.manual_seed(0)
    args = STFTS[case]
    x = torch.randn(shape)
    size = args.get("win_length", args["n_fft"])
    window = torch.hann_window(size) * 0.9 + 0.1 if windowed else None
    for mode in ("reflect", "constant", "replicate", "circular"):
        want = torch.stft(x, window=window, pad_mode=mode, return_complex=True, **args)
        got = sg.stft(to_mx(x), window=to_mx(window), pad_mode=mode, **args)
        assert_same(got, want)
    onesided = args.get("onesided", True)
    if onesided:
        spectrum = np.array(got)
        assert np.all(spectrum[..., 0, :].imag == 0)
        assert args["n_fft"] % 2 or np.all(spectrum[..., -1, :].imag == 0)
    back = dict(args)
    for length in (None, shape[-1], shape[-1] - 7):
        back["length"] = length
        signal = torch.istft(want, window=window, **back)
        assert_same(sg.istft(to_mx(want), window=to_mx(window), **back), signal)


def test_istft_past_the_end_and_complex() -> None:
    x = torch.randn(2, 40, dtype=torch.complex64)
    want = torch.stft(x, 16, 4, return_complex=True, onesided=False)
    assert_same(sg.stft(to_mx(x), 16, 4), want)
    args = {"onesided": False, "return_complex": True}
    assert_same(sg.istft(to_mx(want), 16, 4, **args), torch.istft(want, 16, 4, **args))
    real = torch.stft(x.real, 16, 4, return_complex=True)
    assert_same(sg.istft(to_mx(real), 16, 4, length=45), torch.istft(real, 16, 4, length=45))


def test_compiles_and_takes_views() -> None:
    x = torch.randn(64, 3)
    want = torch.stft(x.T, 16, 4, return_complex=True)
    assert_same(mx.compile(lambda a: sg.stft(a.T, 16, 4))(to_mx(x)), want)


@pytest.mark.parametrize("norm", ["backward", "forward", "ortho"])
def test_transforms(norm: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, 10)
    z = torch.randn(3, 4, 10, dtype=torch.complex64)
    m, c = to_mx((x, z))
    for n in (None, 7, 8, 16):
        for axis in (0, -1):
            assert_same(sg.rfft(m, n, axis, norm), torch.fft.rfft(x, n, axis, norm))
            assert_same(sg.ihfft(m, n, axis, norm), torch.fft.ihfft(x, n, axis, norm))
            assert_same(sg.hfft(c, n, axis, norm), torch.fft.hfft(z, n, axis, norm))
            # What lowerings use of MLX as it is.
            assert_same(mx.fft.fft(c, n, axis, norm), torch.fft.fft(z, n, axis, norm))
            assert_same(mx.fft.ifft(c, n, axis, norm), torch.fft.ifft(z, n, axis, norm))
            assert_same(mx.fft.irfft(c, n, axis, norm), torch.fft.irfft(z, n, axis, norm))
    assert_same(mx.fft.fft2(c, norm=norm), torch.fft.fft2(z, norm=norm))
    assert_same(mx.fft.fftshift(m, axes=(0, 2)), torch.fft.fftshift(x, dim=(0, 2)))
    assert_same(mx.fft.ifftshift(m, axes=(0, 2)), torch.fft.ifftshift(x, dim=(0, 2)))


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("n", [1, 3, 7, 400])
def test_windows(n: int, periodic: bool) -> None:
    assert_same(sg.hann_window(n, periodic), torch.hann_window(n, periodic))
    assert_same(sg.hamming_window(n, periodic), torch.hamming_window(n, periodic))
    got = sg.hamming_window(n, periodic, 0.6, 0.3)
    assert_same(got, torch.hamming_window(n, periodic, 0.6, 0.3))
    assert_same(sg.blackman_window(n, periodic), torch.blackman_window(n, periodic))
    assert_same(sg.bartlett_window(n, periodic), torch.bartlett_window(n, periodic))
    for beta in (12.0, 3.0):
        want = torch.kaiser_window(n, periodic, beta)
        assert_same(sg.kaiser_window(n, periodic, beta), want)
    want = torch.signal.windows.gaussian(n, std=3.0, sym=not periodic)
    assert_same(sg.gaussian_window(n, 3.0, periodic), want)
