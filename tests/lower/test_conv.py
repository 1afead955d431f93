"""Convolutions against torch: every rank, padding mode, group count, and without a batch axis."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.lower.harness import check_op, targets

SIGNAL = torch.randn(2, 4, 9)
IMAGE = torch.randn(2, 4, 8, 7)
VOLUME = torch.randn(2, 4, 5, 6, 4)

CASES = {
    "conv1d": (nn.Conv1d(4, 6, 3), SIGNAL),
    "conv1d stride, padding, dilation": (
        nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2),
        SIGNAL,
    ),
    "conv1d depthwise": (nn.Conv1d(4, 8, 3, groups=4, bias=False), SIGNAL),
    "conv1d same": (nn.Conv1d(4, 6, 3, padding="same"), SIGNAL),
    "conv1d same, even kernel": (nn.Conv1d(4, 6, 4, padding="same"), SIGNAL),
    "conv1d valid": (nn.Conv1d(4, 6, 3, padding="valid"), SIGNAL),
    "conv1d reflect": (nn.Conv1d(4, 6, 3, padding=1, padding_mode="reflect"), SIGNAL),
    "conv1d unbatched": (nn.Conv1d(4, 6, 3), SIGNAL[0]),
    "conv2d": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0)), IMAGE),
    "conv2d patches": (nn.Conv2d(4, 6, 2, stride=2), IMAGE),
    "conv2d groups": (nn.Conv2d(4, 6, 3, groups=2, padding=1), IMAGE),
    "conv2d circular": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), IMAGE),
    "conv2d unbatched": (nn.Conv2d(4, 6, 3), IMAGE[0]),
    "conv3d": (nn.Conv3d(4, 6, (3, 2, 1), padding=(1, 0, 0)), VOLUME),
    "conv3d groups": (nn.Conv3d(4, 6, 3, groups=2, stride=2, padding=1), VOLUME),
    "conv3d same, even kernel": (nn.Conv3d(4, 2, 2, padding="same"), VOLUME),
    "transposed 1d": (nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1), SIGNAL),
    "transposed 1d groups": (nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2), SIGNAL),
    "transposed 2d": (nn.ConvTranspose2d(4, 6, (3, 2), stride=2, dilation=(1, 2)), IMAGE),
    "transposed 2d groups": (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, padding=1), IMAGE),
    "transposed 2d unbatched": (nn.ConvTranspose2d(4, 6, 3, bias=False), IMAGE[0]),
    "transposed 3d": (nn.ConvTranspose3d(4, 6, 3, stride=2, output_padding=1), VOLUME),
    "transposed 3d groups": (nn.ConvTranspose3d(4, 6, 2, groups=2), VOLUME),
}


@pytest.mark.parametrize("name", CASES)
def test_module(name: str) -> None:
    module, x = CASES[name]
    check_op(module, x, atol=1e-5, dynamic=False)


@pytest.mark.parametrize("name", ["conv1d", "conv2d", "transposed 1d", "conv1d same, even kernel"])
def test_at_another_size(name: str) -> None:
    module, x = CASES[name]
    check_op(module, x, atol=1e-5)


FUNCTIONS = {
    "convolution": lambda x, w: torch.ops.aten.convolution(
        x, w, None, [1, 2], [1, 0], [1, 1], False, [0, 0], 1
    ),
    "transposed convolution": lambda x, w: torch.ops.aten.convolution(
        x, w, None, [2, 2], [1, 1], [1, 1], True, [1, 0], 2
    ),
    "slow_conv3d": lambda x, w: torch.ops.aten.slow_conv3d(
        x[:, :, None], w[:, :, None], [1, 3, 3], None, [1, 1, 1], [0, 1, 1]
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    check_op(FUNCTIONS[name], IMAGE, torch.randn(4, 4, 3, 3), atol=1e-4, dynamic=False)


def test_integers() -> None:
    x, weight = torch.randint(-9, 9, (2, 4, 8, 7)), torch.randint(-9, 9, (6, 2, 3, 3))
    check_op(lambda x: torch.conv2d(x, weight, stride=2, padding=1, groups=2), x, dynamic=False)


def test_complex_numbers() -> None:
    x, weight = torch.randn(2, 4, 9) * (1 + 2j), torch.randn(6, 4, 3) * (2 - 1j)
    check_op(lambda x, w: torch.conv1d(x, w), x, weight, atol=1e-4, dynamic=False)


def test_conv_tbc() -> None:
    weight, bias = torch.randn(3, 4, 6), torch.randn(6)
    check_op(lambda x: torch.conv_tbc(x, weight, bias, 1), torch.randn(7, 2, 4), dynamic=False)


def test_half_precision() -> None:
    # bfloat16 keeps 8 bits: one ulp is 8e-3 at 1 and 1.6e-2 at 2.
    check_op(nn.Conv1d(4, 6, 3).bfloat16(), SIGNAL.bfloat16(), atol=2e-2, dynamic=False)


def test_plain_convolution_is_one_call_between_two_transposes() -> None:
    assert targets(nn.Conv2d(4, 6, 3), IMAGE, dynamic=False).count("ops.conv2d") == 1
