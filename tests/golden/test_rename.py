"""No templates: a Llama whose every class and attribute has another name gives the same listing."""

from __future__ import annotations

import ast
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.converted import Converted
from tests.golden.compare import assert_same, run_torch
from tests.golden.models import randomised

SOURCE = """
import torch
import torch.nn.functional as F
from torch import nn


class RootMean(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        variance = x.float().pow(2).mean(-1, keepdim=True)
        return self.weight * (x.float() * torch.rsqrt(variance + self.eps)).type_as(x)


def rotate_half(x):
    a, b = x.chunk(2, dim=-1)
    return torch.cat([-b, a], dim=-1)


class Attention(nn.Module):
    def __init__(self, width, heads, kv_heads):
        super().__init__()
        self.heads, self.kv_heads, self.size = heads, kv_heads, width // heads
        self.query = nn.Linear(width, heads * self.size, bias=False)
        self.key = nn.Linear(width, kv_heads * self.size, bias=False)
        self.value = nn.Linear(width, kv_heads * self.size, bias=False)
        self.join = nn.Linear(heads * self.size, width, bias=False)

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape
        q = self.query(x).view(batch, length, self.heads, self.size).transpose(1, 2)
        k = self.key(x).view(batch, length, self.kv_heads, self.size).transpose(1, 2)
        v = self.value(x).view(batch, length, self.kv_heads, self.size).transpose(1, 2)
        q = q * cos + rotate_half(q) * sin
        k = k * cos + rotate_half(k) * sin
        k = k.repeat_interleave(self.heads // self.kv_heads, dim=1)
        v = v.repeat_interleave(self.heads // self.kv_heads, dim=1)
        scores = q @ k.transpose(2, 3) / self.size**0.5
        hidden = torch.full((length, length), float("-inf"), device=x.device).triu(1)
        weights = F.softmax(scores + hidden, dim=-1, dtype=torch.float32).to(q.dtype)
        mixed = (weights @ v).transpose(1, 2).reshape(batch, length, -1)
        return self.join(mixed)


class Swiglu(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.gate = nn.Linear(width, inner, bias=False)
        self.up = nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    def __init__(self, width, heads, kv_heads, inner):
        super().__init__()
        self.attention_norm = RootMean(width)
        self.attention = Attention(width, heads, kv_heads)
        self.ffn_norm = RootMean(width)
        self.ffn = Swiglu(width, inner)

    def forward(self, x, cos, sin):
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.ffn(self.ffn_norm(x))


class Llama(nn.Module):
    def __init__(self, vocabulary=50, width=32, heads=4, kv_heads=2, inner=48, depth=4):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(
            [Block(width, heads, kv_heads, inner) for _ in range(depth)]
        )
        self.norm = RootMean(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        size = width // heads
        frequencies = 10000.0 ** (-torch.arange(0, size, 2).float() / size)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1], device=tokens.device).float()
        angles = torch.outer(places, self.frequencies)
        angles = torch.cat([angles, angles], dim=-1)
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, angles.cos(), angles.sin())
        return self.head(self.norm(x))
"""

# Every class and attribute of the source, and forward's argument; none sounds like what it is.
RENAMED = {
    "Llama": "Quokka", "Block": "Numbat", "Swiglu": "Bilby", "Attention": "Dingo",
    "RootMean": "Emu", "blocks": "burrows", "block": "burrow", "embedding": "fern",
    "norm": "moss", "head": "tail", "attention_norm": "lichen", "attention": "gaze",
    "ffn_norm": "algae", "ffn": "pouch", "query": "ask", "key": "lock", "value": "gold",
    "join": "door", "gate": "fence", "up": "sky", "down": "soil", "tokens": "leaves",
    "frequencies": "songs",
}  # fmt: skip


def renamed(text: str) -> str:
    """The text with the whole words of :data:`RENAMED` replaced."""
    words = "|".join(sorted(RENAMED, key=len, reverse=True))
    return re.sub(rf"\b({words})\b", lambda m: RENAMED[m[1]], text)


def built(source: str, cls: str, folder: Path) -> torch.nn.Module:
    """The model of a source file of its own, with seeded weights."""
    path = folder / f"{cls.lower()}.py"
    path.write_text(source, encoding="utf-8")
    module = types.ModuleType(f"renamed_{cls}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    exec(compile(source, str(path), "exec"), module.__dict__)
    torch.manual_seed(0)
    return randomised(getattr(module, cls)())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[torch.nn.Module, Converted]]:
    """The model and its renamed twin, converted."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("sources")
    ids = torch.randint(0, 50, (2, 11), generator=torch.Generator().manual_seed(0))
    modules = [built(SOURCE, "Llama", folder), built(renamed(SOURCE), "Quokka", folder)]
    return [(m, p2m.convert(m, (ids,))) for m in modules]


def structure(code: str) -> str:
    """A listing with its identifiers numbered in order of appearance and no docstrings."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    names: dict[str, str] = {}
    words = re.compile(r"\b[A-Za-z_]\w*\b")
    return words.sub(lambda m: names.setdefault(m[0], f"n{len(names)}"), ast.unparse(tree))


def test_the_renamed_source_gives_the_same_listing(
    pair: list[tuple[torch.nn.Module, Converted]],
) -> None:
    first, second = (converted.code for _, converted in pair)
    assert "Quokka" in second
    assert not re.search(r"(?i)llama|attention\b(?!\()|swiglu", second.replace(
        "scaled_dot_product_attention", ""))  # fmt: skip
    assert structure(first) == structure(second)


def test_both_are_fused_and_equal_torch(pair: list[tuple[torch.nn.Module, Converted]]) -> None:
    for module, converted in pair:
        for word in ("nn.RoPE", 'mask="causal"', "nn.RMSNorm", "scaled_dot_product_attention"):
            assert word in converted.code, word
        assert "repeat" not in converted.code
        for batch, length in ((2, 11), (1, 1), (3, 20)):
            ids = torch.randint(0, 50, (batch, length))
            assert_same(converted(ids), run_torch(module, ids))


def test_the_weights_keep_the_names_of_their_source(
    pair: list[tuple[torch.nn.Module, Converted]],
) -> None:
    import mlx.nn as nn

    for module, converted in pair:
        weights: Any = nn.utils.tree_flatten(converted.module.parameters())
        assert {name for name, _ in weights} == set(module.state_dict())
