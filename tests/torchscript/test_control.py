"""Control flow of scripts that sizes or data decide: it converts, reads well, gives the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import torch
from torch import nn

import pytorch_to_mlx as p2m
from pytorch_to_mlx.errors import CaptureError, InputError
from tests.torchscript import control_models as models
from tests.torchscript.helpers import converts, scripted


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def method(code: str) -> str:
    """The root's ``__call__``."""
    return code.rpartition("def __call__")[2].partition("\ndef load")[0]


def rows(*sizes: tuple[int, ...]) -> list[tuple[torch.Tensor]]:
    return [(torch.randn(*size),) for size in sizes]


def boxes(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(n, 4) * 3, torch.rand(n)


def test_errors_of_sizes_and_data_are_raised():
    script = scripted(models.Refuses())
    converted = converts(script, *rows((2, 8), (3, 12)))
    code = method(converted.code)
    assert 'if T % 4 != 0:\n            raise ValueError(f"width {T} is no multiple of 4")' in code
    assert 'raise ValueError("batch {too} large")' in code
    assert "if mx.any(x > 100).item():" in code
    with pytest.raises(InputError, match="multiple of 4"):  # the package knows its limits
        converted(mx.zeros((2, 7)))
    with pytest.raises(ValueError, match="width 7 is no multiple of 4"):
        converted.package.model(mx.zeros((2, 7)))
    with pytest.raises(ValueError, match=r"batch \{too\} large"):
        converted(mx.zeros((100, 8)))
    with pytest.raises(ValueError, match=r"too large: \[2, 8\]"):
        converted(mx.full((2, 8), 101.0))


def test_errors_over_sizes_of_data():
    converted = converts(scripted(models.Nonempty()), (torch.rand(3, 5) + 0.1,))
    with pytest.raises(ValueError, match="nothing kept"):
        converted(mx.zeros((3, 5)))


def test_modules_that_only_check_and_errors_in_loops():
    converted = converts(scripted(models.Gated()), *rows((2, 5, 3), (4, 2, 3)))
    for wrong, message in ((np.nan, "NaN"), (-60.0, "too small")):
        with pytest.raises(ValueError, match=message):
            converted(mx.full((2, 5, 3), wrong))
    assert 'raise ValueError("saturated")' in converted.code


def test_assertions_of_modules_are_raised_too():
    class Asserts(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch._assert_async((x > 0).all(), "all must be positive")
            return x * 2

    converted = p2m.convert(Asserts(), (torch.rand(2, 3) + 1,))
    assert "if not mx.all(x > 0).item():" in converted.code
    with pytest.raises(ValueError, match="all must be positive"):
        converted(mx.zeros((2, 3)))


def test_writes_in_loops_keep_the_loop():
    converted = converts(scripted(models.Writes()), *rows((2, 5), (3, 1), (1, 8)))
    assert "for i, step in enumerate(x.transpose(1, 0)):" in converted.code
    assert set(converted.captured.dims["symbols"]) == {"B", "T"}


CASES: list[tuple[type[nn.Module], list[Any], str]] = [
    (models.WritesIf, [(torch.ones(2, 3),), (-torch.ones(4, 2),)], ""),
    (models.Lists, [(torch.ones(2, 3) * v,) for v in (1.0, 0.25, -1.0)], "mx.concatenate"),
    (models.Greedy, rows((2, 4), (1, 4), (5, 4)), "while True:"),
    (models.Suppression, [boxes(6), boxes(11), boxes(3), boxes(1)], "if not mask"),
    (models.Shrinking, [boxes(6), boxes(11), boxes(3), boxes(1)], "shape[0]"),
    (models.BreaksAtOne, [boxes(6), boxes(11), boxes(2), boxes(1)], "while"),
    (models.Pairs, [boxes(6), boxes(9), boxes(2), boxes(1)], "while"),
    (models.Recurrence, rows((2, 5, 4), (3, 1, 4), (1, 9, 4)), "for step in"),
    (models.Counts, [(torch.tensor(v),) for v in ([1, 0, 2, 2, 0, 3], [4, 4])], "for "),
    (models.Bisection, [(torch.rand(4, 4),), (torch.rand(2, 7),)], ""),
    (
        models.Packed,
        [(torch.randn(len(n), 7, 4), torch.tensor(n)) for n in ([7, 3], [2, 7, 7], [5])],
        "lengths",
    ),
]


@pytest.mark.parametrize(
    ("kind", "calls", "reads"), CASES, ids=[kind.__name__ for kind, *_ in CASES]
)
def test_control_flow_gives_the_same(kind: type[nn.Module], calls: list[Any], reads: str):
    converted = converts(scripted(kind()), *calls)
    assert reads in method(converted.code)


def test_proof_of_growing_lists_at_other_sizes():
    converted = p2m.convert(scripted(models.Suppression()), boxes(5))
    assert p2m.validate(converted, budget=5).passed


def test_files_made_for_a_gpu(tmp_path: Path):
    path = tmp_path / "gpu.pt"
    script = scripted(models.OnGpu())
    script.save(str(path))
    x = torch.randn(2, 3)
    converted = p2m.convert(path, (x,))
    np.testing.assert_array_equal(np.array(converted(x.numpy())), x.numpy() + 1)
    if not torch.cuda.is_available():
        with pytest.raises(CaptureError, match="cannot run here"):
            p2m.convert(script, (x,))


def test_views_of_what_branches_write_are_refused():
    with pytest.raises(CaptureError, match="view made before"):
        p2m.convert(scripted(models.WritesViews()), (torch.ones(2, 3),))


class Halvings(nn.Module):
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        found: list[torch.Tensor] = []
        while bool(x.abs().max() > 1.0):
            x = x / 2
            found.append(x)
        return found


def test_a_list_that_data_grow_is_refused_as_an_output_with_a_way_out():
    with pytest.raises(CaptureError, match=r"list whose length data decide.*Return torch\.stack"):
        p2m.convert(scripted(Halvings()), (torch.randn(3, 4) * 20,))


def test_a_list_that_sizes_grow_is_an_output_at_the_examples_length():
    class Rows(nn.Module):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            found: list[torch.Tensor] = []
            for i in range(x.size(0)):
                found.append(x[i] * 2)
            return found

    converts(scripted(Rows()), (torch.randn(3, 4),), (torch.randn(3, 6),))
