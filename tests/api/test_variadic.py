"""``*args`` and ``**kwargs``: a converted model is called as its source is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import pytorch_to_mlx as p2m
from pytorch_to_mlx.errors import InputError
from tests.golden.compare import assert_same, run_torch
from tests.package.processes import selftest


class Spread(nn.Module):
    """Every kind of argument that Python has."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(
        self, x: torch.Tensor, *rest: Any, mask: torch.Tensor, **more: torch.Tensor
    ) -> torch.Tensor:
        y = self.linear(x) * mask
        for i, other in enumerate(rest):
            y = y + (i + 1) * (other["y"] if isinstance(other, dict) else other)
        return y - more["bias"] * 2 + more["scale"]


class Only(nn.Module):
    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        return args[0] * 2 - args[1]


def test_every_kind_of_argument(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Spread().eval()

    def inputs(batch: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        a, b, mask, scale, bias = torch.randn(5, batch, 2)
        named = {"mask": mask, "scale": scale, "bias": bias}
        return (torch.randn(batch, 3), a, {"y": b}), named

    args, kwargs = inputs(4)
    converted = p2m.convert(module, args, kwargs, output=tmp_path / "p")
    assert "def __call__(" in converted.code
    assert "*rest: object" in converted.code
    for batch in (1, 2, 3):
        args, kwargs = inputs(batch)
        want = run_torch(module, *args, **kwargs)
        assert_same(converted(*args, **kwargs), want)
        assert_same(p2m.load(tmp_path / "p")(*args, **kwargs), want)
    assert p2m.validate(converted, module).passed
    readme = (tmp_path / "p" / "README.md").read_text()
    assert "model(x, *rest, mask=mask, scale=scale, bias=bias)" in readme
    done = selftest(tmp_path / "p", tmp_path / "env")
    assert done.returncode == 0, done.stdout + done.stderr
    with pytest.raises(InputError, match="must be a tuple of 2"):
        converted(*args, args[1], **kwargs)
    with pytest.raises(InputError, match="takes no input 'other'"):
        converted(*args, **kwargs, other=args[1])


def test_sizes_within_keywords_change() -> None:
    x, y, z = torch.randn(3, 4, 3)

    class Keywords(nn.Module):
        def forward(self, x: torch.Tensor, **more: torch.Tensor) -> torch.Tensor:
            return x * more["n"] + more["m"]

    converted = p2m.convert(Keywords(), (x,), {"m": y, "n": z})
    assert converted.config["inputs"][0]["shape"] == ["B", "T"]
    x, y, z = torch.randn(3, 1, 7)
    assert_same(converted(x, m=y, n=z), run_torch(Keywords(), x, m=y, n=z))


def test_nothing_but_args() -> None:
    x, y = torch.randn(2, 4, 3)
    converted = p2m.convert(Only(), (x, y))
    assert "def __call__(self, *args: mx.array)" in converted.code
    assert_same(converted(x[:1], y[:1]), run_torch(Only(), x[:1], y[:1]))
    assert p2m.validate(converted).passed
    with pytest.raises(InputError):
        converted(x)
