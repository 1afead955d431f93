"""What goes in and out: nests, dataclasses, None, scalars, names that an mlx module cannot have."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn
import numpy as np
import pytest
import torch
import torch.utils._pytree as pytree
from torch import nn
from transformers.utils import ModelOutput

import pytorch_to_mlx as p2m
from pytorch_to_mlx.errors import InputError
from tests.api.helpers import call, proven
from tests.golden.compare import assert_same, run_torch


@dataclass
class Result:
    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...]
    loss: torch.Tensor | None = None


pytree.register_dataclass(Result, serialized_type_name="tests.api.Result")


@dataclass
class Scores(ModelOutput):
    scores: torch.Tensor | None = None
    best: torch.Tensor | None = None
    unused: torch.Tensor | None = None


Pair = namedtuple("Pair", "low high")


class Nests(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(
        self, batch: dict[str, torch.Tensor], extra: list[torch.Tensor], *, scale: float = 1.0
    ) -> Result:
        h = self.linear(batch["x"]) * scale
        return Result(h + batch["bias"], (h, extra[0] + extra[1]))


class Outputs(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> Any:
        low, high = x.amin(-1), x.amax(-1)
        return {
            "model_output": lambda: Scores(scores=x * 2, best=x.argmax(-1)),
            "named": lambda: Pair(low, high),
            "list": lambda: [low, {"b": high, "a": x}, None],
            "dict": lambda: {"z": low, "a": (high, high > 0)},
            "single": lambda: (low,),
            "same": lambda: (low, low, x),
            "number": lambda: {"low": low, "count": 3, "flag": True},
        }[self.kind]()


class Names(nn.Module):
    """Children and weights called like the methods of a dict, of a module, of the language."""

    NAMES = tuple(
        "keys update items state class values pop unfreeze get freeze parameters_ training_ 1 a-b "
        "löwe import mx nn self_ match".split()
    )

    def __init__(self) -> None:
        super().__init__()
        for name in self.NAMES:
            self.add_module(name, nn.Linear(3, 3))
        self.copy = nn.Parameter(torch.ones(3))
        self.clear = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.setdefault = nn.ModuleDict({"from": nn.Linear(3, 3), "a b": nn.Linear(3, 3)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in self.NAMES:
            x = torch.tanh(getattr(self, name)(x))
        for layer in self.clear:
            x = layer(x)
        return self.setdefault["a b"](self.setdefault["from"](x)) * self.copy


class Arguments(nn.Module):
    """Names that mean something else in the emitted file; arguments that are no tensors."""

    def forward(
        self,
        input: torch.Tensor,
        mx: torch.Tensor,
        mask: torch.Tensor | None = None,
        scale: float = 2.0,
        flag: bool = False,
        times: int = 3,
        mode: str = "sum",
    ) -> torch.Tensor:
        x = input * scale + mx
        if mask is not None:
            x = x * mask
        if flag:
            x = -x
        return x.sum(-1) * times if mode == "sum" else x.mean(-1)


def test_dicts_lists_and_dataclasses(tmp_path: Path) -> None:
    torch.manual_seed(0)

    def example(n: int) -> Any:
        batch = {"x": torch.randn(n, 3), "bias": torch.randn(n, 4)}
        return call(batch, [torch.randn(n, 2), torch.randn(n, 2)], scale=0.5)

    loaded = proven(tmp_path, Nests(), example(2), example(1), example(5))
    (args, kwargs) = example(3)
    assert list(loaded(*args, **kwargs)) == ["logits", "hidden"]
    with pytest.raises(InputError):
        loaded({"x": args[0]["x"]}, args[1], scale=0.5)
    with pytest.raises(InputError):
        loaded({**args[0], "unknown": args[0]["x"]}, args[1], scale=0.5)
    with pytest.raises(InputError):
        loaded(*args, scale=0.75)


@pytest.mark.parametrize(
    "kind", ["model_output", "named", "list", "dict", "single", "same", "number"]
)
def test_outputs(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    proven(tmp_path, Outputs(kind), call(torch.randn(2, 3)), call(torch.randn(1, 3)))


def test_names_that_a_module_cannot_have(tmp_path: Path) -> None:
    torch.manual_seed(0)
    loaded = proven(tmp_path, Names(), call(torch.randn(2, 3)), call(torch.randn(1, 3)))
    assert isinstance(loaded.module, mlx.nn.Module)
    weights: Any = mlx.nn.utils.tree_flatten(loaded.module.parameters())
    assert len(weights) == len(Names().state_dict())
    renamed = loaded.config["name_map"]
    assert renamed["keys.weight"] == "keys_.weight"
    assert set(renamed) < set(Names().state_dict())
    assert {name for name, _ in weights} >= set(renamed.values())


@pytest.mark.parametrize(
    "options",
    [{}, {"mask": True}, {"scale": 0.5, "flag": True}, {"times": 2, "mode": "mean"}],
)
def test_none_and_scalar_arguments(tmp_path: Path, options: dict[str, Any]) -> None:
    torch.manual_seed(0)

    def example(n: int) -> Any:
        given = dict(options)
        if "mask" in given:
            given["mask"] = torch.tensor([1.0, 0.0, 1.0])
        return call(torch.randn(n, 3), torch.randn(n, 3), **given)

    proven(tmp_path, Arguments(), example(2), example(1), example(4))


def test_inputs_of_every_library() -> None:
    class Add(nn.Module):
        def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
            return x + ids

    x, ids = torch.randn(2, 3), torch.arange(3)
    converted = p2m.convert(Add(), (x, ids))
    want = (x + ids).numpy()
    for given in (
        (x, ids),
        (x.numpy(), ids.numpy()),
        (mx.array(x.numpy()), mx.array(ids.numpy())),
        (x.double().numpy(), ids.int().numpy()),
        (x.tolist(), ids.tolist()),
    ):
        np.testing.assert_allclose(np.array(converted(*given)), want, rtol=1e-6)
    with pytest.raises(InputError):
        converted(x)
    with pytest.raises(InputError):
        converted(x, ids, ids)
    with pytest.raises(InputError):
        converted(x, ids.float())
    with pytest.raises(InputError):
        converted(x[0], ids)
    with pytest.raises(InputError):
        converted(x, ids=ids, idz=ids)


class Difference(nn.Module):
    def forward(self, pair: Pair) -> Pair:
        return Pair(pair.low - pair.high, pair.high)


def test_namedtuples_go_in(tmp_path: Path) -> None:
    calls = [call(Pair(torch.randn(n, 3), torch.randn(n, 3))) for n in (2, 5)]
    proven(tmp_path, Difference(), *calls)


@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, torch.compile])
def test_wrappers_are_taken_off(wrap: Any) -> None:
    inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    converted = p2m.convert(wrap(inner), (torch.randn(2, 3),))
    assert "was taken off" in " ".join(converted.report["warnings"])
    x = torch.randn(5, 3)
    assert_same(converted(x), run_torch(inner, x))
