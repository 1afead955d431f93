"""ops.conv_layers against torch, through the emitted code."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import pytest
import torch
from torch import nn

from tests.conformance.convert import convert
from tests.golden.compare import run_torch
from tests.ops.torch_parity import to_mx

TILED: dict[str, tuple[Any, tuple[int, ...]]] = {
    "1d": (lambda: nn.ConvTranspose1d(3, 4, 4, 4), (2, 3, 5)),
    "2d": (lambda: nn.ConvTranspose2d(3, 4, 2, 2), (2, 3, 5, 6)),
    "2d uneven, no bias": (
        lambda: nn.ConvTranspose2d(3, 4, (2, 3), (2, 3), bias=False),
        (1, 3, 4, 2),
    ),
    "3d": (lambda: nn.ConvTranspose3d(3, 4, (2, 1, 3), (2, 1, 3)), (2, 3, 2, 4, 3)),
}
OTHERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "overlapping": (lambda: nn.ConvTranspose2d(3, 4, 3, 2), (2, 3, 5, 6)),
    "cut": (lambda: nn.ConvTranspose2d(3, 4, 2, 2, padding=1), (2, 3, 5, 6)),
    "extended": (lambda: nn.ConvTranspose2d(3, 4, 2, 2, output_padding=1), (2, 3, 5, 6)),
    "dilated": (lambda: nn.ConvTranspose1d(3, 4, 2, 2, dilation=2), (2, 3, 5)),
    "in groups": (lambda: nn.ConvTranspose2d(4, 4, 2, 2, groups=2), (2, 4, 5, 6)),
    "of one tap": (lambda: nn.ConvTranspose1d(3, 4, 1), (2, 3, 5)),
}


@pytest.mark.parametrize("name", [*TILED, *OTHERS])
def test_transposed_convolution(name: str) -> None:
    """Where the stride is the kernel, one matmul; elsewhere MLX's own call."""
    torch.manual_seed(0)
    build, shape = (TILED | OTHERS)[name]
    module = nn.Sequential(build(), nn.ReLU()).eval()
    x = torch.randn(*shape)
    emitted = convert(module, (x,))
    assert ("ConvTransposeTiles(" in emitted.code.text) == (name in TILED)
    (got,) = emitted(x)
    want = to_mx(run_torch(module, x))
    assert got.shape == want.shape
    assert mx.abs(got - want).max().item() < 1e-5
