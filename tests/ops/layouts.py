"""Layout helpers for the spatial tests: torch is channels-first, the library channels-last."""

from __future__ import annotations

import mlx.core as mx
import torch

from tests.ops.torch_parity import to_mx


def last(x: torch.Tensor) -> mx.array:
    """[N, C, ...] in torch as [N, ..., C] in mlx."""
    return to_mx(torch.movedim(x, 1, -1).contiguous())


def torch_last(x: torch.Tensor) -> torch.Tensor:
    """[N, C, ...] as [N, ..., C], both in torch: what a channels-last result must equal."""
    return torch.movedim(x, 1, -1)


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    """A seeded tensor: normal for floats and complex, small integers otherwise."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    if dtype is torch.bool:
        return torch.randint(0, 2, shape, generator=generator).bool()
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    if dtype.is_complex:
        return torch.randn(shape, generator=generator, dtype=dtype)
    low = 0 if dtype is torch.uint8 else -9
    return torch.randint(low, 10, shape, generator=generator).to(dtype)


def special(*shape: int, seed: int = 0) -> torch.Tensor:
    """Floats with some NaN, infinities and exact ties among them."""
    x = torch.round(drawn(*shape, seed=seed) * 2) / 2
    flat = x.view(-1)
    flat[1::11] = float("nan")
    flat[2::13] = float("inf")
    flat[3::7] = float("-inf")
    return x
