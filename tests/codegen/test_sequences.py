"""Containers of the source that are written as ``nn.Sequential``, and those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mlx.utils import tree_flatten
from torch import nn

import pytorch_to_mlx as p2m

BOTH = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(), nn.Linear(8, 4))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4), nn.LeakyReLU(0.2))

    def forward(self, x):
        return x + self.net(x)


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(Block(), Block(), Block())
        self.head = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2), nn.Softmax(-1))

    def forward(self, x):
        x = self.body(x)
        return self.head(x) - self.head(-x)


class Image(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.Tanh())
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 1), nn.Sigmoid()
        )

    def forward(self, x):
        x = self.net(x)
        return x * self.gate(x)


class Tapped(nn.Module):
    """What is between two elements is used outside as well."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))

    def forward(self, x):
        h = self.net[1](self.net[0](x))
        return self.net[2](h) + h


class Flattened(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(2, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(15, 2))

    def forward(self, x):
        return self.net(x)


def converted(model: nn.Module, *shape: int) -> p2m.api.Converted:
    torch.manual_seed(0)
    made = p2m.convert(model.eval(), (torch.randn(*shape),))
    assert p2m.validate(made, quick=True).passed
    return made


def test_elements_are_layers_in_their_order_and_containers_of_blocks_are_short() -> None:
    made = converted(Stack(), 2, 4)
    assert "self.body = nn.Sequential(*[Block() for _ in range(3)])" in made.code
    assert "nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2), nn.Softmax()" in made.code
    assert "nn.LayerNorm(4), nn.Linear(4, 4), nn.LeakyReLU(negative_slope=0.2)" in made.code
    assert "return x + self.net(x)" in made.code
    assert "return self.head(x) - self.head(-x)" in made.code


def test_weights_lie_where_sequential_has_them(tmp_path: Path) -> None:
    made = converted(Stack(), 2, 4)
    wanted = {f"{n}.weight" for n in ("body.layers.1.net.layers.1", "head.layers.0")}
    assert {*wanted, "head.layers.2.weight"} <= set(_names(made))
    again = p2m.load(made.save(tmp_path / "stack"))
    assert again.module.head.layers[2].weight.shape == (2, 8)


def _names(made: p2m.api.Converted) -> list[str]:
    return [name for name, _ in tree_flatten(made.module.parameters())]


def test_calls_at_the_ends_go_to_the_module_around() -> None:
    code = converted(Image(), 2, 3, 8, 8).code
    assert "nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.Tanh()" in code
    assert "nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 1), nn.Sigmoid()" in code
    assert code.count("transpose") == 2


def test_a_model_that_is_a_container() -> None:
    made = converted(BOTH, 3, 4)
    assert "self.layers = [nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)]" in made.code
    assert "for layer in self.layers:" in made.code
    assert "layers.2.weight" in _names(made)


@pytest.mark.parametrize(("model", "shape"), [(Tapped(), (2, 4)), (Flattened(), (2, 2, 5))])
def test_what_is_no_chain_stays_a_list(model: nn.Module, shape: tuple[int, ...]) -> None:
    code = converted(model, *shape).code
    assert "nn.Sequential" not in code
    assert "self.net = [" in code
