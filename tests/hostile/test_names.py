"""Names of everything in a model, through the whole conversion: data in the package, never code."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

import pytorch_to_mlx as p2m
from tests.golden.compare import assert_same, run_torch
from tests.hostile.inert import assert_inert
from tests.hostile.names import CANARY, CODE, MARKUP, ODD, TAKEN, names
from tests.hostile.reached import Tally
from tests.package.processes import selftest

torch.set_num_threads(1)

TALLY = Tally()
PLACES = 9  # names that one model has places for


class Named(nn.Module):
    """Two children, a parameter, a buffer, a constant, a state and nested inputs and outputs."""

    def __init__(self, own: Sequence[str]) -> None:
        super().__init__()
        self.own = tuple(own)
        child, group, parameter, buffer, constant, state = own[:6]
        self._modules[child] = nn.Linear(3, 3)
        self._modules[group] = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
        self._parameters[parameter] = nn.Parameter(torch.randn(3))
        self._buffers[buffer] = torch.randn(3)
        self.__dict__[constant] = torch.randn(3)
        self._buffers[state] = torch.zeros(3)

    def forward(self, d: dict[str, torch.Tensor], **more: torch.Tensor) -> dict[str, torch.Tensor]:
        child, group, parameter, buffer, constant, state, first, second, third = self.own
        x = self._modules[child](d[first]) * self._parameters[parameter] + d[second]
        x = self._modules[group](x + more[third]) - self._buffers[buffer]
        self._buffers[state].add_(1)
        return {first: x, second: {third: x * getattr(self, constant) + self._buffers[state]}}


def named(own: Sequence[str], cls: str = "Named") -> tuple[nn.Module, tuple[Any, ...], Any]:
    """A model with these names, its arguments and keyword arguments."""
    torch.manual_seed(0)
    try:
        kind = type(cls, (Named,), {})
    except (ValueError, UnicodeEncodeError):  # Python itself refuses NULs and surrogates
        kind = Named
    x, y, z = torch.randn(3, 2, 3)
    return kind(own).eval(), ({own[6]: x, own[7]: y},), {own[8]: z}


def distinct(wanted: Sequence[str]) -> list[str]:
    """The names, with a number where one is there twice or belongs to torch's own modules."""
    out: list[str] = []
    reserved = {*vars(nn.Module()), "own", "forward", "d", "self"}
    for name in wanted:
        n = 2
        while name in out or name in reserved:
            name, n = f"{name}{n}", n + 1
        out.append(name)
    return out


def assert_converts(own: Sequence[str], cls: str, folder: Path) -> None:
    """The whole way: converted, saved, loaded, equal to torch twice in a row, inert."""
    model, args, kwargs = named(own, cls)
    with TALLY.case():
        converted = p2m.convert(model, args, kwargs, output=folder, overwrite=True)
        assert_inert(folder)
        loaded = p2m.load(folder)
        for _ in range(2):  # the state moves on
            assert_same(loaded(*args, **kwargs), run_torch(model, *args, **kwargs))
        assert converted.config["parameters"] == 3 * 12 + 3
    assert not os.path.exists(CANARY), f"a name ran as code: {own!r}"


def chunks(found: Sequence[str]) -> list[tuple[str, ...]]:
    """The names in groups, one a model; the last is filled from the first."""
    padded = [*found, *found[: -len(found) % PLACES]]
    return [tuple(padded[i : i + PLACES]) for i in range(0, len(padded), PLACES)]


@pytest.mark.parametrize("own", chunks([*CODE, *MARKUP, *ODD]), ids=lambda own: ascii(own[0])[:20])
def test_nasty_names(own: tuple[str, ...], tmp_path: Path) -> None:
    assert_converts(distinct(own), own[0] or "Named", tmp_path / "p")


@settings(
    max_examples=int(os.environ.get("P2M_FUZZ_NAMES", "10")),
    phases=(Phase.explicit, Phase.generate),  # a case takes seconds: none is made smaller
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(wanted=st.lists(names, min_size=PLACES, max_size=PLACES), cls=names)
def test_any_names(tmp_path: Path, wanted: list[str], cls: str) -> None:
    assert_converts(distinct(wanted), cls, tmp_path / "p")


class Many(nn.Module):
    """A child and a parameter for every name."""

    def __init__(self, own: Sequence[str]) -> None:
        super().__init__()
        for name in own:
            self._modules[name] = nn.Linear(2, 2)
            self._modules[name]._parameters["bias"] = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for child in self._modules.values():
            assert child is not None
            x = torch.tanh(child(x)) + x
        return x


def test_every_name_that_torch_mlx_or_python_has(tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = [n for n in TAKEN if n not in vars(nn.Module())]
    module = Many(own[:: max(1, len(own) // 60)]).eval()
    x = torch.randn(2, 2)
    with TALLY.case():
        p2m.convert(module, (x,), output=tmp_path / "p", dynamic_shapes=None)
        assert_inert(tmp_path / "p")
        assert_same(p2m.load(tmp_path / "p")(x), run_torch(module, x))


def test_the_package_of_nasty_names_proves_itself(tmp_path: Path) -> None:
    """Self-test without torch, validation, and its own script for another checkpoint."""
    own = distinct(['"""', "class", "a.b", "", "\ud800", "</script>", "a b", CODE[5], "a\nb"])
    model, args, kwargs = named(own, "\n#")
    converted = p2m.convert(model, args, kwargs, output=tmp_path / "p")
    done = selftest(tmp_path / "p", tmp_path / "env")
    assert done.returncode == 0, done.stdout + done.stderr
    result = p2m.validate(converted)
    assert result.passed, result.summary()
    converted.write_report()
    assert_inert(tmp_path / "p")
    assert not os.path.exists(CANARY)


# -- signatures: Python's own syntax limits these names, so they are a table ----------------------

_SIGNATURES: dict[str, Callable[..., torch.Tensor]] = {
    "clashing": lambda self, _x, x, x_, __x: _x * 2 + x - x_ * 3 + __x,
    "globals": lambda self, mx, nn, math, load: mx * 2 + nn - math * load,
    "builtins": lambda self, print, input, id, str: print * 2 + input - id * str,
    "unicode": lambda self, é, ﬁ, имя, 名前: é * 2 + fi - имя * 名前,
    "module": lambda self, keys, update, training, children: (
        keys * 2 + update - training * children
    ),
}


@pytest.mark.parametrize("kind", _SIGNATURES)
def test_arguments(kind: str, tmp_path: Path) -> None:
    cls = type("Arguments", (nn.Module,), {"forward": _SIGNATURES[kind]})
    x = torch.randn(4, 2, 3).unbind()
    with TALLY.case():
        p2m.convert(cls(), x, output=tmp_path / "p")
        assert_inert(tmp_path / "p")
        assert_same(p2m.load(tmp_path / "p")(*x), run_torch(cls(), *x))


def test_keys_that_differ_only_in_kind_are_refused() -> None:
    class Twice(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[Any, torch.Tensor]:
            return {1: x, "1": x + 1}

    with pytest.raises(p2m.errors.CaptureError, match="twice"):
        p2m.convert(Twice(), (torch.ones(2),))


class Tree(nn.Module):
    """Outputs whose dotted names would be the same."""

    def forward(self, d: dict[str, Any]) -> dict[str, Any]:
        return {"a.b": d["a.b"] + 1, "a": {"b": d["a"]["b"] + 2}, "": d[""] + 3, "output": d["a.b"]}


def test_dotted_names_stay_apart(tmp_path: Path) -> None:
    d = {"a.b": torch.ones(2), "a": {"b": torch.zeros(2)}, "": torch.ones(2) * 5}
    p2m.convert(Tree(), (d,), output=tmp_path / "p")
    got = p2m.load(tmp_path / "p")(d)
    for path, value in ((("a.b",), 2), (("a", "b"), 2), (("",), 8), (("output",), 1)):
        at = got
        for key in path:
            at = at[key]
        np.testing.assert_array_equal(np.array(at), np.full(2, value))
    done = selftest(tmp_path / "p", tmp_path / "env")
    assert done.returncode == 0, done.stdout + done.stderr


FACTORIES = ["a b.py", "quo'te\".py", "new\nline.py", "<script>.py", "名.py", "a`|b.py", '"""x.py']


@pytest.mark.parametrize("file", FACTORIES, ids=ascii)
def test_files_of_factories(file: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.write_text(
        "import torch\nclass Net(torch.nn.Module):\n    def forward(self, x):\n"
        "        return x + 1\n\ndef make():\n    return Net(), (torch.ones(2, 3),)\n"
    )
    with TALLY.case():
        p2m.convert(f"{path}:make", output=tmp_path / "p")
        assert_inert(tmp_path / "p")
        np.testing.assert_array_equal(np.array(p2m.load(tmp_path / "p")(np.ones((1, 3)))), 2)


def test_half_of_the_cases_reach_lowering(record_property: Any) -> None:
    TALLY.assert_half(record_property)
