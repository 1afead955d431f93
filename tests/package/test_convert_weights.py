"""``convert_weights.py``: another checkpoint of the same architecture, without converting again."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
import safetensors.torch
import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.converted import Converted
from tests.golden.compare import assert_same, run_torch
from tests.golden.models import MODELS
from tests.package.models import inputs, mixed, perturbed
from tests.package.processes import NOT_NEEDED, python

TORCH_NEEDS = ("pytorch_to_mlx", "transformers", "safetensors")


def checkpoint(module: torch.nn.Module, path: Path, leave_out: tuple[str, ...] = ()) -> Path:
    """The module's state dict as a file; safetensors hold a shared tensor once, so do these."""
    state: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in module.state_dict().items():
        if name in leave_out or (path.suffix == ".safetensors" and tensor.data_ptr() in seen):
            continue
        seen.add(tensor.data_ptr())
        state[name] = tensor.detach().clone()
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, str(path))
    else:
        torch.save({"state_dict": state, "epoch": 3} if path.suffix == ".pth" else state, path)
    return path


def run_script(package: Path, *arguments: Any, plugins: Path, blocked: tuple[str, ...]) -> Any:
    return python(package / "convert_weights.py", *arguments, plugins=plugins, blocked=blocked)


def same_weights(got: Path, want: Path) -> None:
    """Every array of two weight files: names, dtypes and bits."""
    ours: Any = mx.load(str(got))
    theirs: Any = mx.load(str(want))
    assert list(ours) == list(theirs)
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype, name
        assert mx.array_equal(ours[name], array, equal_nan=True).item(), name


def twin(module: torch.nn.Module) -> torch.nn.Module:
    """A copy; torch refuses to deepcopy what ``nn.utils.weight_norm`` has touched."""
    other = mixed()
    other.load_state_dict(module.state_dict())
    return other


def all_differ(module: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(module.state_dict().values(), other.state_dict().values(), strict=True)
    return all(not torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def tuned(source: torch.nn.Module) -> torch.nn.Module:
    """The source with every tensor changed."""
    module = perturbed(twin(source), seed=5)
    assert all_differ(module, source)
    return module


@pytest.fixture(scope="module")
def fresh(tuned: torch.nn.Module) -> Converted:
    return p2m.convert(tuned, (inputs(),))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_equals_a_fresh_conversion(
    package: Path, tuned: torch.nn.Module, fresh: Converted, tmp_path: Path, suffix: str
) -> None:
    file = checkpoint(tuned, tmp_path / f"tuned{suffix}")
    blocked = NOT_NEEDED if suffix == ".safetensors" else TORCH_NEEDS
    before = (package / "model.safetensors").read_bytes()
    target = tmp_path / "weights"
    done = run_script(package, file, target, plugins=tmp_path / "env", blocked=blocked)
    assert done.returncode == 0, done.stderr
    assert (package / "model.safetensors").read_bytes() == before
    same_weights(target / "model.safetensors", fresh.path / "model.safetensors")
    shutil.copy(target / "model.safetensors", package)
    for batch, length in ((2, 5), (1, 3)):
        x = inputs(batch, length)
        assert_same(p2m.load(package)(x), run_torch(tuned, x))


def test_in_place(package: Path, tuned: torch.nn.Module, fresh: Converted, tmp_path: Path) -> None:
    file = checkpoint(tuned, tmp_path / "tuned.safetensors")
    done = run_script(package, file, plugins=tmp_path / "env", blocked=NOT_NEEDED)
    assert done.returncode == 0, done.stderr
    same_weights(package / "model.safetensors", fresh.path / "model.safetensors")


@pytest.mark.parametrize("left_out", ["head.weight", "embedding.weight"])
def test_tied_weights_are_found_under_either_name(
    package: Path, tuned: torch.nn.Module, fresh: Converted, tmp_path: Path, left_out: str
) -> None:
    file = checkpoint(tuned, tmp_path / "tuned.pt", leave_out=(left_out,))
    done = run_script(package, file, plugins=tmp_path / "env", blocked=TORCH_NEEDS)
    assert done.returncode == 0, done.stderr
    same_weights(package / "model.safetensors", fresh.path / "model.safetensors")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_checkpoint_of_another_precision(
    package: Path, tuned: torch.nn.Module, tmp_path: Path, dtype: Any
) -> None:
    """Weights keep the package's dtypes: what is cast is the checkpoint."""
    cast = twin(tuned).to(dtype)
    file = checkpoint(cast, tmp_path / "tuned.pt")
    done = run_script(package, file, plugins=tmp_path / "env", blocked=TORCH_NEEDS)
    assert done.returncode == 0, done.stderr
    rounded = cast.float()
    assert_same(p2m.load(package)(inputs()), run_torch(rounded, inputs()), 1e-4)


def test_what_is_missing_or_of_another_size_is_named(
    package: Path, tuned: torch.nn.Module, tmp_path: Path
) -> None:
    before = (package / "model.safetensors").read_bytes()
    file = checkpoint(tuned, tmp_path / "a.safetensors", leave_out=("conv.bias",))
    done = run_script(package, file, plugins=tmp_path / "env", blocked=NOT_NEEDED)
    assert done.returncode != 0
    assert "conv.bias" in done.stderr
    other = twin(tuned)
    other.scale = torch.nn.Parameter(torch.ones(7))
    file = checkpoint(other, tmp_path / "b.safetensors")
    done = run_script(package, file, plugins=tmp_path / "env", blocked=NOT_NEEDED)
    assert done.returncode != 0
    assert "scale" in done.stderr
    assert (package / "model.safetensors").read_bytes() == before


def test_a_transformers_checkpoint(tmp_path: Path) -> None:
    """Linear layers stored the other way round, a tied head."""
    golden = MODELS["gpt2"]
    module = golden.module()
    example = golden.example()
    converted = p2m.convert(module, (), example, dynamic_shapes=None, output=tmp_path / "gpt2")
    tuned = perturbed(copy.deepcopy(module), seed=9)
    tuned.save_pretrained(tmp_path / "hf")
    file = tmp_path / "hf" / "model.safetensors"
    done = run_script(converted.path, file, plugins=tmp_path / "env", blocked=NOT_NEEDED)
    assert done.returncode == 0, done.stderr
    assert_same(p2m.load(tmp_path / "gpt2")(**example), run_torch(tuned, **example))
    assert json.loads((tmp_path / "gpt2" / "config.json").read_text())["class"] == "GPT2LMHeadModel"


class Blend(torch.nn.Module):
    """A weight is only used together with a tensor that no checkpoint holds."""

    window: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        self.register_buffer("window", torch.tensor([0.5, 1.0, 0.5]), persistent=False)
        self.register_buffer("steps", torch.arange(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (self.gain * self.window) + self.steps * self.window


def test_weights_that_meet_constants(tmp_path: Path) -> None:
    x = torch.tensor([[1.0, -2.0, 0.5], [3.0, 1.0, 2.0]])
    package = p2m.convert(Blend(), (x,), dynamic_shapes=None, output=tmp_path / "p").path
    tuned = perturbed(Blend(), seed=3)
    file = checkpoint(tuned, tmp_path / "tuned.safetensors")
    done = run_script(package, file, plugins=tmp_path / "env", blocked=NOT_NEEDED)
    assert done.returncode == 0, done.stderr
    assert_same(p2m.load(package)(x), run_torch(tuned, x))
