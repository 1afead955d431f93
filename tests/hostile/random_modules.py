"""Random small modules: a chain of steps over ``[batch, time, width]``, every one total."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

WIDTH = 4

Step = Callable[["Chain", torch.Tensor, list[torch.Tensor]], torch.Tensor]


def _write(x: torch.Tensor, _: list[torch.Tensor]) -> torch.Tensor:
    x = x.clone()
    x[:, :1] += 1.5
    x[..., 1::2].mul_(0.5)
    return x


def _halves(x: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat([b * torch.sigmoid(a), a], dim=-1)


def _heads(x: torch.Tensor) -> torch.Tensor:
    b, t, _ = x.shape
    heads = x.view(b, t, 2, WIDTH // 2).transpose(1, 2)
    out = F.scaled_dot_product_attention(heads, heads, heads, is_causal=True)
    return out.transpose(1, 2).reshape(b, t, WIDTH)


def _chosen(x: torch.Tensor, seen: list[torch.Tensor]) -> torch.Tensor:
    # by the input, which is the same to the last bit on both sides: no near tie may fall two ways
    order = torch.argsort(seen[0][..., 0], dim=1, stable=True)
    return torch.gather(x, 1, order[..., None].expand_as(x))


def _counted(x: torch.Tensor, seen: list[torch.Tensor]) -> torch.Tensor:
    return x + (seen[0] > 0).long().sum(-1, keepdim=True) // 2


STEPS: dict[str, Step] = {
    "relu": lambda m, x, _: torch.relu(x),
    "gelu": lambda m, x, _: F.gelu(x),
    "silu": lambda m, x, _: F.silu(x),
    "tanh": lambda m, x, _: torch.tanh(x),
    "exp": lambda m, x, _: torch.exp(-x.abs()),
    "clamp": lambda m, x, _: x.clamp(-0.7, 2),
    "scalar": lambda m, x, _: (2 * x - 1) / 3,
    "power": lambda m, x, _: torch.tanh(x) ** 3,
    "linear": lambda m, x, _: m.linear(x),
    "block": lambda m, x, _: x + m.block(x),
    "nested": lambda m, x, _: m.nested["inner"][1](m.nested["inner"][0](x)),
    "repeat": lambda m, x, _: m.blocks[0](m.blocks[1](m.blocks[0](x))),
    "layers": lambda m, x, _: m.run_blocks(x),
    "layer_norm": lambda m, x, _: m.norm(x),
    "rms": lambda m, x, _: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-3) * m.scale,
    "conv": lambda m, x, _: m.conv(x.transpose(1, 2)).transpose(1, 2),
    "batch_norm": lambda m, x, _: m.batch_norm(x.transpose(1, 2)).transpose(1, 2),
    "pool": lambda m, x, _: F.avg_pool1d(x.transpose(1, 2), 3, 1, 1).transpose(1, 2),
    "softmax": lambda m, x, _: F.softmax(x, dim=1) - x,
    "log_softmax": lambda m, x, _: F.log_softmax(x, dim=-1),
    "cumsum": lambda m, x, _: torch.tanh(x.cumsum(1)),
    "mean": lambda m, x, _: x - x.mean(dim=1, keepdim=True),
    "amax": lambda m, x, _: x - x.amax(dim=-1, keepdim=True),
    "var": lambda m, x, _: x / (1 + x.var(dim=-1, keepdim=True, unbiased=False)),
    "flip": lambda m, x, _: x.flip(1),
    "roll": lambda m, x, _: x.roll(1, dims=1),
    "shift": lambda m, x, _: F.pad(x, (0, 0, 1, 0))[:, :-1],
    "halves": lambda m, x, _: _halves(x),
    "split": lambda m, x, _: torch.cat(
        [part + i for i, part in enumerate(x.split([1, 3], -1))], -1
    ),
    "stack": lambda m, x, _: torch.stack(x.unbind(-1)[::-1], dim=-1),
    "heads": lambda m, x, _: _heads(x),
    "flatten": lambda m, x, _: (x.flatten(1) * 0.5).unflatten(1, (-1, WIDTH)),
    "view": lambda m, x, _: m.linear(x.reshape(-1, WIDTH)).view(x.shape),
    "squeeze": lambda m, x, _: x.unsqueeze(1).expand(-1, 2, -1, -1).mean(1).unsqueeze(0).squeeze(0),
    "einsum": lambda m, x, _: torch.tanh(torch.einsum("btc,bsc->bts", x, x)) @ x / WIDTH,
    "mask": lambda m, x, _: x.masked_fill(torch.arange(x.shape[1])[:, None] % 2 == 0, 0.25),
    "causal": lambda m, x, _: torch.ones(x.shape[1], x.shape[1]).tril() @ x / x.shape[1],
    "where": lambda m, x, seen: torch.where(x > seen[0], x, seen[0]),
    "gather": lambda m, x, seen: _chosen(x, seen),
    "sort": lambda m, x, _: x.sort(dim=-1).values,
    "integers": lambda m, x, seen: _counted(x, seen),
    "half": lambda m, x, seen: x + torch.sign(seen[0]).half().float() / 4,
    "write": lambda m, x, seen: _write(x, seen),
    "index": lambda m, x, _: x[..., torch.tensor([2, 0, 3, 1])],
    "earlier": lambda m, x, seen: x + seen[len(seen) // 2],
    "product": lambda m, x, seen: torch.tanh(x) * torch.sigmoid(seen[-1]),
    "buffer": lambda m, x, _: x + m.offset * m.scale,
    "tied": lambda m, x, _: F.linear(x, m.linear.weight) / 2,
    "embedding": lambda m, x, seen: x + m.embedding((seen[0][..., 0] > 0).long() + 2),
    "position": lambda m, x, _: x + torch.sin(torch.arange(x.shape[1])[:, None] * 0.3),
    "last": lambda m, x, _: x + x[:, -1:],
}


class Chain(nn.Module):
    """Applies the named steps in order; every intermediate value stays at hand."""

    def __init__(self, steps: list[str]) -> None:
        super().__init__()
        self.steps = steps
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.block = nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, WIDTH))
        self.nested = nn.ModuleDict(
            {"inner": nn.ModuleList([nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)])}
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.Tanh()) for _ in range(3)
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.conv = nn.Conv1d(WIDTH, WIDTH, 3, padding=1, groups=2)
        self.batch_norm = nn.BatchNorm1d(WIDTH)
        self.embedding = nn.Embedding(5, WIDTH)
        self.scale = nn.Parameter(torch.randn(WIDTH))
        self.register_buffer("offset", torch.randn(WIDTH))

    def run_blocks(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = x + block(x)
        return x

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        seen = [x]
        for step in self.steps:
            x = STEPS[step](self, x, seen)
            seen.append(x)
        return {"last": x, "middle": seen[len(seen) // 2]}
