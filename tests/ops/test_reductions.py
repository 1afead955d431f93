"""ops.reductions against torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pytorch_to_mlx.ops import reductions as rd
from tests.ops.torch_parity import assert_same, to_mx

NAN, INF = float("nan"), float("inf")
FLOATS = [torch.float32, torch.float16, torch.bfloat16]
INTS = [torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool]
AXES = [None, 0, -1, (0, 2), (0, 1, 2)]


def draw(dtype: torch.dtype, shape: tuple[int, ...] = (3, 4, 5)) -> torch.Tensor:
    torch.manual_seed(0)
    if dtype.is_floating_point:
        return torch.randn(shape).to(dtype)
    return torch.randint(0, 7, shape).to(dtype)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("dtype", FLOATS + INTS)
def test_sums_and_extremes(dtype: torch.dtype, axis: object, keep: bool) -> None:
    x = draw(dtype)
    m = to_mx(x)
    assert_same(rd.sum_of(m, axis, keep), torch.sum(x, dim=axis, keepdim=keep))
    assert_same(rd.nansum(m, axis, keep), torch.nansum(x, dim=axis, keepdim=keep))
    dims = () if axis is None else axis
    assert_same(rd.amax(m, axis, keep), torch.amax(x, dims, keep))
    assert_same(rd.amin(m, dims, keep), torch.amin(x, dims, keep))
    if not isinstance(axis, tuple):
        if not (axis is None and keep):
            extra = {} if axis is None else {"dim": axis, "keepdim": keep}
            assert_same(rd.prod_of(m, axis, keep), torch.prod(x, **extra))
            assert_same(rd.aminmax(m, axis, keep), tuple(torch.aminmax(x, **extra)))
        if dtype is not torch.bool:
            assert_same(rd.argmax(m, axis, keep), torch.argmax(x, axis, keep))
            assert_same(rd.argmin(m, axis, keep), torch.argmin(x, axis, keep))
        if axis is not None:
            assert_same(rd.max_with_indices(m, axis, keep), tuple(torch.max(x, axis, keep)))
            assert_same(rd.min_with_indices(m, axis, keep), tuple(torch.min(x, axis, keep)))


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_wins_and_first_of_equals(dtype: torch.dtype) -> None:
    rows = [
        [1.0, NAN, INF, NAN],
        [INF, NAN, 1.0, INF],
        [-INF, -INF, -INF, -INF],
        [2.0, 2.0, 1.0, 1.0],
        [-0.0, 0.0, -0.0, 0.0],
        [NAN, NAN, NAN, NAN],
    ]
    x = torch.tensor(rows, dtype=dtype)
    m = to_mx(x)
    assert_same(rd.argmax(m, 1), torch.argmax(x, 1))
    assert_same(rd.argmin(m, 1), torch.argmin(x, 1))
    assert_same(rd.max_with_indices(m, 1), tuple(torch.max(x, 1)))
    assert_same(rd.min_with_indices(m, 1), tuple(torch.min(x, 1)))
    assert_same(rd.argmax(m), torch.argmax(x))
    assert_same(rd.nansum(m, 1), torch.nansum(x, 1))
    assert_same(rd.nanmean(m, 1), torch.nanmean(x, 1))
    assert_same(rd.nanmean(m), torch.nanmean(x))
    assert_same(rd.amax(m, 1), torch.amax(x, 1))


def test_scalars_and_empties() -> None:
    zero = torch.tensor(3.5)
    assert_same(rd.max_with_indices(to_mx(zero), 0), tuple(torch.max(zero, 0)))
    assert_same(rd.argmax(to_mx(zero)), torch.argmax(zero))
    empty = torch.zeros(0, 3)
    m = to_mx(empty)
    assert_same(rd.sum_of(m, 0), empty.sum(0))
    assert_same(rd.prod_of(m, 0), empty.prod(0))
    assert_same(rd.logsumexp(m, 0), empty.logsumexp(0))
    assert_same(rd.variance(m, 0), empty.var(0))
    assert_same(rd.vector_norm(m, 2, 0), torch.linalg.vector_norm(empty, 2, 0))
    assert_same(rd.amax(to_mx(empty), 1), empty.amax(1))


@pytest.mark.parametrize("correction", [0, 1, 2, 5, 0.5])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("dtype", [*FLOATS, torch.complex64])
def test_variance(dtype: torch.dtype, axis: object, correction: float) -> None:
    x = torch.randn(3, 4, 5, dtype=dtype) + 3
    for keep in (False, True):
        args = {"dim": axis, "correction": correction, "keepdim": keep}
        m = to_mx(x)
        assert_same(rd.variance(m, axis, correction, keep), torch.var(x, **args))
        assert_same(rd.standard_deviation(m, axis, correction, keep), torch.std(x, **args))
        assert_same(rd.var_mean(m, axis, correction, keep), tuple(torch.var_mean(x, **args)))


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int64])
def test_logsumexp(dtype: torch.dtype) -> None:
    x = draw(dtype)
    for axis in (0, -1, (0, 2)):
        assert_same(rd.logsumexp(to_mx(x), axis, True), torch.logsumexp(x, axis, True))
    special = torch.tensor([[-INF, -INF], [INF, 1.0], [INF, -INF], [NAN, INF], [200.0, 200.0]])
    assert_same(rd.logsumexp(to_mx(special), 1), torch.logsumexp(special, 1))


@pytest.mark.parametrize("p", [0, 0.5, 1, 2, 3, 4.5, -1, -2, INF, -INF])
@pytest.mark.parametrize("dtype", [*FLOATS, torch.complex64])
def test_norms(dtype: torch.dtype, p: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, 5, dtype=dtype)
    # Large p: float32's pow alone is off by a few 1e-6 on either side.
    rtol = None if dtype in (torch.float16, torch.bfloat16) else 2e-5
    for axis in AXES:
        want = torch.linalg.vector_norm(x, p, axis, True)
        assert_same(rd.vector_norm(to_mx(x), p, axis, True), want, rtol)
    zeros = torch.tensor([[0.0, 1.0], [0.0, 0.0], [NAN, 1.0]])
    want = torch.linalg.vector_norm(zeros, p, 1)
    assert_same(rd.vector_norm(to_mx(zeros), p, 1), want)


def test_distances() -> None:
    x, y = torch.randn(4, 6), torch.randn(4, 6)
    m, n = to_mx((x, y))
    for p in (1.0, 2.0, 3.0):
        assert_same(rd.distance_norm(m, n, p), F.pairwise_distance(x, y, p))
        assert_same(rd.renorm(m, p, 0, 1.5), torch.renorm(x, p, 0, 1.5))
        assert_same(rd.renorm(m, p, 1, 1.5), torch.renorm(x, p, 1, 1.5))
    for axis in (0, 1, -1):
        assert_same(rd.cosine_similarity(m, n, axis), F.cosine_similarity(x, y, axis))
    assert_same(
        rd.cosine_similarity(m[:, None], n[None], -1),
        F.cosine_similarity(x[:, None], y[None], -1),
    )
    zero = torch.zeros(4, 6)
    assert_same(rd.cosine_similarity(m, to_mx(zero), 1), F.cosine_similarity(x, zero, 1))
