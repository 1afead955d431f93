"""Small modules, one for each thing that capture has to get right."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass

import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn.utils import parametrizations


class Scaled(nn.Module):
    """Tensors in no state dict: a plain attribute, one in a list, one made in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.scale = torch.arange(4.0)
        self.tables = [torch.full((4,), 3.0)]

    def forward(self, x, factor=1.0, *, mask=None):
        shift = torch.tensor([1.0, 2.0, 3.0, 4.0])
        y = self.linear(x) * factor + self.scale + self.tables[0] + shift
        return y if mask is None else y + mask


class Shared(nn.Module):
    """One module under two names, called several times with other arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Scaled()
        self.again = self.first
        self.items = nn.ModuleList([Scaled()])

    def forward(self, x, other):
        y = self.first(x, 2.0, mask=other)
        y = self.first(y, factor=other)
        y = self.again(y, x.shape[0])
        return self.items[0](y, y)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.embed(ids))


class Counter(nn.Module):
    """A buffer changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x):
        self.total.add_(x.sum(0))
        return x + self.total


class Echo(nn.Module):
    """Keeps its input for the next call: zeros leave it as it began."""

    def __init__(self, registered):
        super().__init__()
        if registered:
            self.register_buffer("before", torch.zeros(1, 3))
        else:
            self.before = torch.zeros(1, 3)

    def forward(self, x):
        y = x + 2 * self.before
        self.before = x
        return y


class Assigned(nn.Module):
    """A registered buffer that is assigned to; the old value is read after the assignment."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("h", torch.zeros(2, 3))

    def forward(self, x):
        before = self.h
        self.h = self.h + x
        return before * 10 + self.h


class Attribute(nn.Module):
    """Plain-attribute state in a child."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.cell = AttributeCell()

    def forward(self, x):
        return self.cell(x) * 2


class AttributeCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.h = torch.zeros(3)

    def forward(self, x):
        self.h = 0.5 * self.h + x.mean(0)
        return x + self.h


class Growing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen = torch.zeros(1, 3)

    def forward(self, x):
        self.seen = torch.cat([self.seen, x])
        return self.seen.mean(0)


class Created(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.h = None

    def forward(self, x):
        self.h = x if self.h is None else self.h + x
        return self.h * 2


class Steps(nn.Module):
    """A Python number that counts calls, and matters."""

    def __init__(self) -> None:
        super().__init__()
        self.step = 0

    def forward(self, x):
        self.step += 1
        return x * self.step


class Memo(nn.Module):
    """Keeps what it computed last, but never reads it: no state."""

    def __init__(self) -> None:
        super().__init__()
        self.last = None
        self.calls = 0

    def forward(self, x):
        self.last = x * 2
        self.calls += 1
        return self.last + 1


class Tagger(nn.Module):
    def __init__(self, kind: type[nn.Module] = nn.LSTM, **options) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 4)
        self.rnn = kind(4, 5, batch_first=True, **options)

    def forward(self, ids):
        return self.rnn(self.embed(ids))


class UNet(nn.Module):
    """Height and width must be multiples of 4."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(3, 4, 3, 2, 1)
        self.down2 = nn.Conv2d(4, 4, 3, 2, 1)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)

    def forward(self, x):
        a = self.down1(x)
        c = torch.cat([self.up(self.down2(a)), a], 1)
        return torch.cat([self.up(c[:, :4]), x], 1)


class Positions(nn.Module):
    """At most 16 positions, by slicing a table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 16, 4))
        self.embed = nn.Embedding(10, 4)

    def forward(self, ids):
        return self.embed(ids) + self.table[:, : ids.shape[1]]


class Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        return -x


class Item(nn.Module):
    def forward(self, x):
        n = int(x.max())
        return x.reshape(-1)[:n] if n > 2 else x


class Numpy(nn.Module):
    def forward(self, x):
        return x + torch.from_numpy(x.numpy() * 2)


class SizeBranch(nn.Module):
    def forward(self, x):
        if x.shape[0] == 2:
            return x * 2
        return -x


@dataclass
class Inputs:
    ids: torch.Tensor
    mask: torch.Tensor | None = None


@dataclass
class Outputs:
    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...]
    loss: torch.Tensor | None = None


Pair = namedtuple("Pair", ["left", "right"])


class Structured(nn.Module):
    """A dataclass, a dict and a namedtuple in; a dataclass out."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, batch: Inputs, extra: dict, pair: Pair, *rest, gain=1.0, bias=None):
        y = self.linear(batch.ids) * gain + extra["shift"] + pair.left * pair.right
        if batch.mask is not None:
            y = y * batch.mask
        for r in rest:
            y = y + r
        return Outputs(logits=y, hidden=(y, batch.ids))


class WeightNorms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.old = nn.utils.weight_norm(nn.Linear(4, 4))
        self.new = parametrizations.weight_norm(nn.Linear(4, 4))
        self.spectral = nn.utils.spectral_norm(nn.Linear(4, 4))
        self.spectral_new = parametrizations.spectral_norm(nn.Linear(4, 4))

    def forward(self, x):
        return self.spectral_new(self.spectral(self.new(self.old(x))))


class Wrapped(nn.Module):
    """autocast and no_grad blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        with torch.no_grad():
            y = self.linear(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = self.linear(y)
        with torch.enable_grad():
            return y + z.float()


class Cache:
    """Like a key/value cache: not a tensor, and no pytree."""

    def __init__(self, x) -> None:
        self.x = x


class Caching(nn.Module):
    def forward(self, x, use_cache=True):
        return {"y": x * 2, "cache": Cache(x) if use_cache else None}


class Unrolled(nn.Module):
    """A Python loop over time, which a trace unrolls."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(4, 4)

    def forward(self, x):
        h = c = x.new_zeros(x.shape[0], 4)
        out = []
        for i in range(x.shape[1]):
            h, c = self.cell(x[:, i], (h, c))
            out.append(h)
        return torch.stack(out, 1)


class Conditional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)

    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: self.a(x), lambda x: self.b(x) * 2, (x,))


class While(nn.Module):
    def forward(self, x):
        return torch._higher_order_ops.while_loop(
            lambda i, x: i < 5, lambda i, x: (i + 1, x * 1.1), (torch.tensor(0), x)
        )


class Vmapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return torch.vmap(lambda row: self.linear(row).softmax(-1))(x)


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return torch.utils.checkpoint.checkpoint(self.linear, x, use_reentrant=False)


class Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(0)

    @staticmethod
    def backward(ctx, grad):
        return grad


class CustomGradient(nn.Module):
    def forward(self, x):
        return Clamp.apply(x) * 2
