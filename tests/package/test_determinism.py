"""Code, config, weights and golden outputs are the same bytes from run to run."""

from __future__ import annotations

from pathlib import Path

from tests.package.processes import ROOT, python

SCRIPT = """
import sys
import torch
from pytorch_to_mlx import convert
from tests.package.models import factory
torch.set_num_threads(1)
module, args = factory()
convert(module, args, output=sys.argv[1])
"""

SAME = (
    "model.py",
    "config.json",
    "model.safetensors",
    "golden.safetensors",
    "convert_weights.py",
    "test_model.py",
)


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    folders = []
    for seed in ("1", "77"):
        folder = tmp_path / seed / "model_mlx"
        done = python(
            "-c", SCRIPT, folder, plugins=tmp_path / "env", blocked=(), PYTHONHASHSEED=seed,
            PYTHONPATH=f"{ROOT / 'src'}:{ROOT}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        folders.append(folder)
    first, second = folders
    assert {p.name for p in first.iterdir()} == {p.name for p in second.iterdir()} > set(SAME)
    for name in SAME:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
