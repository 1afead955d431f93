"""ops.distance against torch."""

from __future__ import annotations

import math

import mlx.core as mx
import pytest
import torch
import torch.nn.functional as F

from pytorch_to_mlx.ops import distance as ds
from tests.ops.layouts import drawn
from tests.ops.torch_parity import assert_same, to_mx

NORMS = [0.0, 0.5, 1.0, 2.0, 3.0, math.inf]


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize(
    "a, b", [((3, 4), (5, 4)), ((2, 3, 4), (2, 1, 4)), ((2, 1, 3, 2), (4, 5, 2)), ((3, 0), (2, 0))]
)
def test_cdist(p: float, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = drawn(*a), drawn(*b, seed=1)
    y[..., 0, :] = x[..., :1, :].reshape(-1)[: a[-1]]  # a distance of zero
    assert_same(ds.cdist(to_mx(x), to_mx(y), p), torch.cdist(x, y, p))


@pytest.mark.parametrize("mode", [None, 0, 1, 2])
def test_cdist_by_matrix_product(mode: int | None) -> None:
    names = {
        None: "use_mm_for_euclid_dist_if_necessary",
        0: "use_mm_for_euclid_dist_if_necessary",
        1: "use_mm_for_euclid_dist",
        2: "donot_use_mm_for_euclid_dist",
    }
    x, y = drawn(2, 30, 8), drawn(2, 4, 8, seed=1)
    want = torch.cdist(x, y, compute_mode=names[mode])
    # |a|^2 - 2ab + |b|^2 cancels: the squares carry 1e-7 of |a|^2, their root more.
    assert_same(ds.cdist(to_mx(x), to_mx(y), 2.0, mode), want, rtol=1e-5)


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_pdist(p: float, rows: int) -> None:
    x = drawn(rows, 3)
    want = F.pdist(x, p) if rows else torch.zeros(0)
    assert_same(ds.pdist(to_mx(x), p), want)


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.int32])
def test_bucketize(right: bool, dtype: torch.dtype) -> None:
    x = drawn(3, 4, dtype=dtype)
    bounds = torch.tensor([-2, 0, 0, 1, 3]).to(dtype)
    want = torch.bucketize(x, bounds, right=right)
    assert_same(ds.bucketize(to_mx(x), to_mx(bounds), right), want)
    want = torch.bucketize(bounds, bounds, right=right)
    assert_same(ds.bucketize(to_mx(bounds), to_mx(bounds), right), want)


def test_bucketize_of_odd_values() -> None:
    x = torch.tensor([float("nan"), float("inf"), float("-inf"), 1.0])
    bounds = torch.tensor([0.0, 1.0])
    for right in (False, True):
        assert_same(
            ds.bucketize(to_mx(x), to_mx(bounds), right), torch.bucketize(x, bounds, right=right)
        )
        got = ds.bucketize(to_mx(x), mx.zeros((0,)), right)
        assert_same(got, torch.bucketize(x, torch.zeros(0), right=right))
        scalar = torch.tensor(0.5)
        want = torch.bucketize(scalar, bounds, right=right)
        assert_same(ds.bucketize(to_mx(scalar), to_mx(bounds), right), want)
    whole = torch.tensor([0, 1, 2])
    assert_same(
        ds.bucketize(to_mx(torch.tensor([0.5, 1.0])), to_mx(whole)),
        torch.bucketize(torch.tensor([0.5, 1.0]), whole),
    )


@pytest.mark.parametrize("bins", [1, 4, 10])
@pytest.mark.parametrize("limits", [(0, 0), (-1, 1), (-2.5, 0.5), (5, 6), (1, 1)])
def test_histc(bins: int, limits: tuple[float, float]) -> None:
    x = torch.round(drawn(5, 20) * 4) / 4  # many values on bin edges
    assert_same(ds.histc(to_mx(x), bins, *limits), torch.histc(x, bins, *limits))
    same = torch.full((4,), 2.0)
    assert_same(ds.histc(to_mx(same), bins), torch.histc(same, bins))
    assert_same(ds.histc(mx.zeros((0,)), bins, *limits), torch.histc(torch.zeros(0), bins, *limits))
    if limits[0] != limits[1]:
        x[0, 0], x[1, 1] = float("nan"), float("inf")
        assert_same(ds.histc(to_mx(x), bins, *limits), torch.histc(x, bins, *limits))


@pytest.mark.parametrize("minlength", [0, 3, 20])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_bincount(minlength: int, dtype: torch.dtype) -> None:
    for size in (0, 1, 12):
        x = drawn(size, dtype=torch.int64).abs().to(dtype)
        assert_same(ds.bincount(to_mx(x), None, minlength), torch.bincount(x, None, minlength))
        for weights in (drawn(size), drawn(size, dtype=torch.int64)):
            want = torch.bincount(x, weights, minlength)
            assert_same(ds.bincount(to_mx(x), to_mx(weights), minlength), want)


def test_inside_compile() -> None:
    x, y = drawn(4, 3), drawn(5, 3)
    f = mx.compile(lambda a, b: (ds.cdist(a, b), ds.pdist(a, 1.0), ds.histc(a, 5)))
    want = [torch.cdist(x, y), F.pdist(x, 1.0), torch.histc(x, 5)]
    assert_same(list(f(to_mx(x), to_mx(y))), want)
