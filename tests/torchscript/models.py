"""Small modules whose code only TorchScript keeps: control flow, containers, state."""

# No postponed annotations: TorchScript reads them.

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Choice(nn.Module):
    """An option that Python decides, an optional input, and a choice that data decides."""

    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Linear(4, 4)

    def forward(self, x: Tensor, flag: bool = True, mask: Tensor | None = None) -> Tensor:
        y = self.l(x) if flag else x
        if mask is not None:
            y = y * mask
        if bool(y.sum() > 0):
            y = y * 2
        else:
            y = self.l(y) - 1
        return y


class Containers(nn.Module):
    """Lists, dicts, tuples, in-place writes, sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outs: list[Tensor] = []
        for layer in self.layers:
            x = torch.relu(layer(x))
            outs.append(x)
        first, rest = outs[0], outs[1:]
        sizes: dict[str, tuple[int, int]] = {"x": (x.size(0), x.size(-1))}
        found = {"last": x, "all": torch.cat(outs, dim=-1)}
        x = x.clone()
        x[:, 0] = 0.5
        x += 1
        found["written"] = x
        rows, columns = sizes["x"]
        found["mean"] = x.view(rows, columns // 2, -1).mean(dim=2) / rows
        for key in ["a", "b"]:
            found[key] = first + len(key) * rest[-1]
        return found


class Memory(nn.Module):
    """State that forward assigns, and a counter of calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("h", torch.zeros(2, 4))
        self.l = nn.Linear(4, 4)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.h = torch.tanh(self.l(x) + self.h)
        self.calls += 1
        return self.h * 2


class Lazy(nn.Module):
    """State that the first call makes, as streaming models have."""

    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Linear(4, 4)
        self.context = torch.zeros(0)

    @torch.jit.export
    def reset(self) -> None:
        self.context = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        if not len(self.context):
            self.context = torch.zeros(x.size(0), 4)
        y = self.l(torch.cat([self.context, x], dim=1)[:, -4:]) + self.context
        self.context = x
        return y


class Biased(Lazy):
    """The same, but its first call is not as if the state were zeros."""

    def forward(self, x: Tensor) -> Tensor:
        if not len(self.context):
            self.context = torch.ones(x.size(0), 4)
        y = x + self.context
        self.context = x
        return y


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 6, 2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(12, 5)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, (h, _) = self.lstm(x)
        z, _ = self.gru(self.dropout(y))
        return z, h


class Unrolled(nn.Module):
    """A cell called in a loop over time, its outputs gathered in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.zeros(x.size(0), 5)
        outs: list[Tensor] = []
        for t in range(x.size(1)):
            h = self.cell(x[:, t], h)
            outs.append(h)
        return torch.stack(outs, dim=1), h


class Decay(nn.Module):
    """A loop whose index does more than to pick: it computes with it."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.size(0), 4)
        for t in range(x.size(1)):
            h = h * 0.5 + x[:, t] * (t + 1)
        return h


class Halve(nn.Module):
    """A loop that data end, or a count."""

    def forward(self, x: Tensor) -> Tensor:
        rounds = 0
        while bool(x.abs().sum() > 1.0) and rounds < 6:
            x = x * 0.5
            rounds += 1
        return x


class Checked(nn.Module):
    """Errors for wrong inputs, and another way for long ones."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2:
            raise ValueError("expected a matrix")
        if x.size(1) > 6:
            x = x.mean(1)
        else:
            x = x.sum(1) * 2
        return x


class Pair(NamedTuple):
    total: Tensor
    scaled: Tensor


class Named(nn.Module):
    """A named tuple, a constant tensor, functions, another method."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 3.0

    @torch.jit.export
    def scaled(self, x: Tensor) -> Tensor:
        return x * self.scale

    def forward(self, x: Tensor) -> Pair:
        padded = nn.functional.pad(x, [1, 1], "constant", 0.0)
        weights = torch.tensor([0.5, 1.0, 2.0])
        return Pair(padded.sum(-1, keepdim=True) * weights, self.scaled(x))


class Convolutional(nn.Module):
    """For traces: sizes that are computed with, attention, batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.relu(self.norm(self.conv(x)))
        batch, channels, height, width = y.shape
        tokens = y.flatten(2).transpose(1, 2)
        mixed, _ = self.attention(tokens, tokens, tokens)
        image = mixed.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        return image + 0.5, y.reshape(batch, -1)[:, : channels * 2] / (height * width)


class Encoder(nn.Module):
    """Transformer layers, for which torch has fused kernels that traces hold."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)
        self.embedding = nn.Embedding(11, 8)

    def forward(self, ids: Tensor) -> Tensor:
        return self.layers(self.embedding(ids))


class Nested(nn.Module):
    """A list of tensors as input, a branch on equal sizes, a dict with number keys."""

    def forward(self, x: Tensor, others: list[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
        first, second = x.chunk(2, -1)
        if x.shape[0] == others[0].shape[0]:
            first = first + others[0]
        else:
            first = first - others[1]
        scaled: dict[int, Tensor] = {}
        for i, other in enumerate(others):
            scaled[i] = other * i
        return first + second, scaled[1], [other + 1 for other in others]
