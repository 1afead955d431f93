"""benchmark_package: a converted model against its source, batch sizes, state, wrong outputs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.benchmark.package import benchmark_package
from pytorch_to_mlx.converted import Converted
from pytorch_to_mlx.errors import InputError, ValidationError

torch.set_num_threads(1)
QUICK: Any = {"min_time_s": 0.002}


class Head(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Linear(8, 16)
        self.second = torch.nn.Linear(16, 4)

    def forward(
        self, x: torch.Tensor, gain: dict[str, torch.Tensor], flag: bool = True
    ) -> dict[str, torch.Tensor]:
        hidden = torch.relu(self.first(x)) * gain["scale"]
        return {"logits": self.second(hidden), "hidden": hidden if flag else -hidden}


class Counter(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.total += x.sum(0)
        return self.total * 2


class Square(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ x.T + x


@dataclass
class Pair:
    ids: torch.Tensor
    weight: torch.Tensor


class Picker(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.table = torch.nn.Embedding(10, 6)

    def forward(self, pair: Pair, *more: torch.Tensor) -> torch.Tensor:
        return self.table(pair.ids) * pair.weight[..., None] + more[0]


def head_inputs(batch: int = 3) -> tuple[Any, ...]:
    torch.manual_seed(2)
    return torch.randn(batch, 8), {"scale": torch.rand(16)}


def head_factory() -> tuple[Any, ...]:
    return Head(), head_inputs()


@pytest.fixture(scope="module")
def head() -> Converted:
    return p2m.convert(Head(), head_inputs())


def names(section: dict[str, Any]) -> set[str]:
    return {row["name"] for row in section["rows"]}


def test_a_fresh_conversion_is_timed_against_its_source_over_batch_sizes(head: Converted) -> None:
    told: list[tuple[str, int, int]] = []
    section = benchmark_package(head, **QUICK, progress=lambda *now: told.append(now))
    assert names(section) >= {"torch eager", "mlx eager"}
    assert {row["batch"] for row in section["rows"]} == {1, 2, 4, 8}
    assert section["rows"][0]["sizes"] == {"x": [1, 8], "gain.scale": [16]}
    assert section["flops"] == 2 * 3 * (8 * 16 + 16 * 4)
    torch_rows = [row for row in section["rows"] if row["name"] == "torch eager"]
    assert all("load_ms" not in row and row["peak_memory_bytes"] for row in torch_rows)
    assert told[0] == ("benchmark", 0, 100)
    assert told[-1] == ("benchmark", 100, 100)


def test_the_section_is_in_the_written_report(head: Converted) -> None:
    section = benchmark_package(head, **QUICK, batch_sizes=[2])
    written = json.loads((head.path / "report.json").read_text())
    assert written["benchmark"]["rows"][0]["median_ms"] == section["rows"][0]["median_ms"]
    assert "## Speed" in (head.path / "README.md").read_text()


def test_a_loaded_package_is_timed_alone_or_with_a_source(head: Converted, tmp_path: Path) -> None:
    package = p2m.load(head.save(tmp_path / "head_mlx"))
    assert names(benchmark_package(package, **QUICK, batch_sizes=[1])) <= {
        "mlx eager",
        "mlx compiled",
    }
    section = benchmark_package(package, Head(), **QUICK, batch_sizes=[1])
    assert "torch eager" in names(section)
    exported = torch.export.export(Head().eval(), head_inputs())
    assert "torch eager" in names(benchmark_package(package, exported, **QUICK))


def test_a_source_that_is_opened_by_name_has_a_load_time(head: Converted, tmp_path: Path) -> None:
    package = p2m.load(head.save(tmp_path / "head_mlx"))
    section = benchmark_package(package, f"{__file__}:head_factory", **QUICK, batch_sizes=[1])
    rows = [row for row in section["rows"] if row["name"] == "torch eager"]
    assert rows[0]["load_ms"] > 0


def test_another_model_of_the_same_shape_is_no_benchmark(head: Converted) -> None:
    other = Head()
    with torch.no_grad():
        other.second.weight.mul_(1.5)
    with pytest.raises(ValidationError, match="logits"):
        benchmark_package(head, other, **QUICK)


def test_given_inputs_replace_the_examples(head: Converted) -> None:
    x, gain = np.ones((5, 8), np.float32), {"scale": np.ones(16, np.float32)}
    section = benchmark_package(head, args=(x,), kwargs={"gain": gain}, batch_sizes=[5], **QUICK)
    assert section["rows"][0]["sizes"]["x"] == [5, 8]


def test_state_advances_in_step_and_the_source_is_left_as_it_was() -> None:
    module = Counter()
    section = benchmark_package(p2m.convert(module, (torch.ones(2, 3),)), **QUICK, batch_sizes=[2])
    assert names(section) == {"torch eager", "mlx eager"}
    assert torch.equal(module.total, torch.zeros(3))


def test_a_dim_that_stands_elsewhere_too_is_no_batch() -> None:
    converted = p2m.convert(Square(), (torch.randn(4, 4),))
    section = benchmark_package(converted, **QUICK)
    assert {row["batch"] for row in section["rows"]} == {None}
    with pytest.raises(InputError, match="dim 0"):
        benchmark_package(converted, batch_sizes=[1, 2], **QUICK)


def test_dataclass_inputs_spread_arguments_and_token_ids() -> None:
    pair = Pair(torch.randint(0, 10, (2, 5)), torch.rand(2, 5))
    args = (pair, torch.rand(2, 5, 6))
    section = benchmark_package(p2m.convert(Picker(), args), **QUICK, batch_sizes=[2, 3])
    assert "torch eager" in names(section)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_runs_on_both_sides(dtype: str) -> None:
    converted = p2m.convert(Head(), head_inputs(), dtype=dtype)
    section = benchmark_package(converted, **QUICK, batch_sizes=[2])
    assert section["dtype"] == dtype
    assert mx.float32 not in {value.dtype for value in converted.module.first.parameters().values()}


def test_a_loaded_half_package_against_a_float32_source(tmp_path: Path) -> None:
    folder = p2m.convert(Head(), head_inputs(), dtype="bfloat16").save(tmp_path / "half_mlx")
    source = Head()
    section = benchmark_package(p2m.load(folder), source, **QUICK, batch_sizes=[2])
    assert "torch eager" in names(section)
    assert source.first.weight.dtype is torch.float32


class OwnHalf(torch.nn.Module):
    """float32 weights and inputs, and a step in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Linear(8, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.first(x).to(torch.bfloat16)).float()


def test_a_step_in_half_precision_takes_inputs_as_they_are() -> None:
    converted = p2m.convert(OwnHalf(), (torch.randn(3, 8),))
    section = benchmark_package(converted, **QUICK)
    assert {"torch eager", "mlx eager"} <= {row["name"] for row in section["rows"]}
