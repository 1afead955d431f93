"""Histograms, segments, hashes and fixed counts against torch."""

from __future__ import annotations

import mlx.core as mx
import pytest
import torch

from pytorch_to_mlx.ops import histogram as hg
from pytorch_to_mlx.ops.indexing import nonzero_static
from pytorch_to_mlx.ops.reductions import hash_tensor
from pytorch_to_mlx.ops.scatter import as_strided_scatter
from tests.ops.torch_parity import assert_same, to_mx

X = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.rand(4, 5, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("density", [False, True])
@pytest.mark.parametrize("limits", [None, (-1.0, 0.5), (1.0, 1.0)])
@pytest.mark.parametrize("bins", [1, 4, 7])
def test_histogram(bins: int, limits: tuple[float, float] | None, density: bool) -> None:
    want = torch.histogram(X, bins, range=limits, weight=WEIGHT, density=density)
    got = hg.histogram(to_mx(X), bins, limits, to_mx(WEIGHT), density)
    assert_same(got, tuple(want), 1e-5)


def test_histogram_between_edges_closes_the_last_bin() -> None:
    edges = torch.tensor([-1.0, 0.0, 0.25, 2.0])
    x = torch.cat([X.flatten(), edges])
    want = torch.histogram(x, edges)
    assert_same(hg.histogram(to_mx(x), to_mx(edges)), tuple(want))


@pytest.mark.parametrize("density", [False, True])
def test_histogram_of_points(density: bool) -> None:
    limits = (-1.0, 1.0, -2.0, 2.0)
    want = torch.histogramdd(X, [3, 4], range=list(limits), density=density)
    edges = hg.histogramdd_edges(to_mx(X), (3, 4), limits)
    assert_same(edges, tuple(want.bin_edges))
    assert_same(hg.histogramdd(to_mx(X), edges, density=density), want.hist)


@pytest.mark.parametrize("initial", [None, 0.5])
@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min", "prod"])
def test_segments(reduce: str, initial: float | None) -> None:
    data = X.reshape(4, 10)
    lengths = torch.tensor([1, 0, 3])
    got = hg.segment_reduce(to_mx(data), reduce, lengths=to_mx(lengths), initial=initial)
    assert_same(got, torch.segment_reduce(data, reduce, lengths=lengths, initial=initial))
    rows = torch.tensor([[2, 3], [0, 5], [5, 0], [1, 4]])
    want = torch.segment_reduce(X, reduce, lengths=rows, axis=1, initial=initial)
    offsets = torch.nn.functional.pad(rows.cumsum(1), (1, 0))
    for given in ({"lengths": to_mx(rows)}, {"offsets": to_mx(offsets)}):
        assert_same(hg.segment_reduce(to_mx(X), reduce, axis=1, initial=initial, **given), want)


def test_segments_need_bounds() -> None:
    with pytest.raises(ValueError, match="lengths or offsets"):
        hg.segment_reduce(mx.zeros((3,)), "sum")


@pytest.mark.parametrize("size", [0, 3, 9])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (0, 2)])
def test_nonzero_of_fixed_count(shape: tuple[int, ...], size: int) -> None:
    x = torch.ones(shape)
    if x.ndim:
        x[..., 1:2] = 0
    want = torch.nonzero_static(x, size=size, fill_value=-7)
    assert_same(nonzero_static(to_mx(x), size, -7), want)


def test_scatter_to_a_strided_view() -> None:
    x, src = torch.arange(20.0).reshape(4, 5), -torch.ones(2, 3)
    want = torch.as_strided_scatter(x, src, (2, 3), (7, 2), 1)
    assert_same(as_strided_scatter(to_mx(x), to_mx(src), (2, 3), (7, 2), 1), want)


@pytest.mark.parametrize("dim", [(), (0,), (1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int32])
def test_hash(dtype: torch.dtype, dim: tuple[int, ...]) -> None:
    x = (X * 100).to(dtype)
    for keepdim in (False, True):
        want = torch.hash_tensor(x, dim, keepdim=keepdim)
        got = hash_tensor(to_mx(x), dim, keepdim)
        assert got.tolist() == want.tolist()
