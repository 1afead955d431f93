"""Coverage-guided fuzzing of the TorchScript importer, a script for :mod:`tests.hostile.fuzz`."""

from __future__ import annotations

import random
import sys
import zipfile
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import atheris
import torch

for module in ("codegen.source", "passes.pipeline", "capture.export", "sources"):
    import_module(f"pytorch_to_mlx.{module}")  # before the hook: not instrumented
for name in [n for n in sys.modules if n.startswith("pytorch_to_mlx.sources.torchscript")]:
    del sys.modules[name]
with atheris.instrument_imports(include=["pytorch_to_mlx"]):
    for part in ("archive", "load", "rebuild", "interpret", "control", "loops", "calls", "host"):
        import_module(f"pytorch_to_mlx.sources.torchscript.{part}")

from tests.hostile import script_cases, stages
from tests.hostile.guided import LARGEST, fuzz

#: One of so many cases is captured and lowered too, which takes a hundred times longer.
WHOLE = 12


def seeds() -> list[bytes]:
    """The small ones of the models."""
    return [data for data in script_cases.seeds() if len(data) < LARGEST // 2]


def steps(data: bytes, reached: Callable[[str], None]) -> None:
    stages.script_steps(data, reached, whole=zlib.crc32(data) % WHOLE == 0)


def mutated(data: bytes, limit: int, seed: int) -> bytes:
    """Another archive whose parts are whole, mostly with other code."""
    draw = random.Random(seed)
    try:
        out = script_cases.mutated(data, draw)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return bytes(atheris.Mutate(data, limit))
    return out if len(out) <= limit else data


if __name__ == "__main__":
    torch.set_num_threads(1)
    fuzz(stages.Tally(*stages.SCRIPT), steps, mutated, seeds)
