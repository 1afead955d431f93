"""Coverage-guided fuzzing of the ONNX importer, a script for :mod:`tests.hostile.fuzz`."""

from __future__ import annotations

import random
import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import atheris
import onnx
from google.protobuf.message import DecodeError

for module in ("codegen.source", "passes.pipeline", "capture.program"):
    import_module(f"pytorch_to_mlx.{module}")  # before the hook: not instrumented
with atheris.instrument_imports(include=["pytorch_to_mlx"]):
    import_module("pytorch_to_mlx.lower.onnx._program")
    import_module("pytorch_to_mlx.lower.onnx").load_families()

from tests.hostile import stages
from tests.hostile.guided import LARGEST, fuzz
from tests.hostile.mutate import damaged, mutate


def seeds() -> list[bytes]:
    """The small models of onnx's own conformance suite, in an order of no meaning."""
    from onnx.backend.test.loader import load_model_tests

    found = [c.model.SerializeToString() for c in load_model_tests(kind="node") if c.model]
    random.Random(0).shuffle(found)
    return [data for data in found if len(data) < LARGEST // 8]


def mutated(data: bytes, limit: int, seed: int) -> bytes:
    """Another model: some fields changed, rarely bytes."""
    draw = random.Random(seed)
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        return bytes(atheris.Mutate(data, limit))
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        mutate(model, draw)
    out = model.SerializeToString()
    if draw.random() < 0.05:
        out = damaged(out, draw)
    return out if len(out) <= limit else data


if __name__ == "__main__":
    fuzz(stages.Tally(*stages.ONNX), stages.onnx_steps, mutated, seeds)
