"""Whole proofs of small models, sound and spoilt."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import pytorch_to_mlx as p2m
from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.validate.run import validate

torch.set_num_threads(1)


class Two(nn.Module):
    """Two named outputs, one of them integers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.fc(x)
        return {"y": y, "best": y.argmax(-1)}


class Counter(nn.Module):
    """State that every call changes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.register_buffer("h", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.h.copy_(torch.tanh(self.fc(x).mean(0) + self.h))
        return x + self.h


class Noise(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + torch.rand_like(x), 2 * x


class Hidden(nn.Module):
    """A branch that contributes nothing yet, and a weight that never does."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.scale = nn.Parameter(torch.zeros(3))
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.fc(x) * self.scale + 0 * self.unused


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(torch.tanh(self.fc1(x.to(self.fc1.weight.dtype))))


def convert(module: nn.Module, *args: Any, **options: Any) -> p2m.Converted:
    torch.manual_seed(0)
    for p in module.parameters():
        if p.any() and not (p == 1).all():
            nn.init.normal_(p)
    return p2m.convert(module.eval(), args, **options)


def spoil(converted: p2m.Converted, change: Callable[[str], str]) -> None:
    """Edits ``model.py`` of a package."""
    path = converted.path / "model.py"
    before = path.read_text()
    after = change(before)
    assert after != before
    path.write_text(after)
    converted.package.reload()


X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


def test_dict_outputs_are_proven_and_reported() -> None:
    converted = convert(Two(), X)
    stages: list[str] = []
    report = validate(converted, progress=lambda stage, done, total: stages.append(stage))
    assert report.passed
    names = {c.name.partition(" ")[0] for c in report.cases}
    assert {"given", "random", "sizes", "edge:"} <= names
    assert {o.name for o in report.cases[0].outputs} == {"y", "best"}
    sizes = {c.sizes[s] for c in report.cases for s in c.sizes}
    assert 1 in sizes
    assert len(sizes) >= 3
    assert {row["path"] for row in report.layers or []} == {"fc"}
    assert report.perturbation is not None
    assert report.perturbation["checked"] == 2
    assert "validate" in stages
    written = json.loads((converted.path / "report.json").read_text())
    assert written["validation"]["verdict"] == "proven"
    assert "proven" in report.summary()


def test_the_section_fits_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(p2m.__file__).parent / "report" / "schema.json").read_text())
    converted = convert(Two(), X)
    validate(converted)
    jsonschema.validate(json.loads((converted.path / "report.json").read_text()), schema)


def test_missing_output_fails() -> None:
    converted = convert(Two(), X)
    spoil(converted, lambda code: re.sub(r'"best": ', '"other": ', code))
    report = validate(converted)
    assert not report.passed
    assert "best" in report.summary()


def test_wrong_code_is_told_from_wrong_conversion() -> None:
    converted = convert(Two(), X)
    spoil(converted, lambda code: code.replace("self.fc(x)", "self.fc(x) * 1.01"))
    report = validate(converted)
    assert not report.passed
    assert report.bisect is not None
    assert report.bisect["stage"] == "codegen"


def test_wrong_weight_is_named() -> None:
    converted = convert(Two(), X)
    weights = converted.module.fc
    weights.bias = weights.bias + 0.1
    report = validate(converted)
    assert not report.passed
    assert report.bisect is not None
    assert report.bisect["stage"] == "weights"
    assert "fc.bias" in report.bisect["reason"]


def test_nan_on_one_side_fails() -> None:
    converted = convert(Two(), X)
    spoil(converted, lambda code: code.replace("self.fc(x)", "mx.log(self.fc(x) * 0 - 1)"))
    report = validate(converted)
    assert not report.passed
    assert "NaN" in report.summary()


def test_code_that_raises_fails() -> None:
    converted = convert(Two(), X)
    spoil(converted, lambda code: code.replace("self.fc(x)", "self.fc(x, x)"))
    report = validate(converted)
    assert not report.passed
    assert "the package failed" in report.summary()


def test_state_is_compared_over_calls() -> None:
    converted = convert(Counter(), X)
    report = validate(converted)
    assert report.passed, report.summary()
    assert [o.name for o in report.cases[0].outputs] == [
        "output (call 1)",
        "output (call 2)",
        "output (call 3)",
    ]
    again = validate(converted)
    assert again.to_dict() == report.to_dict()


def test_forgotten_state_fails() -> None:
    converted = convert(Counter(), X)
    spoil(
        converted,
        lambda code: re.sub(r"^( +self\.h = )(?!mx.zeros).*$", r"\1self.h", code, flags=re.M),
    )
    report = validate(converted)
    assert not report.passed
    first, second, _ = report.cases[0].outputs
    assert not second.ok or not first.ok


def test_random_outputs_by_distribution_others_exactly() -> None:
    converted = convert(Noise(), X)
    report = validate(converted)
    assert report.passed, report.summary()
    assert report.random_ops is not None
    assert report.random_ops["outputs"] == ["0"]
    assert any(o.name == "1" and o.max_abs == 0 for o in report.cases[1].outputs)


def test_another_distribution_fails() -> None:
    converted = convert(Noise(), X)
    spoil(converted, lambda code: code.replace("mx.random.uniform", "mx.random.normal"))
    report = validate(converted)
    assert not report.passed
    assert report.random_ops is not None
    assert report.random_ops["failed"] == ["0"]


def test_hidden_branch_is_seen_and_inert_weights_are_listed() -> None:
    converted = convert(Hidden(), X)
    report = validate(converted)
    assert report.passed, report.summary()
    assert report.perturbation is not None
    assert "unused" in report.perturbation["inert"]
    assert "scale" not in report.perturbation["inert"]


def test_a_lost_hidden_branch_fails() -> None:
    converted = convert(Hidden(), X)
    spoil(converted, lambda code: code.replace("* self.scale", "* mx.zeros_like(self.scale)"))
    report = validate(converted)
    assert all(c.ok for c in report.cases)
    assert report.perturbation is not None
    assert "scale" in report.perturbation["failed"]
    assert not report.passed


def test_weights_come_back_after_changes() -> None:
    module = Hidden()
    converted = convert(module, X)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    validate(converted)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("with_source", [True, False])
def test_low_precision(dtype: str, with_source: bool) -> None:
    module = Half()
    converted = convert(module, torch.randn(3, 8), dtype=dtype)
    report = validate(converted, module if with_source else None)
    assert report.passed, report.summary()
    assert report.low_precision is not None
    assert report.low_precision["dtype"] == dtype
    names = [c.name for c in report.cases]
    assert any(n.startswith("float32: ") for n in names)
    assert any(n.startswith(f"{dtype}: ") for n in names)


def test_low_precision_worse_than_torch_fails() -> None:
    module = Half()
    converted = convert(module, torch.randn(3, 8), dtype="float16")
    spoil(converted, lambda code: code.replace("self.fc2(", "1.02 * self.fc2("))
    report = validate(converted, module, quick=True)
    assert not report.passed
    assert report.low_precision is not None
    assert report.low_precision["failed"]


def test_a_package_from_disk(tmp_path: Path) -> None:
    module = Two()
    convert(module, X).save(tmp_path / "pkg")
    alone = p2m.validate(tmp_path / "pkg")
    assert alone.passed
    assert any("recorded outputs only" in n for n in alone.notes)
    whole = p2m.validate(tmp_path / "pkg", module)
    assert whole.passed, whole.summary()
    assert len(whole.cases) > len(alone.cases)


def test_another_model_is_refused(tmp_path: Path) -> None:
    convert(Two(), X).save(tmp_path / "pkg")
    with pytest.raises(InputError):
        p2m.validate(tmp_path / "pkg", Noise())


class Best(nn.Module):
    """Places of values, all of which are equal at zeros."""

    def __init__(self, *, stable: bool = False) -> None:
        super().__init__()
        self.stable = stable

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        top, places = x.topk(3)
        order = x.argsort(stable=True) if self.stable else x.argsort()
        return {"top": top, "places": places, "picked": x.gather(-1, places), "order": order}


@pytest.mark.parametrize("stable", [False, True])
def test_the_order_of_equal_values_is_compared_where_torch_fixes_it(stable: bool) -> None:
    torch.manual_seed(0)
    report = p2m.validate(p2m.convert(Best(stable=stable), (torch.randn(2, 40),)))
    assert report.passed
    open_at = {c.name: c.open for c in report.cases}
    assert open_at["edge: zeros"] == (["places"] if stable else ["order", "places"])
    assert not open_at["given inputs"]
    assert not open_at["random inputs"]
    assert any("output order, places are not compared" in n for n in report.notes) is not stable


def test_wrong_places_fail_where_values_differ() -> None:
    torch.manual_seed(0)
    converted = p2m.convert(Best(), (torch.randn(2, 40),))
    spoil(converted, lambda s: s.replace('"places": places', '"places": places[..., ::-1]'))
    assert not p2m.validate(converted).passed


def test_given_inputs_take_the_place_of_examples() -> None:
    converted = convert(Two(), X)
    report = validate(converted, args=(torch.full((5, 3), 2.0),), quick=True)
    assert report.passed
    assert report.cases[0].outputs[0].shape == [5, 4]
    with pytest.raises(InputError):
        validate(converted, args=(X, X))


def test_a_tolerance_is_taken_at_its_word() -> None:
    converted = convert(Two(), X)
    assert validate(converted, tolerance=1e-3, quick=True).tolerance == 1e-3
    with pytest.raises(InputError):
        validate(converted, tolerance=2.0)


def test_further_sizes() -> None:
    converted = convert(Two(), X)
    (symbol,) = converted.config["dims"]["symbols"]
    report = validate(converted, quick=True, sizes=[{symbol: 9}])
    assert any(c.sizes.get(symbol) == 9 for c in report.cases)


class Spectral(nn.Module):
    """A filter in the frequency domain, as a Fourier neural operator has them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3, 9, dtype=torch.complex64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft(torch.einsum("bit,iot->bot", torch.fft.rfft(x), self.weight), n=16)


def test_complex_weights_are_changed_too() -> None:
    torch.manual_seed(0)
    converted = p2m.convert(Spectral(), (torch.randn(2, 3, 16),), dynamic_shapes=None)
    report = validate(converted)
    assert report.passed, report.summary()
    assert report.perturbation is not None
    assert (report.perturbation["checked"], report.perturbation["of"]) == (1, 1)
