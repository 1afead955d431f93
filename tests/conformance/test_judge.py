"""The judge itself: what is wrong must not pass."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import pytest
import torch

from tests.conformance.compare import Mismatch, check_distribution, check_values
from tests.conformance.reconstruct import CHECKS
from tests.conformance.samples import entries, samples

WANT = torch.tensor([1.0, 2.0, float("nan"), float("inf")])


@pytest.mark.parametrize(
    "got, words",
    [
        ([], "0 outputs"),
        ([None], "instead of a tensor"),
        ([mx.array([[1.0]])], "shape"),
        ([mx.array([1, 2, 3, 4])], "dtype"),
        ([mx.array([1.0, float("nan"), 2.0, float("inf")])], "NaN elsewhere"),
        ([mx.array([1.0, 2.0, float("nan"), -float("inf")])], "infinite elsewhere"),
        ([mx.array([1.0, 2.001, float("nan"), float("inf")])], "off by"),
    ],
)
def test_differences_are_found(got: list[mx.array], words: str) -> None:
    with pytest.raises(Mismatch, match=words):
        check_values([WANT], got)


def test_equal_outputs_pass() -> None:
    check_values([WANT], [mx.array([1.0, 2.00001, float("nan"), float("inf")])])


def test_integers_must_be_equal() -> None:
    with pytest.raises(Mismatch, match="1 of 2 elements differ"):
        check_values([torch.tensor([1, 2])], [mx.array([1, 3], dtype=mx.int64)])


@pytest.mark.parametrize(
    "draw",
    [
        lambda: mx.random.uniform(shape=(50,)) + 0.1,
        lambda: mx.random.normal((50,)) * 0.1 + 0.5,
        lambda: mx.full((50,), 0.5),
    ],
)
def test_another_distribution_is_found(draw: Callable[[], mx.array]) -> None:
    with pytest.raises(Mismatch):
        check_distribution(lambda: [torch.rand(50)], lambda: [draw()])


def test_the_same_distribution_passes() -> None:
    check_distribution(lambda: [torch.rand(50)], lambda: [mx.random.uniform(shape=(50,))])


def test_wrong_factors_are_found() -> None:
    a = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    u, s, vh = torch.linalg.svd(a, full_matrices=False)
    check = CHECKS["linalg_svd"]
    check([a], [u, s, vh], [-u, s, -vh])
    for wrong in ([u, s, -vh], [u, s * 1.01, vh], [u * 2, s, vh / 2]):
        with pytest.raises(Mismatch):
            check([a], [u, s, vh], wrong)


def test_samples_run_on_other_values_than_the_traced_ones() -> None:
    for sample in samples(entries()["add"]):
        assert not all(map(torch.equal, sample.traced, sample.given))
