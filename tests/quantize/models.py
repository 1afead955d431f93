"""Small models with every kind of layer that quantizing meets."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Attention and feed-forward under names that say nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.alpha, self.beta, self.gamma = (nn.Linear(width, width) for _ in range(3))
        self.delta = nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        q, k, v = (f(y).unflatten(-1, (4, -1)).transpose(1, 2) for f in self.mixers())
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.delta(y.transpose(1, 2).flatten(2))
        return x + self.narrow(F.gelu(self.wide(self.second(x))))

    def mixers(self) -> tuple[nn.Module, ...]:
        return self.alpha, self.beta, self.gamma


class Tagger(nn.Module):
    """Tied embedding and output, two blocks, and a layer that no group size divides."""

    def __init__(self, width: int = 64, words: int = 96) -> None:
        super().__init__()
        self.table = nn.Embedding(words, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(2))
        self.odd = nn.Linear(width, 20)
        self.last = nn.Linear(20, 5)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.table(ids)
        for block in self.blocks:
            x = block(x)
        return F.linear(x, self.table.weight), self.last(torch.tanh(self.odd(x)))


class Convolutional(nn.Module):
    """No attention."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv1d(32, 64, 3), nn.Linear(64, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.conv(x).relu().mean(-1))


def tagger() -> Tagger:
    torch.manual_seed(0)
    return Tagger().eval()


IDS = (torch.arange(14).reshape(2, 7) * 5 % 96,)
