"""ops.pooling and ops.pooling_indices against torch."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytorch_to_mlx.ops import pooling as pl
from pytorch_to_mlx.ops import pooling_indices as pi
from tests.ops.layouts import drawn, last, special, torch_last
from tests.ops.torch_parity import assert_same

MAX: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE_AVG: dict[int, Any] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}
ADAPTIVE_MAX: dict[int, Any] = {
    1: F.adaptive_max_pool1d,
    2: F.adaptive_max_pool2d,
    3: F.adaptive_max_pool3d,
}
UNPOOL: dict[int, Any] = {1: F.max_unpool1d, 2: F.max_unpool2d, 3: F.max_unpool3d}
LP: dict[int, Any] = {1: F.lp_pool1d, 2: F.lp_pool2d, 3: F.lp_pool3d}
SIZES = (9, 7, 6)


def triple(low: int, high: int) -> st.SearchStrategy[tuple[int, int, int]]:
    number = st.integers(low, high)
    return st.tuples(number, number, number)


@settings(max_examples=120)
@given(
    rank=st.integers(1, 3),
    kernel=triple(1, 4),
    stride=triple(1, 4),
    padding=triple(0, 2),
    dilation=triple(1, 2),
    ceil_mode=st.booleans(),
    batch=st.sampled_from([1, 2]),
    odd_values=st.booleans(),
)
def test_max_pool(
    rank: int,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    batch: int,
    odd_values: bool,
) -> None:
    kernel, stride, dilation = kernel[:rank], stride[:rank], dilation[:rank]
    padding = tuple(min(p, k // 2) for p, k in zip(padding, kernel, strict=False))
    for n, k, p, d in zip(SIZES, kernel, padding, dilation, strict=False):
        assume(d * (k - 1) + 1 <= n + 2 * p)
    x = special(batch, 3, *SIZES[:rank]) if odd_values else drawn(batch, 3, *SIZES[:rank])
    want, index = MAX[rank](x, kernel, stride, padding, dilation, ceil_mode, return_indices=True)
    args = (last(x), kernel, stride, padding, dilation, ceil_mode)
    assert_same(pl.max_pool(*args), torch_last(want), rtol=0)
    assert_same(pi.max_pool_with_indices(*args), (torch_last(want), torch_last(index)), rtol=0)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int8, torch.uint8]
)
@pytest.mark.parametrize("rank", [2, 3])
def test_max_pool_dtypes(dtype: torch.dtype, rank: int) -> None:
    x = drawn(2, 3, *SIZES[:rank], dtype=dtype)
    args = ((3,) * rank, (2,) * rank, (1,) * rank, (1,) * rank, True)
    want, index = MAX[rank](x, *args, return_indices=True)
    assert_same(pl.max_pool(last(x), *args), torch_last(want), rtol=0)
    got = pi.max_pool_with_indices(last(x), *args)
    assert_same(got, (torch_last(want), torch_last(index)), rtol=0)


def test_max_pool_with_all_negative_infinity() -> None:
    x = torch.full((1, 2, 5, 5), float("-inf"))
    want, index = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    got = pi.max_pool_with_indices(last(x), (3, 3), (2, 2), (1, 1), (1, 1))
    assert_same(got, (torch_last(want), torch_last(index)), rtol=0)


def test_unbatched_and_empty() -> None:
    x = drawn(3, 9, 7)
    want = F.max_pool2d(x, 2, 2)
    got = pl.max_pool(last(x[None])[0], (2, 2), (2, 2), (0, 0), (1, 1))
    assert_same(got, torch_last(want[None])[0], rtol=0)
    x = drawn(0, 3, 9, 7)
    got = pl.max_pool(last(x), (3, 3), (2, 2), (1, 1), (1, 1))
    assert_same(got, torch_last(F.max_pool2d(x, 3, 2, 1)), rtol=0)
    got = pl.avg_pool(last(x), (3, 3), (2, 2), (1, 1))
    assert_same(got, torch_last(F.avg_pool2d(x, 3, 2, 1)), rtol=0)
    got = pl.adaptive_avg_pool(last(x), (4, 1))
    assert_same(got, torch_last(F.adaptive_avg_pool2d(x, (4, 1))), rtol=0)
    got = pl.adaptive_max_pool(last(x), (4, 1))
    assert_same(got, torch_last(F.adaptive_max_pool2d(x, (4, 1))), rtol=0)


@settings(max_examples=120)
@given(
    rank=st.integers(1, 3),
    kernel=triple(1, 4),
    stride=triple(1, 4),
    padding=triple(0, 2),
    ceil_mode=st.booleans(),
    include=st.booleans(),
    divisor=st.sampled_from([None, 1, 5, -3]),
    batch=st.sampled_from([1, 2]),
    odd_values=st.booleans(),
)
def test_avg_pool(
    rank: int,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    include: bool,
    divisor: int | None,
    batch: int,
    odd_values: bool,
) -> None:
    kernel, stride = kernel[:rank], stride[:rank]
    padding = tuple(min(p, k // 2) for p, k in zip(padding, kernel, strict=False))
    x = special(batch, 3, *SIZES[:rank]) if odd_values else drawn(batch, 3, *SIZES[:rank])
    if rank == 1:
        divisor = None
    extra = () if rank == 1 else (divisor,)
    want = AVG[rank](x, kernel, stride, padding, ceil_mode, include, *extra)
    got = pl.avg_pool(last(x), kernel, stride, padding, ceil_mode, include, divisor)
    assert_same(got, torch_last(want))


@pytest.mark.parametrize("divisor", [None, 4, -4])
@pytest.mark.parametrize("include", [True, False])
def test_avg_pool_of_integers(divisor: int | None, include: bool) -> None:
    x = drawn(2, 3, 9, 7, dtype=torch.int64)
    want = F.avg_pool2d(x, 3, 2, 1, True, include, divisor)
    got = pl.avg_pool(last(x), (3, 3), (2, 2), (1, 1), True, include, divisor)
    assert_same(got, torch_last(want))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_average_of_half_types_does_not_overflow(dtype: torch.dtype, rank: int) -> None:
    x = drawn(2, 3, *SIZES[:rank], dtype=dtype) * 100 + 30000
    args = ((3,) * rank, (2,) * rank, (1,) * rank, True)
    assert_same(pl.avg_pool(last(x), *args), torch_last(AVG[rank](x.float(), *args).to(dtype)))
    for count in (1, 3, 4):
        # torch averages some ranks in the half type itself: float32 is the reference.
        want = ADAPTIVE_AVG[rank](x.float(), count).to(dtype)
        assert_same(pl.adaptive_avg_pool(last(x), (count,) * rank), torch_last(want))


@settings(max_examples=80)
@given(
    rank=st.integers(1, 3),
    counts=st.tuples(*[st.one_of(st.none(), st.integers(1, 11))] * 3),
    odd_values=st.booleans(),
)
def test_adaptive(rank: int, counts: Any, odd_values: bool) -> None:
    counts = counts[:rank]
    if rank == 1 and counts[0] is None:
        counts = (SIZES[0],)
    x = special(2, 3, *SIZES[:rank]) if odd_values else drawn(2, 3, *SIZES[:rank])
    size = counts[0] if rank == 1 else counts
    assert_same(pl.adaptive_avg_pool(last(x), counts), torch_last(ADAPTIVE_AVG[rank](x, size)))
    want, index = ADAPTIVE_MAX[rank](x, size, return_indices=True)
    assert_same(pl.adaptive_max_pool(last(x), counts), torch_last(want), rtol=0)
    got = pi.adaptive_max_pool_with_indices(last(x), counts)
    assert_same(got, (torch_last(want), torch_last(index)), rtol=0)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("norm", [1.0, 2.0, 3.0, 1.5])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_lp_pool(rank: int, norm: float, ceil_mode: bool) -> None:
    x = drawn(2, 3, *SIZES[:rank])
    kernel, stride = (3, 2, 3)[:rank], (2, 2, 1)[:rank]
    size, step = (kernel[0], stride[0]) if rank == 1 else (kernel, stride)
    want = LP[rank](x, norm, size, step, ceil_mode)
    assert_same(pl.lp_pool(last(x), norm, kernel, stride, ceil_mode), torch_last(want))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_max_unpool(rank: int) -> None:
    x = drawn(2, 3, *SIZES[:rank])
    values, index = MAX[rank](x, 2, 2, return_indices=True)
    want = UNPOOL[rank](values, index, 2, 2, output_size=SIZES[:rank])
    got = pi.max_unpool(last(values), last(index), SIZES[:rank])
    assert_same(got, torch_last(want), rtol=0)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("odd_values", [True, False])
def test_fractional_max_pool(rank: int, seed: int, odd_values: bool) -> None:
    x = special(2, 3, *SIZES[:rank]) if odd_values else drawn(2, 3, *SIZES[:rank])
    samples = torch.rand(2, 3, rank, generator=torch.Generator().manual_seed(seed))
    function: Any = {2: F.fractional_max_pool2d, 3: F.fractional_max_pool3d}[rank]
    for kernel, size in (((2, 3, 2), (4, 3, 4)), ((3, 2, 1), (1, 5, 5)), ((2, 2, 2), (7, 1, 4))):
        k, n = kernel[:rank], size[:rank]
        want, index = function(x, k, output_size=n, return_indices=True, _random_samples=samples)
        got = pi.fractional_max_pool(last(x), k, n, mx.array(samples.numpy()))
        assert_same(got, (torch_last(want), torch_last(index)), rtol=0)


def test_inside_compile() -> None:
    x = drawn(2, 3, 9, 7)

    def both(a: mx.array) -> tuple[mx.array, ...]:
        values, index = pi.max_pool_with_indices(a, (3, 3), (2, 2), (1, 1), (1, 1), True)
        return values, index, pl.adaptive_avg_pool(a, (4, 5))

    want, index = F.max_pool2d(x, 3, 2, 1, 1, True, return_indices=True)
    average = F.adaptive_avg_pool2d(x, (4, 5))
    assert_same(
        list(mx.compile(both)(last(x))), [torch_last(want), torch_last(index), torch_last(average)]
    )
