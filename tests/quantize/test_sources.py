"""Quantizing what came from ONNX and TorchScript: at conversion, and afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import pytorch_to_mlx as p2m
from pytorch_to_mlx.converted import Converted
from tests.onnx_frontend.conftest import onnx
from tests.package.processes import selftest

from .models import tagger
from .onnx_model import reader

torch.set_num_threads(1)

ROLES = {
    "table": "embedding",
    "mix.q": "attention",
    "mix.k": "attention",
    "mix.v": "attention",
    "mix.o": "attention",
    "wide": "other",
    "narrow": "other",
    "head": "head",
}


class Scripted(torch.nn.Module):
    """A tagger whose input goes through a convolution, in the form that ``torch.jit`` takes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = torch.nn.Conv1d(32, 64, 3, padding=1)
        self.q, self.k, self.v, self.o = (torch.nn.Linear(64, 64) for _ in range(4))
        self.wide, self.narrow = torch.nn.Linear(64, 128), torch.nn.Linear(128, 64)
        self.out = torch.nn.Linear(64, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x).transpose(1, 2)
        q, k, v = self.heads(self.q(x)), self.heads(self.k(x)), self.heads(self.v(x))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.o(mixed)
        x = x + self.narrow(torch.relu(self.wide(x)))
        return self.out(torch.tanh(x))

    def heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (4, 16)).transpose(1, 2)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("onnx") / "reader.onnx"
    onnx.save(reader(), path)
    return p2m.convert(path)


def bits_by_role(section: dict[str, Any]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for row in section["layers"]:
        found.setdefault(row["role"], set()).add(row["bits"])
    return found


def test_roles_are_found_on_an_onnx_graph(plain: Converted) -> None:
    made = p2m.quantize(plain, "mixed", group_size=32)
    section = made.report["quantization"]
    assert {row["path"]: row["role"] for row in section["layers"]} == ROLES
    assert bits_by_role(section) == {
        "embedding": {8},
        "attention": {8},
        "head": {8},
        "other": {4},
    }
    assert list(section["left"]) == ["conv"]
    assert section["left"]["conv"] == "MLX has no quantized nn.Conv1d"


def test_an_onnx_model_is_quantized_afterwards_and_proven(plain: Converted, tmp_path: Path) -> None:
    made = p2m.quantize(plain, 4, group_size=32, output=tmp_path / "q")
    assert isinstance(made.module.wide, nn.QuantizedLinear)
    assert isinstance(made.module.table, nn.QuantizedEmbedding)
    proof = p2m.validate(made, quick=True)
    assert proof.passed, proof.summary()
    assert proof.quantization is not None
    assert proof.quantization["outputs"][0]["original"] > 0.01
    done = selftest(tmp_path / "q", tmp_path / "plugins")
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_onnx_model_is_converted_and_quantized_at_once(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx.save(reader(), tmp_path / "m.onnx")
    command = [sys.executable, "-m", "pytorch_to_mlx", "convert", "-i", tmp_path / "m.onnx"]
    options = ["--quantize", "8", "--validate", "--json", "-o", tmp_path / "out"]
    done = subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(p2m.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["verdict"] == "proven"
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["quantization"]["bits"] == 8
    assert list(config["quantization"]["left"]) == ["conv"]
    again = p2m.validate(p2m.load(tmp_path / "out"), tmp_path / "m.onnx", quick=True)
    assert again.passed, again.summary()


def test_another_onnx_file_is_quantized_by_the_script(plain: Converted, tmp_path: Path) -> None:
    p2m.quantize(plain, 8, group_size=32, output=tmp_path / "q")
    onnx.save(reader(seed=1), tmp_path / "tuned.onnx")
    command = [sys.executable, tmp_path / "q" / "convert_weights.py", tmp_path / "tuned.onnx"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ids = np.arange(10).reshape(2, 5)
    want = np.array(p2m.convert(reader(seed=1))(mx.array(ids)))
    got = np.array(p2m.load(tmp_path / "q")(mx.array(ids)))
    assert np.linalg.norm(got - want) < 0.05 * np.linalg.norm(want)


@pytest.mark.parametrize("traced", [False, True], ids=["script", "trace"])
def test_torchscript_at_once_and_afterwards(traced: bool, tmp_path: Path) -> None:
    module, x = Scripted().eval(), torch.randn(2, 32, 6)
    source = torch.jit.trace(module, (x,)) if traced else torch.jit.script(module)
    path = tmp_path / "m.pt"
    torch.jit.save(source, path)
    made = p2m.convert(path, (x,), quantize="mixed", quantize_options={"group_size": 32})
    section = made.report["quantization"]
    roles = {row["path"]: row["role"] for row in section["layers"]}
    assert roles["wide"] == roles["narrow"] == "other"
    assert roles["out"] == "head"
    assert "attention" in roles.values()
    assert "conv" in section["left"]
    proof = p2m.validate(made, quick=True)
    assert proof.passed, proof.summary()
    if not traced:
        after = p2m.quantize(p2m.convert(path, (x,)), 8, group_size=32)
        proof = p2m.validate(after, quick=True)
        assert proof.passed, proof.summary()


def test_a_torchscript_of_a_tied_tagger() -> None:
    ids = torch.randint(0, 96, (2, 5))
    made = p2m.convert(torch.jit.trace(tagger().eval(), (ids,)), (ids,), quantize=8)
    assert {row["role"] for row in made.report["quantization"]["layers"]} >= {"attention"}
    proof = p2m.validate(made, quick=True)
    assert proof.passed, proof.summary()
