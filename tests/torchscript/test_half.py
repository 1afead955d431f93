"""Models whose own code casts to half precision are proven like models in half precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pytorch_to_mlx as p2m
from tests.torchscript.helpers import scripted, traced


class HalfCasts(nn.Module):
    """A float32 model that computes its scores in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.scores(x).to(torch.bfloat16)
        return y.cumsum(0) + torch.ones(8, dtype=torch.bfloat16)


class FloatCasts(nn.Module):
    """A model in half precision that computes a softmax in float32, and casts back by name."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = F.softmax(self.first(x).float(), dim=-1).to(torch.bfloat16)
        return self.second(weights)


def source(how: str, module: nn.Module, x: torch.Tensor) -> nn.Module:
    if how == "script":
        return scripted(module)
    return traced(module, x) if how == "trace" else module.eval()


@pytest.mark.parametrize("how", ["script", "trace", "eager"])
def test_casts_to_half_in_a_float32_model(how: str):
    torch.manual_seed(0)
    x = torch.randn(3, 8)
    converted = p2m.convert(source(how, HalfCasts(), x), (x,))
    assert converted.config["dtype"] == "float32"
    assert converted.config["precision"] == "bfloat16"
    report = p2m.validate(converted, quick=how != "script")
    assert report.passed, report.summary()
    assert report.low_precision["dtype"] == "bfloat16"
    # bfloat16 has 8 bits: a step of it is 4e-3 of a value, and the sum over rows adds some up.
    assert converted.config["golden"]["tolerance"] > 1e-2


@pytest.mark.parametrize("how", ["script", "trace", "eager"])
def test_casts_back_to_half_by_name(how: str):
    torch.manual_seed(0)
    x = torch.randn(3, 8).bfloat16()
    converted = p2m.convert(source(how, FloatCasts().bfloat16(), x), (x,))
    report = p2m.validate(converted, quick=how != "script")
    assert report.passed, report.summary()


def test_a_wrong_package_in_mixed_precision_is_found(tmp_path):
    torch.manual_seed(0)
    script = scripted(HalfCasts())
    converted = p2m.convert(script, (torch.randn(3, 8),), output=tmp_path / "out")
    model = tmp_path / "out" / "model.py"
    text = model.read_text()
    assert "mx.cumsum(" in text
    model.write_text(text.replace("mx.cumsum(", "1.5 * mx.cumsum("))
    again = p2m.load(converted.path)
    report = p2m.validate(again, script, quick=True)
    assert not report.passed
