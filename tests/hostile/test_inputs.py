"""Inputs that do not fit: said in one line, by the API and by the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import pytorch_to_mlx as p2m
from pytorch_to_mlx.converted import Converted
from pytorch_to_mlx.errors import ConversionError, InputError
from pytorch_to_mlx.sources import draw_tensors, parse_shapes
from tests.hostile.reached import assert_one_line


class Two(nn.Module):
    """Floats and token ids, of one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 3)

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return x @ self.table(ids).transpose(1, 2)


def inputs(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(batch, 4, 3), torch.zeros(batch, 5, dtype=torch.int64)


@pytest.fixture(scope="module")
def converted() -> Converted:
    return p2m.convert(Two(), inputs())


x, ids = inputs()
WRONG: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "nothing": ((), {}),
    "one of two": ((x,), {}),
    "too many": ((x, ids, ids), {}),
    "unknown": ((x,), {"id": ids}),
    "twice": ((x, ids), {"ids": ids}),
    "none": ((None, ids), {}),
    "rank below": ((x[0], ids), {}),
    "rank above": ((x[None], ids), {}),
    "another static size": ((torch.ones(2, 4, 7), ids), {}),
    "batches that differ": ((inputs(3)[0], ids), {}),
    "floats for ids": ((x, ids.float()), {}),
    "truth for floats": ((x > 0, ids), {}),
    "complex": ((x.to(torch.complex64), ids), {}),
    "text": (("x", ids), {}),
    "text in arrays": ((np.full((2, 4, 3), "a"), ids), {}),
    "objects in arrays": ((np.full((2, 4, 3), None), ids), {}),
    "ragged": (([[1.0], [1.0, 2.0]], ids), {}),
    "a dict": (({"x": x}, ids), {}),
    "times": ((np.zeros((2, 4, 3), "datetime64[s]"), ids), {}),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_the_package_is_given(converted: Converted, kind: str) -> None:
    args, kwargs = WRONG[kind]
    with pytest.raises(InputError) as caught:
        converted(*args, **kwargs)
    assert_one_line(caught.value)


@pytest.mark.parametrize("kind", WRONG)
def test_what_the_conversion_is_given(kind: str) -> None:
    """As example inputs: what the source itself refuses is refused, with its own words."""
    args, kwargs = WRONG[kind]
    try:
        p2m.convert(Two(), args, kwargs, dynamic_shapes=None)
    except ConversionError as error:
        assert_one_line(error)
    else:
        assert kind in ("rank below", "rank above", "batches that differ"), "torch takes no such"


SHAPES = st.lists(
    st.sampled_from(
        ["x", "ids", "0", "1", "=", "2", "3x4", "x", ":", "int64", "float16", "bool", "bfloat16"]
        + [
            "[0,5)",
            "[0,1]",
            "[",
            ")",
            ",",
            "scalar",
            "()",
            ".",
            "a.b",
            " ",
            "-1",
            "1e9",
            "inf",
            "9" * 30,
        ]
    ),
    max_size=9,
).map("".join)


@given(SHAPES)
def test_shapes_are_drawn_or_refused(text: str) -> None:
    """Text made of the syntax's own pieces: all the way to tensors."""
    try:
        specs = parse_shapes(text)
        if sum(int(np.prod(s.shape, dtype=object)) for s in specs) < 10**6:
            draw_tensors(specs)
    except InputError as error:
        assert_one_line(error)


@pytest.mark.parametrize(
    "names",
    [("x", "id"), ("x",), ("0", "2"), ("x", "x.y"), ("class", "\n"), ("", "ids"), ("1", "0")],
)
def test_files_with_other_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    from typer.testing import CliRunner

    from pytorch_to_mlx.cli.app import app

    torch.save(dict(zip(names, inputs(), strict=False)), tmp_path / "in.pt")
    (tmp_path / "make.py").write_text(
        "import torch\nclass Two(torch.nn.Module):\n    def forward(self, x, ids):\n"
        "        return x[:, :, 0] + ids[:, :4]\n\ndef make():\n    return Two()\n"
    )
    source, out = f"{tmp_path / 'make.py'}:make", tmp_path / "out"
    given_file = ["convert", "-i", source, "-o", out, "--args", tmp_path / "in.pt"]
    result = CliRunner().invoke(app, [*map(str, given_file)])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert "defect" not in result.output
    assert not out.exists()
