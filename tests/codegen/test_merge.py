"""Modules of one source class share an emitted class where they differ only in options."""

from __future__ import annotations

import ast
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pytorch_to_mlx as p2m
from pytorch_to_mlx.codegen.merge import _calls_agree
from pytorch_to_mlx.converted import Converted
from tests.golden.compare import assert_same, run_torch


def proven(module: nn.Module, *calls: tuple[torch.Tensor, ...]) -> Converted:
    """Converted with the first call; every call equals torch's."""
    torch.manual_seed(0)
    for p in module.parameters():
        nn.init.normal_(p, std=0.3)
    module.eval()
    made = p2m.convert(module, calls[0])
    for args in calls:
        assert_same(made(*args), run_torch(module, *args))
    return made


def classes(made: Converted) -> list[str]:
    return re.findall(r"^class (\w+)", made.code, re.MULTILINE)


class Attention(nn.Module):
    def __init__(self, causal: bool = False, scaled: bool = False) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(8, 8) for _ in range(4))
        self.causal, self.scaled = causal, scaled

    def forward(self, x: torch.Tensor, memory: torch.Tensor | None = None) -> torch.Tensor:
        memory = x if memory is None else memory
        q, k, v = (
            f(y).view(y.shape[0], y.shape[1], 2, 4).transpose(1, 2)
            for f, y in ((self.q, x), (self.k, memory), (self.v, memory))
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        y = self.o(y.transpose(1, 2).reshape(x.shape))
        return y * 0.5 if self.scaled else y


class Layer(nn.Module):
    def __init__(self, scaled: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.own = Attention(causal=True)
        self.other = Attention(scaled=scaled)

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        x = x + self.own(self.norm(x))
        return x + self.other(x, memory)


class Seq2Seq(nn.Module):
    def __init__(self, scaled: bool = False) -> None:
        super().__init__()
        self.encoder = Attention()
        self.layers = nn.ModuleList([Layer(scaled) for _ in range(2)])

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        memory = self.encoder(source)
        for layer in self.layers:
            target = layer(target, memory)
        return target


def sequences(batch: int, source: int, target: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(batch, source, 8), torch.randn(batch, target, 8)


def test_self_and_cross_attention_share_a_class() -> None:
    made = proven(Seq2Seq(), sequences(2, 5, 7), sequences(1, 1, 1), sequences(3, 9, 4))
    assert classes(made).count("Attention") == 1
    assert not any(c.startswith("Attention") for c in classes(made) if c != "Attention")
    assert 'self.own = Attention(mask="causal")' in made.code
    assert "memory: mx.array | None = None" in made.code
    assert "if memory is None:\n            memory = x" in made.code


def test_another_computation_keeps_a_class_of_its_own() -> None:
    """The attention across has a factor that the others lack: no option says that."""
    made = proven(Seq2Seq(scaled=True), sequences(2, 5, 7), sequences(1, 4, 3))
    assert sum("Attention" in c for c in classes(made)) == 2


class Block(nn.Module):
    def __init__(self, wide: int, out: int, act: bool = True) -> None:
        super().__init__()
        self.act = act
        self.up = nn.Linear(wide, 2 * out)
        self.down = nn.Linear(2 * out, out)
        self.skip = nn.Linear(wide, out) if wide != out else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.down(torch.relu(self.up(x))) + self.skip(x)
        return torch.tanh(y) if self.act else y


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        sizes = [(4, 6, True), (6, 6, True), (6, 8, True), (8, 8, False)]
        self.blocks = nn.ModuleList([Block(*s) for s in sizes])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def test_optional_children_and_activations() -> None:
    made = proven(Blocks(), (torch.randn(3, 4),), (torch.randn(1, 4),))
    assert classes(made) == ["Block", "Blocks"]
    assert "if skip else nn.Identity()" in made.code
    assert "self.activation = mx.tanh if activation else nn.Identity()" in made.code
    assert "for block in self.blocks:" in made.code
    assert "in_dim: int" in made.code
    assert "hidden_dim: int" in made.code


class Biased(nn.Module):
    """The first of its kind has the table of biases and hands it on."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        if first:
            self.table = nn.Embedding(32, 6)

    def forward(
        self, x: torch.Tensor, bias: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if bias is None:
            bias = self.table(torch.arange(x.shape[1]).clamp(max=31))
        return self.linear(x) + bias, bias


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Biased(i == 0) for i in range(3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bias = None
        for layer in self.layers:
            x, bias = layer(x, bias)
        return x


def test_a_shared_table_lives_with_the_stack() -> None:
    made = proven(Shared(), (torch.randn(2, 5, 6),), (torch.randn(1, 40, 6),))
    assert classes(made) == ["Biased", "Shared"]
    assert "self.layers = [Biased() for _ in range(3)]" in made.code
    assert "for layer in self.layers:" in made.code
    assert made.config["name_map"]["layers.0.table.weight"] == "table.weight"


@pytest.mark.parametrize("depth", [1, 2])
def test_a_list_of_one_is_a_loop_too(depth: int) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([Block(4, 4) for _ in range(depth)])
            self.head = module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = layer(x)
            return self.head(x)

    made = proven(Stack(), (torch.randn(3, 4),))
    assert "for layer in self.layers:" in made.code
    assert "self.head = nn.Sequential(nn.Linear(4, 4), nn.ReLU())" in made.code


class Mixer(nn.Module):
    """Two kinds of attention in blocks that look the same."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.heads == 1:
            return self.second(torch.tanh(self.first(x)))
        y = self.first(x).view(x.shape[0], self.heads, -1)
        return self.second(torch.softmax(y, 1).flatten(1))


class MixerBlock(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm, self.mixer = nn.LayerNorm(dim), Mixer(dim, heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.mixer(self.norm(x))


def test_blocks_of_other_children_keep_their_classes() -> None:
    """What makes a child is no local name that may differ."""
    module = nn.Sequential(MixerBlock(4, 1), nn.Linear(4, 6), MixerBlock(6, 2))
    made = proven(module, (torch.randn(3, 4),), (torch.randn(1, 4),))
    assert sum(c.startswith("MixerBlock") for c in classes(made)) == 2


class Padded(nn.Module):
    """Writes a product into zeros of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3))
        self.scale = nn.Parameter(torch.randn(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(x.shape[0], 6)
        out[:, :3] = x[:, :3] @ self.weight
        out[:, -2:] = torch.sin(x[:, 1:3] * self.scale)
        return out


def test_zeros_to_write_into_are_each_modules_own() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(Padded(), nn.Tanh(), Padded(), nn.Tanh(), Padded()).eval()
    converted = p2m.convert(module, (torch.randn(2, 6),))
    assert converted.code.count("(nn.Module)") == 2
    assert "def __call__(self, x: mx.array) -> mx.array" in converted.code
    x = torch.randn(5, 6)
    assert_same(converted(x), run_torch(module, x))


@pytest.mark.parametrize("text, agrees", [("layer(x)", True), ("layer(x=x)", False)])
def test_a_loop_over_other_modules_too(text: str, agrees: bool) -> None:
    """Its one call stays as it is, so an argument that it names cannot get another name."""
    statement: Any = ast.parse(text).body[0]
    statement.value.paths = ["block.0", "block.1"]
    bodies: list[Any] = [SimpleNamespace(body=[statement])]
    renames = {"block.1": {"x": "h"}}
    assert _calls_agree(bodies, renames, {"block.1": ["x"]}, ["h"]) is agrees
