"""A fixed sample of tiny architectures, each to pass; the whole record; and the judge itself."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import pytorch_to_mlx as p2m
from tests.conformance.architectures.case import (
    KINDS,
    Architecture,
    Case,
    architecture,
    architectures,
    ids,
    randomise,
)
from tests.conformance.architectures.judge import judge

torch.set_num_threads(1)

RECORD = Path(__file__).resolve().parents[2] / "docs" / "architectures.json"
SAMPLED = {"text": 2, "vision": 2, "audio": 1, "multimodal": 1, "experts": 2}


def record() -> dict[str, Any]:
    return dict(json.loads(RECORD.read_text(encoding="utf-8")))


def sample() -> list[str]:
    """Of each kind those with the shortest code among what the record says passes."""
    found = record()
    names = []
    for kind, count in SAMPLED.items():
        good = [n for n, r in found.items() if r["kind"] == kind and r["verdict"] == "pass"]
        names += sorted(good, key=lambda n: (found[n]["lines"], n))[:count]
    return names


@pytest.mark.parametrize("name", sample())
def test_architecture_still_passes(name: str) -> None:
    assert judge(architectures()[name])["verdict"] == "pass"


def test_record_knows_every_architecture() -> None:
    assert set(record()) == set(architectures())


def test_no_family_counts_twice() -> None:
    counts = Counter(r["family"] for r in record().values())
    assert max(counts.values()) == 1, counts.most_common(3)


# -- the judge ------------------------------------------------------------------------------------


class Counting(nn.Module):
    """Tokens to vectors, and how many there are."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(99, 8)
        self.norm = nn.LayerNorm(8)

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        h = self.norm(self.embedding(input_ids))
        return {"states": h, "count": (input_ids > 50).sum(1)}


class Other(Counting):
    """Wrong in one way, chosen by name."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        h = self.norm(self.embedding(input_ids))
        count = (input_ids > 50).sum(1)
        if self.fault == "value":
            h = h + 1e-3
        if self.fault == "other sizes":
            h = h * (1 + (input_ids.shape[1] - 11) ** 2 * 1e-2)
        if self.fault == "integer":
            count = (input_ids > 51).sum(1)
        if self.fault == "dtype":
            count = count.to(torch.int32)
        if self.fault == "shape":
            count = count[:, None]
        if self.fault == "infinite":
            h = torch.where(input_ids[..., None] == 60, torch.inf, h)
        outputs = {"states": h, "count": count}
        if self.fault == "more":
            outputs["extra"] = h
        if self.fault == "fewer":
            del outputs["count"]
        return outputs


def registered(module: nn.Module, **options: Any) -> Architecture:
    sizes = {"batch": 3, "length": 11}
    return Architecture(
        "tiny", "text", lambda: Case(module, **{"inputs": ids, "sizes": sizes, **options})
    )


def wrongly(fault: str) -> Callable[..., Any]:
    """A conversion of another model than the one given."""

    def convert(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        other = Other(fault).eval()
        other.load_state_dict(module.state_dict())
        return p2m.convert(other, *args, **kwargs)

    return convert


def test_a_right_conversion_passes() -> None:
    found = judge(registered(Counting()))
    assert found["verdict"] == "pass"
    assert found["dynamic"] == ["input_ids:0", "input_ids:1"]
    assert found["parameters"] == 99 * 8 + 16
    assert [s for s in found["sizes"] if s["length"] == 1] == [{"batch": 3, "length": 1}]
    assert len(found["sizes"]) == 1 + 3 + 3 + 1


@pytest.mark.parametrize(
    "fault, words",
    [
        ("value", "states: off by"),
        ("other sizes", "length 1: states: off by"),
        ("integer", "count: values differ"),
        ("dtype", "count: dtype"),
        ("shape", "count: (3, 1), expected"),
        ("infinite", "non-finite"),
        ("more", "outputs states, count, extra instead of states, count"),
        ("fewer", "outputs states instead of states, count"),
    ],
)
def test_a_wrong_conversion_fails(fault: str, words: str) -> None:
    assert words in judge(registered(Counting()), wrongly(fault))["verdict"]


def test_a_frozen_dim_fails() -> None:
    def static(module: nn.Module, args: Any, kwargs: Any) -> Any:
        return p2m.convert(module, args, kwargs, dynamic_shapes=None)

    verdict = judge(registered(Counting()), static)["verdict"]
    assert verdict.startswith("input_ids:0 was frozen")


def test_what_a_conversion_raises_is_the_verdict() -> None:
    def refuse(*_: Any) -> Any:
        raise p2m.errors.CaptureError("it is\nrefused")

    assert judge(registered(Counting()), refuse)["verdict"].startswith(
        "CaptureError: it is refused"
    )


class Shifted(Counting):
    """Ignores its input."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.norm(self.embedding(input_ids * 0))


class Picky(Counting):
    """Takes one length only."""

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        if input_ids.shape[1] != 11:
            raise ValueError("eleven!")
        return super().forward(input_ids)


@pytest.mark.parametrize(
    "case, words",
    [
        (registered(Shifted()), "hardly depend on"),
        (registered(Picky()), "takes only [] as other sizes of length"),
        (
            registered(Counting(), inputs=lambda batch: ids(batch, 11), sizes={"batch": 3}),
            "says nothing of input_ids:1",
        ),
        (registered(Counting(), fixed={"input_ids:1": "why not"}), "says wrongly that input_ids:1"),
    ],
)
def test_a_case_that_proves_little_fails(case: Architecture, words: str) -> None:
    assert words in judge(case)["verdict"]


def test_names_are_taken_once_and_kinds_are_known() -> None:
    def llama() -> Case:
        raise AssertionError

    assert "llama" in architectures()
    for kind in (KINDS[0], "poetry"):
        with pytest.raises(ValueError, match="llama"):
            architecture(kind)(llama)


def test_every_weight_is_drawn() -> None:
    """Zeros and ones of the library's own initialisation are gone; equal calls draw equally."""
    module = nn.Sequential(nn.Conv1d(3, 4, 5), nn.BatchNorm1d(4), nn.LayerNorm(4))
    module.register_parameter("scale", nn.Parameter(torch.tensor(2.5)))
    before = copy.deepcopy(module)
    randomise(module)
    for (name, a), b in zip(module.state_dict().items(), before.state_dict().values(), strict=True):
        assert name.endswith("num_batches_tracked") or not bool((a == b).any()), name
    assert abs(float(module.scale.detach()) - 2.5) < 1
    randomise(before)
    assert all(map(torch.equal, module.state_dict().values(), before.state_dict().values()))


class Long(Counting):
    """Beyond eight tokens it counts twice."""

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs = super().forward(input_ids)
        if input_ids.shape[1] > 8:
            outputs["count"] = outputs["count"] * 2
        return outputs


def test_a_limited_size_needs_its_reason() -> None:
    why = {"length": "longer texts are counted twice"}
    assert judge(registered(Long(), limited=why))["verdict"] == "pass"
    assert "the package refuses" in judge(registered(Long()))["verdict"]
    assert (
        "says wrongly that length is limited"
        in judge(registered(Counting(), limited=why))["verdict"]
    )
