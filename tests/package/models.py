"""A small model that has every kind of weight a package stores in another form than the source."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Mixed(nn.Module):
    """Convolutions, batch norms, weight norms, recurrences, tied, integer and constant tensors."""

    offsets: torch.Tensor
    window: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.conv = nn.Conv1d(6, 8, 3, padding=1)
        self.norm = nn.BatchNorm1d(8)
        self.late_norm = nn.BatchNorm1d(8)
        self.up = nn.ConvTranspose1d(8, 6, 2, stride=2)
        self.wide = torch.nn.utils.parametrizations.weight_norm(nn.Conv1d(6, 6, 3, padding=1))
        self.old = nn.utils.weight_norm(nn.Linear(6, 6))
        self.lstm = nn.LSTM(6, 4, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(8, 6, batch_first=True)
        self.scale = nn.Parameter(torch.ones(6))
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("offsets", torch.arange(6))
        self.register_buffer("window", torch.hann_window(6), persistent=False)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.embedding(tokens).transpose(1, 2)
        x = self.late_norm(F.relu(self.norm(self.conv(x))))
        x = self.wide(self.up(x)).transpose(1, 2)
        x, _ = self.lstm(self.old(x))
        x, last = self.gru(x)
        x = (x * self.scale + self.offsets) * self.window
        return self.head(x), last


def inputs(batch: int = 2, length: int = 5) -> torch.Tensor:
    return torch.arange(batch * length).reshape(batch, length) * 7 % 11


def mixed() -> nn.Module:
    """The model with seeded weights and statistics, in eval mode."""
    torch.manual_seed(0)
    return perturbed(Mixed().eval())


def perturbed(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every tensor of the state dict moved by a seeded draw, in place; tied ones once."""
    generator = torch.Generator().manual_seed(seed)
    done: set[int] = set()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.data_ptr() in done:
                continue
            done.add(tensor.data_ptr())
            if tensor.is_floating_point():
                change = 0.2 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.add_(change.abs() if name.endswith("running_var") else change)
            else:
                tensor.add_(1)
    return module


def factory() -> tuple[nn.Module, tuple[torch.Tensor]]:
    return mixed(), (inputs(),)
