"""A proof with little time: what must be compared still is, and the rest is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.validate.budget import Budget
from pytorch_to_mlx.validate.perturb import probed, shared
from pytorch_to_mlx.validate.run import validate

from .models import make
from .test_validate import spoil

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def block() -> p2m.Converted:
    return p2m.convert(*make("block"))


def test_a_small_model_runs_everything(block: p2m.Converted) -> None:
    report = validate(block)
    assert report.passed
    assert report.budget is not None
    assert report.budget["seconds"] == 300
    assert report.budget["left_out"] == []
    assert report.perturbation is not None
    assert report.perturbation["left_out"] == []
    assert report.perturbation["changes"] == report.perturbation["checked"]
    assert "left out" not in report.summary()


def test_without_time_what_must_be_compared_is(block: p2m.Converted) -> None:
    report = validate(block, budget=0)
    assert report.passed
    assert report.budget is not None
    sizes = block.config["dims"]["symbols"]
    assert len(sizes) == 2
    names = [c.name for c in report.cases]
    assert names[:2] == ["given inputs", "random inputs"]
    assert [any(s in n for n in names[2:]) for s in sizes] == [True, True]
    assert {c.sizes[s] for c in report.cases for s in sizes} >= {1}
    assert len(names) == 4
    left_out = report.budget["left_out"]
    assert "edge: zeros" in left_out
    assert "modules one by one" in left_out
    assert report.budget["planned"] == len(names) + len(left_out)
    moved = report.perturbation
    assert moved is not None
    assert moved["changes"] == 3
    assert moved["checked"] == moved["of"] - len(moved["written_out"])  # together, none left out
    total = report.budget["planned"]
    assert f"{len(left_out)} of {total} comparisons left out: 0 s budget" in report.summary()


def test_a_weight_lost_among_others_is_named() -> None:
    """Many tensors change at once; the one that the package lost is found by halves."""
    model, inputs = make("mlp")
    converted = p2m.convert(model, inputs)
    spoil(converted, lambda code: code.replace("self.gate(", "self._gate("))
    spoil(
        converted,
        lambda code: (
            code
            + "\n\ndef _gate(self, x):\n    return x @ self.gate.weight.T\n\n\nMlp._gate = _gate\n"
        ),
    )
    report = validate(converted, budget=0)
    assert report.perturbation is not None
    assert all(c.ok for c in report.cases)
    assert report.perturbation["failed"] == ["gate.bias"]
    assert not report.passed


def test_the_original_runs_once_a_case(
    block: p2m.Converted, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytorch_to_mlx.validate.subject import Subject

    seen: list[Any] = []
    real = Subject.run_source

    def counted(self: Subject, calls: Any, dtype: str | None = None, seed: int = 0) -> Any:
        seen.append((dtype, {k: v.tobytes() for k, v in calls[0].items()}))
        return real(self, calls, dtype, seed)

    monkeypatch.setattr(Subject, "run_source", counted)
    report = validate(block)
    changes = (report.perturbation or {})["changes"]
    again = [s for i, s in enumerate(seen) if s in seen[:i]]
    assert len(again) <= changes + 4  # changed weights only: some twice, at another strength
    edge_free = [s for s in seen if s[0] is None]
    assert len(edge_free) >= len(report.cases)


def test_groups_are_shared_evenly() -> None:
    groups = [[str(i)] for i in range(10)]
    assert shared(groups, 10) == groups
    few = shared(groups, 3)
    assert [len(g) for g in few] == [4, 3, 3]
    assert sorted(p for g in few for p in g) == sorted(p for g in groups for p in g)
    assert few[0] == ["0", "3", "6", "9"]


def test_the_clock() -> None:
    now = [0.0]
    budget = Budget(10.0, clock=lambda: now[0])
    assert budget.take("a", 9.0)
    now[0] = 5.0
    assert budget.part(0.5).left == 2.5
    assert not budget.take("b", 6.0)
    assert budget.take("c", 6.0, required=True)
    now[0] = 20.0
    assert budget.left == -10.0
    assert budget.to_dict() == {"seconds": 10.0, "planned": 3, "left_out": ["b"]}
    with pytest.raises(InputError):
        Budget(-1.0)


def test_halves() -> None:
    """Of several that are lost, each is named."""
    import numpy as np

    from pytorch_to_mlx.validate import perturb

    bad = {"b", "g"}

    def judged(probe: Any, paths: list[str], rng: Any) -> perturb.Outcome:
        reason = "lost" if bad & set(paths) else None
        return perturb.Outcome(paths, reason=reason, cosine=1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perturb, "_strong_enough", judged)
        outcomes = probed(None, list("abcdefg"), np.random.default_rng(0))  # type: ignore[arg-type]
    assert [o.paths for o in outcomes if o.reason] == [["b"], ["g"]]
    assert sorted(p for o in outcomes for p in o.paths) == list("abcdefg")
