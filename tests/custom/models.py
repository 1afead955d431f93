"""Models that use ops which only their own library knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._library.custom_ops import OPDEFS


def op(name: str) -> Callable[[Callable[..., Any]], Any]:
    """``torch.library.custom_op``, once: this file is loaded by import and as ``file.py:factory``,
    and a second definition would end the first.
    """
    known = OPDEFS.get(name)
    return (
        (lambda _: known) if known is not None else torch.library.custom_op(name, mutates_args=())
    )


@op("p2mtest::soft_clip")
def soft_clip(x: torch.Tensor, limit: float = 2.0, rounds: int = 1) -> torch.Tensor:
    for _ in range(rounds):
        x = limit * torch.tanh(x / limit)
    return x.clone()


@soft_clip.register_fake
def _(x: torch.Tensor, limit: float = 2.0, rounds: int = 1) -> torch.Tensor:
    return torch.empty_like(x)


@op("p2mtest::split_pairs")
def split_pairs(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums and differences of neighbours, half as many as there were columns."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return (even + odd).contiguous(), (even - odd).contiguous()


@split_pairs.register_fake
def _(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    half = x.new_empty((*x.shape[:-1], x.shape[-1] // 2))
    return half, torch.empty_like(half)


class Clipped(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = torch.nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = soft_clip(self.proj(x), 1.5)
        total, gap = split_pairs(h)
        return soft_clip(total * gap, rounds=2)


def clipped() -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    return Clipped().eval(), (torch.randn(3, 6),)
