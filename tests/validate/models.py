"""Small models of six kinds, with every op on a line of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

Inputs = tuple[torch.Tensor, ...]


class Mlp(nn.Module):
    """Layer norm, GELU, softmax gating, a zero-initialised last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.up = nn.Linear(6, 6)
        self.gate = nn.Linear(6, 6)
        self.down = nn.Linear(6, 4)
        nn.init.normal_(self.norm.bias)
        nn.init.zeros_(self.gate.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm(x)
        up = F.gelu(self.up(h))
        gate = torch.softmax(self.gate(h), dim=-1)
        mixed = up * gate - h
        scaled = mixed / (1.5 + gate)
        return self.down(torch.cat([scaled[:, :3], up[:, 3:]], dim=1))


class ConvNet(nn.Module):
    """Convolutions, batch norm, pooling, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)
        for bn in (self.bn1, self.bn2):
            nn.init.uniform_(bn.running_var, 0.01, 0.5)
            nn.init.normal_(bn.running_mean)
            nn.init.uniform_(bn.weight, 0.5, 1.5)
            nn.init.normal_(bn.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.max_pool2d(h, 2)
        h = h + self.bn2(self.conv2(h))
        pooled = h.mean(dim=(2, 3))
        return self.head(pooled)


class RMSNorm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(size) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        variance = x.pow(2).mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(variance + 1e-5))


def rotate_half(x: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, size: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads, self.groups, self.dim = heads, groups, size // heads
        self.q = nn.Linear(size, heads * self.dim, bias=False)
        self.k = nn.Linear(size, groups * self.dim, bias=False)
        self.v = nn.Linear(size, groups * self.dim, bias=False)
        self.o = nn.Linear(heads * self.dim, size, bias=False)
        steps = torch.arange(0, self.dim, 2).float() / self.dim
        self.register_buffer("inv_freq", 1.0 / 10000**steps, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, _ = x.shape
        q = self.q(x).view(b, t, self.heads, self.dim).transpose(1, 2)
        k = self.k(x).view(b, t, self.groups, self.dim).transpose(1, 2)
        v = self.v(x).view(b, t, self.groups, self.dim).transpose(1, 2)
        angles = torch.outer(torch.arange(t).float(), self.inv_freq)
        table = torch.cat((angles, angles), dim=-1)
        cos, sin = table.cos(), table.sin()
        q = q * cos + rotate_half(q) * sin
        k = k * cos + rotate_half(k) * sin
        k = k.repeat_interleave(self.heads // self.groups, dim=1)
        v = v.repeat_interleave(self.heads // self.groups, dim=1)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(out.transpose(1, 2).reshape(b, t, -1))


class Block(nn.Module):
    """A Llama-like layer."""

    def __init__(self, size: int = 16) -> None:
        super().__init__()
        self.norm1 = RMSNorm(size)
        self.attn = Attention(size, 4, 2)
        self.norm2 = RMSNorm(size)
        self.gate = nn.Linear(size, 24, bias=False)
        self.up = nn.Linear(size, 24, bias=False)
        self.down = nn.Linear(24, size, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x + self.attn(self.norm1(x))
        y = self.norm2(h)
        return h + self.down(F.silu(self.gate(y)) * self.up(y))


class Tagger(nn.Module):
    """Embedding, bidirectional LSTM, projection."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.lstm = nn.LSTM(6, 5, batch_first=True, bidirectional=True)
        self.out = nn.Linear(10, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        h, _ = self.lstm(self.embed(ids))
        return F.log_softmax(self.out(h), dim=-1)


class Reader(nn.Module):
    """Learned positions, a padding mask, a causal look at a longer memory, a tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.places = nn.Embedding(64, 8)
        self.key, self.value = nn.Linear(8, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, 9)
        self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        place = torch.arange(ids.shape[1])
        h = self.embed(ids) + self.places(place)
        scores = h @ h.transpose(1, 2)
        padding = (ids == 0).unsqueeze(1)
        scores = scores.masked_fill(padding, -30.0)
        h = h + torch.softmax(scores, dim=-1) @ h
        keys, values = self.key(memory), self.value(memory)
        h = h + F.scaled_dot_product_attention(h, keys, values, is_causal=True)
        return self.head(h)


class Stream(nn.Module):
    """A causal convolution that subtracts a running mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3)
        self.register_buffer("mean", torch.zeros(6))
        nn.init.normal_(self.conv.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = F.pad(x, (2, 0))
        y = self.conv(padded)
        now = y.mean(dim=(0, 2))
        self.mean.copy_(0.5 * self.mean + now)
        y = y - self.mean[:, None]
        total = torch.cumsum(y, dim=-1)
        share = torch.softmax(y, dim=1)
        return total.clamp(min=-3.0, max=2.0) + share


MODELS: dict[str, type[nn.Module]] = {
    "mlp": Mlp,
    "conv": ConvNet,
    "block": Block,
    "tagger": Tagger,
    "reader": Reader,
    "stream": Stream,
}


def make(name: str) -> tuple[nn.Module, Inputs]:
    """A model with seeded weights, and inputs."""
    torch.manual_seed(0)
    model = MODELS[name]()
    shapes = {"mlp": (5, 6), "conv": (2, 3, 8, 6), "block": (2, 7, 16), "stream": (2, 4, 9)}
    if name == "reader":
        ids = torch.tensor([[3, 5, 1, 0, 0]])
        return model.eval(), (ids, torch.randn(1, 7, 8))
    if name == "tagger":
        return model.eval(), (torch.randint(0, 11, (3, 6)),)
    return model.eval(), (torch.randn(shapes[name]),)
