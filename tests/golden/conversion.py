"""Converting the golden models, each once a process, and finding their committed listings."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.converted import Converted
from tests.golden.models import MODELS, Golden

LISTINGS = Path(__file__).parent / "listings"

torch.set_num_threads(1)


@dataclass(frozen=True)
class Conversion:
    """A golden model, its torch module and its package."""

    golden: Golden
    module: torch.nn.Module
    converted: Converted


def path_of(name: str) -> Path:
    """The committed listing of a model."""
    return LISTINGS / f"{name}.py"


@functools.cache
def conversion(name: str) -> Conversion:
    """Converts a model of :data:`tests.golden.models.MODELS`; the same object at every call."""
    golden = MODELS[name]
    module = golden.module()
    return Conversion(golden, module, p2m.convert(module, (), golden.example()))


def without_lines(code: str) -> str:
    """A listing without the line numbers of its sources, which move with every edit of those."""
    return re.sub(r"(\w+\.py):\d+", r"\1", code)
