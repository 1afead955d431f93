"""What a saved package says to sizes beyond its trace's reach; loops over experts, converted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.errors import InputError
from tests.capture.test_limits import Even, Scaled, Wide, Windows
from tests.capture.test_selections import Experts


def saved(module: torch.nn.Module, x: torch.Tensor, folder: Path) -> p2m.Package:
    return p2m.load(p2m.convert(module.eval(), (x,)).save(folder / "package"))


def check(package: p2m.Package, module: torch.nn.Module, *shapes: tuple[int, ...]) -> None:
    for shape in shapes:
        x = torch.randn(*shape)
        want = module(x).detach().numpy()
        got = np.array(package(x))
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_padding_by_what_is_lacking_takes_every_size(tmp_path: Path) -> None:
    package = saved(Windows(), torch.randn(2, 12), tmp_path)
    check(package, Windows(), (2, 12), (1, 13), (3, 1), (2, 22))


def test_sizes_of_another_branch_are_refused(tmp_path: Path) -> None:
    package = saved(Scaled(), torch.randn(2, 12), tmp_path)
    check(package, Scaled(), (1, 9), (2, 40))
    with pytest.raises(InputError, match="from 9 to any size, got 8"):
        package(torch.randn(2, 8))


def test_a_multiple_that_the_code_demands(tmp_path: Path) -> None:
    module = Even().eval()
    package = saved(module, torch.randn(2, 2, 16), tmp_path)
    check(package, module, (1, 2, 18), (2, 2, 6))
    with pytest.raises(InputError, match="multiple of 2, got 17"):
        package(torch.randn(2, 2, 17))


def test_a_condition_of_two_sizes_is_told_with_its_line(tmp_path: Path) -> None:
    package = saved(Wide(), torch.randn(2, 5, 9), tmp_path)
    check(package, Wide(), (1, 4, 7), (2, 9, 9))
    with pytest.raises(InputError, match=r"it must hold that .*if x\.shape\[1\] > x\.shape\[2\]"):
        package(torch.randn(2, 9, 5))


@pytest.mark.parametrize("spelling", ["hit", "mask"])
def test_loops_over_experts_convert(spelling: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Experts(spelling).eval()
    package = saved(module, torch.randn(2, 5, 6), tmp_path)
    check(package, module, (2, 5, 6), (1, 1, 6), (3, 7, 6))
