"""Models that torch.compile is in, and weights that were made in inference mode."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import pytorch_to_mlx as p2m
from tests.api.helpers import call, proven


class Block(nn.Module):
    """A layer and its activation."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.project(x))


class Compiled(nn.Module):
    """A compiled submodule, compiled elements of a list, a method and a call that are compiled."""

    def __init__(self, *, wrap: bool = True) -> None:
        super().__init__()
        compiled: Any = torch.compile if wrap else (lambda module: module)
        self.first = compiled(Block())
        self.blocks = nn.ModuleList([compiled(Block()) for _ in range(3)])
        self.last = Block()
        if wrap:
            self.last.compile()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.doubled(self.last(x))

    @torch.compile
    def doubled(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_compiled_parts_read_as_if_they_were_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain, module = Compiled(wrap=False), Compiled()
    state = plain.state_dict()
    names = list(module.state_dict())
    module.load_state_dict(dict(zip(names, state.values(), strict=True)))
    with torch.compiler.set_stance("force_eager"):  # a C++ compiler is not what is tested
        x, y = torch.randn(3, 4), torch.randn(5, 4)
        loaded = proven(tmp_path, module, call(x), call(y))
        assert loaded.code == p2m.convert(plain, (x,)).code
    assert list(module.state_dict()) == names
    assert any("first._orig_mod" in name for name in names)
    assert any("torch.compile was taken off first" in w for w in loaded.report["warnings"])


def test_a_compiled_model_is_proven_and_takes_both_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Compiled().eval()
    converted = p2m.convert(torch.compile(module), (torch.randn(3, 4),), output=tmp_path / "p")
    assert p2m.validate(converted).passed
    script = runpy.run_path(str(tmp_path / "p" / "convert_weights.py"))
    weights: Any = mx.load(str(tmp_path / "p" / "model.safetensors"))
    for replaced in ("", "._orig_mod"):
        state = {k.replace(replaced, ""): v for k, v in module.state_dict().items()}
        assert any("_orig_mod" in name for name in state) is not bool(replaced)
        file = tmp_path / "checkpoint.safetensors"
        save_file(state, str(file))
        made = dict(script["convert"](script["Checkpoint"](str(file), tmp_path / "p")))
        assert all(mx.array_equal(made[name], array).item() for name, array in weights.items())
        assert made.keys() == weights.keys()


class Kept(nn.Module):
    """State in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(4, 4)
        self.register_buffer("h", torch.zeros(3, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.h.copy_(torch.tanh(self.project(x) + self.h))
        return self.h * 2


class Both(nn.Module):
    """A layer in half precision and as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.project(x)
        return self.project(x) + y.float()


@pytest.mark.parametrize("stays", [False, True])
def test_weights_of_inference_mode_are_proven(stays: bool) -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        module, x = Kept(), torch.randn(3, 4)
    weight = module.project.weight
    with torch.inference_mode(stays):
        report = p2m.validate(p2m.convert(module, (x,)))
    assert report.passed
    assert report.perturbation
    assert module.project.weight is weight
    assert weight.is_inference()
    assert not module.h.any()


class Mixed(nn.Module):
    """A layer in half precision, by a decorator that is used at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 8)

    @torch.autocast("cpu", dtype=torch.bfloat16)
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(torch.relu(self.project(x))).float()


def test_a_layer_in_both_precisions_stands_twice_in_its_parent() -> None:
    torch.manual_seed(0)
    module = Both()
    code = p2m.convert(module, (torch.randn(3, 8),)).code
    assert "self.project = nn.Linear(8, 8)" in code
    assert "self.project_bfloat16 = nn.Linear(8, 8)" in code
    assert code.count("(nn.Module)") == 1


def test_autocast_is_proven_in_float32_first() -> None:
    torch.manual_seed(0)
    module, x = Mixed(), torch.randn(3, 8)
    before = module(x)
    report = p2m.validate(p2m.convert(module, (x,)))
    assert report.passed
    assert report.low_precision
    assert torch.equal(module(x), before)
