"""Models and factories that the tests open as a user's own file."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import nn


class Encoder(nn.Module):
    """Two methods; the one calls the other through ``__call__``."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.proj(x) * 2

    def encode(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return self(x) + scale


def only_module() -> nn.Module:
    return Encoder()


def with_args() -> tuple[Any, ...]:
    return Encoder(), (np.zeros((2, 3), np.float32),)


def with_bare_arg() -> tuple[Any, ...]:
    return Encoder(), torch.zeros(2, 3)


def with_kwargs() -> tuple[Any, ...]:
    return Encoder(), {"x": torch.zeros(2, 3)}


def with_all() -> tuple[Any, ...]:
    return Encoder(), (torch.zeros(2, 3),), {}, None


def exported() -> torch.export.ExportedProgram:
    return torch.export.export(Encoder(), (torch.zeros(2, 3),))


def fails() -> nn.Module:
    raise RuntimeError("no such weights\nsecond line")


def returns_text() -> str:
    return "model"


def returns_dict() -> OrderedDict[str, torch.Tensor]:
    return OrderedDict(Encoder().state_dict())
