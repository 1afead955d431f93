"""Exported programs in another precision: the calls' dtypes change with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import pytorch_to_mlx as p2m
from pytorch_to_mlx.capture.export import capture_module
from pytorch_to_mlx.capture.recast import main_dtype, widened

torch.set_num_threads(1)
B = torch.export.Dim("b", min=1, max=64)


class Norm(nn.Module):
    """An RMS norm that computes in float32, whatever its input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(8) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * wide.to(x.dtype)


class Net(nn.Module):
    """Casts to a weight's dtype, constants made in it, a buffer, tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.norm = Norm()
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("offset", torch.randn(8))

    def forward(self, ids: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        h = self.embed(ids) + x.to(self.embed.weight.dtype)
        h = h + torch.arange(8, dtype=h.dtype) * 0.01 + self.offset
        return self.head(self.norm(h))


def program(dtype: torch.dtype) -> tuple[Any, Any]:
    torch.manual_seed(0)
    module = Net().eval().to(dtype)
    args = (torch.randint(0, 11, (3, 5)), torch.randn(3, 5, 8).to(dtype))
    shapes = {"ids": {0: B}, "x": {0: B}}
    return torch.export.export(module, args, dynamic_shapes=shapes, strict=False), module


CHANGES = [
    ("float32", "float16"),
    ("float32", "bfloat16"),
    ("bfloat16", "float32"),
    ("bfloat16", "float16"),
    ("float64", "float32"),
    ("float64", "float16"),
]


@pytest.mark.parametrize("stored, wanted", CHANGES)
def test_a_program_is_converted_and_proven_in_another_dtype(stored: str, wanted: str) -> None:
    exported, module = program(getattr(torch, stored))
    converted = p2m.convert(exported, dtype=wanted)
    assert converted.config["dtype"] == wanted
    assert {i["dtype"] for i in converted.config["inputs"]} & {wanted}
    assert converted.config["outputs"][0]["dtype"] == wanted
    assert set(converted.module.parameters()) == {"embed", "norm", "offset"}  # not flattened
    report = p2m.validate(converted, quick=wanted != "float32")
    assert report.passed, report.summary()
    with torch.no_grad():
        want = module(*exported.example_inputs[0]).double()
    got = converted(*exported.example_inputs[0])
    assert list(got.shape) == list(want.shape)
    error = (torch.tensor(got.astype(p2m_float32()).tolist()).double() - want).abs().max()
    assert error < (0.06 if "16" in stored + wanted else 1e-4) * want.abs().max()
    # The program that was given is as it was.
    assert main_dtype(exported) is getattr(torch, stored)
    exported.module()(*exported.example_inputs[0])


def p2m_float32() -> Any:
    import mlx.core as mx

    return mx.float32


def test_a_saved_program(tmp_path: Path) -> None:
    exported, _ = program(torch.bfloat16)
    torch.export.save(exported, tmp_path / "net.pt2")
    converted = p2m.convert(tmp_path / "net.pt2", dtype="float32", output=tmp_path / "out")
    report = p2m.validate(converted, quick=True)
    assert report.passed, report.summary()
    assert converted.config["dtype"] == "float32"
    for source in (tmp_path / "net.pt2", exported):  # both in bfloat16, compared in float32
        again = p2m.validate(p2m.load(tmp_path / "out"), source, quick=True)
        assert again.passed, again.summary()


def test_the_module_of_a_program_can_be_converted() -> None:
    exported, _ = program(torch.float32)
    converted = p2m.convert(exported.module(), exported.example_inputs[0])
    assert p2m.validate(converted, quick=True).passed


def test_steps_that_a_program_cannot_keep_wide_are_said() -> None:
    exported, _ = program(torch.float32)
    narrow = p2m.convert(exported, dtype="bfloat16")
    assert any("must stay float32" in w for w in narrow.report["warnings"])
    wide, _ = program(torch.bfloat16)
    converted = p2m.convert(wide, dtype="float16")
    assert not any("must stay" in w for w in converted.report["warnings"])
    assert "nn.RMSNorm" in converted.code or "mx.fast.rms_norm" in converted.code


def test_the_wide_form_shares_its_weights_with_the_original() -> None:
    """One float32 copy of the weights: what the reference uses is what a change is made to."""
    _, module = program(torch.bfloat16)
    args = (torch.randint(0, 11, (3, 5)), torch.randn(3, 5, 8).bfloat16())
    captured = capture_module(module, args, {})
    wide = widened(captured)
    assert {t.dtype for t in wide.tensors.values()} == {torch.float32}
    assert {t.dtype for t in captured.tensors.values()} == {torch.bfloat16}
    before = wide.reference()()[0]
    assert before.dtype == "float32"
    with torch.no_grad():
        wide.tensors["norm.weight"].mul_(2.0)
    after = wide.reference()()[0]
    assert abs(after.array / before.array - 2).max() < 1e-5
    assert module.norm.weight.dtype is torch.bfloat16
    assert captured.reference()()[0].dtype == "bfloat16"


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) + torch.linspace(0, 1, 3, dtype=torch.float64)


@pytest.mark.parametrize("as_program", [False, True])
def test_float64_models_are_proven_as_float32(as_program: bool) -> None:
    torch.manual_seed(0)
    module, x = Wide().eval(), torch.randn(2, 4, dtype=torch.float64)
    source = torch.export.export(module, (x,)) if as_program else module
    converted = p2m.convert(source, () if as_program else (x,))
    assert converted.config["dtype"] == "float32"
    assert any("float64 becomes float32" in w for w in converted.report["warnings"])
    report = p2m.validate(converted)
    assert report.passed, report.summary()
