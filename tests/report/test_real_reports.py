"""Reports of real conversions, proofs and timings against the schema and the documentation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import pytorch_to_mlx as p2m
from tests.report.strict import closed_schema

torch.set_num_threads(1)
DOCS = Path(__file__).parents[2] / "docs" / "report-schema.md"


class Net(nn.Module):
    """Every kind of tensor: used, zero, inert, and written into the code."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 3)
        self.zero, self.unused = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.fc2(torch.tanh(self.fc1(x)))
        return {"y": y + y * self.zero + 0 * self.unused, "best": y.argmax(-1)}


class Noisy(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + torch.rand_like(x), 2 * x


def convert(module: nn.Module, **options: Any) -> p2m.Converted:
    torch.manual_seed(0)
    return p2m.convert(module.eval(), (torch.randn(2, 4),), **options)


def proven() -> p2m.Converted:
    converted = convert(Net())
    p2m.validate(converted)
    p2m.benchmark(converted, min_time_s=0.01, batch_sizes=(1,))
    return converted


def failed() -> p2m.Converted:
    converted = convert(Net())
    path = converted.path / "model.py"
    path.write_text(path.read_text().replace("self.fc1(x)", "self.fc1(1.1 * x)"))
    converted.package.reload()
    p2m.validate(converted)
    return converted


def weight_failed() -> p2m.Converted:
    converted = convert(Net())
    path = converted.path / "model.py"
    code = re.sub(r"self\.zero(?! =)", "mx.zeros_like(self.zero)", path.read_text())
    path.write_text(code)
    converted.package.reload()
    p2m.validate(converted)
    return converted


def half() -> p2m.Converted:
    converted = convert(Net(), dtype="bfloat16")
    p2m.validate(converted, budget=0)
    return converted


def random() -> p2m.Converted:
    converted = convert(Noisy())
    p2m.validate(converted)
    return converted


BITS = {"bits_per_weight": 9.0}


def quantized() -> p2m.Converted:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3)).eval()
    converted = p2m.convert(module, (torch.randn(2, 64),), quantize="auto", quantize_options=BITS)
    p2m.validate(converted, budget=0)
    return converted


KINDS = (proven, failed, weight_failed, half, random, quantized)


@pytest.fixture(scope="module")
def reports() -> dict[str, dict[str, Any]]:
    found = {}
    for make in KINDS:
        converted = make()
        text = (converted.path / "report.json").read_text(encoding="utf-8")
        found[make.__name__] = json.loads(text)
    return found


@pytest.mark.parametrize("kind", [make.__name__ for make in KINDS])
def test_the_schema_names_every_field(kind: str, reports: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(reports[kind], closed_schema())


def test_the_kinds_are_what_they_say(reports: dict[str, Any]) -> None:
    verdicts = {k: r["validation"]["verdict"] for k, r in reports.items()}
    assert [k for k, v in verdicts.items() if v == "failed"] == ["failed", "weight_failed"]
    assert reports["proven"]["benchmark"]["rows"]
    assert reports["failed"]["validation"]["bisect"]["stage"] == "codegen"
    assert reports["weight_failed"]["validation"]["perturbation"]["strengths"]
    assert reports["half"]["validation"]["budget"]["left_out"]
    assert reports["quantized"]["validation"]["quantization"]["outputs"]
    assert len(reports["quantized"]["quantization"]["left"]) == 1
    assert reports["random"]["validation"]["random_ops"]["outputs"] == ["0"]


def test_what_a_random_model_was_not_put_through_is_said(reports: dict[str, Any]) -> None:
    validation = reports["random"]["validation"]
    assert "perturbation" not in validation
    (note,) = [n for n in validation["notes"] if "random outputs (0)" in n]
    assert "weights were not changed" in note
    assert "modules not compared" in note


def test_every_field_of_a_proof_is_documented(reports: dict[str, Any]) -> None:
    """docs/report-schema.md names each field of validation and benchmark."""
    words = set(re.findall(r"\w+", DOCS.read_text(encoding="utf-8")))
    schema = closed_schema()["$defs"]
    fields = {
        f for name in ("validation", "benchmark", "case", "output") for f in names(schema[name])
    }
    assert sorted(fields - words) == []


def names(schema: Any) -> Iterator[str]:
    """Every property of a schema, nested ones too."""
    if isinstance(schema, list):
        for item in schema:
            yield from names(item)
    elif isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for value in schema.values():
            yield from names(value)
