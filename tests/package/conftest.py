"""One package for every test of this folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.converted import Converted
from tests.package.models import inputs, mixed

torch.set_num_threads(1)


@pytest.fixture(scope="package")
def source() -> torch.nn.Module:
    return mixed()


@pytest.fixture(scope="package")
def converted(source: torch.nn.Module) -> Converted:
    return p2m.convert(source, (inputs(),))


@pytest.fixture
def package(converted: Converted, tmp_path: Path) -> Path:
    """A copy of the package folder that a test may spoil."""
    folder = tmp_path / "mixed_mlx"
    shutil.copytree(converted.path, folder)
    return folder
