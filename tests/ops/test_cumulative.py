"""ops.cumulative against torch."""

from __future__ import annotations

import pytest
import torch

from pytorch_to_mlx.ops import cumulative as cu
from tests.ops.torch_parity import assert_same, to_mx

NAN, INF = float("nan"), float("inf")
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.uint8]


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.bool])
def test_all(dtype: torch.dtype, axis: int) -> None:
    torch.manual_seed(0)
    x = torch.randint(0, 4, (3, 5, 6)).to(dtype)
    if dtype.is_floating_point:
        x = x + torch.rand(x.shape).to(dtype)
        x[0, 2] = x[1, 1]
    m = to_mx(x)
    assert_same(cu.cumsum(m, axis), torch.cumsum(x, axis))
    assert_same(cu.cumprod(m, axis), torch.cumprod(x, axis))
    assert_same(cu.cummax(m, axis), tuple(torch.cummax(x, axis)))
    assert_same(cu.cummin(m, axis), tuple(torch.cummin(x, axis)))
    empty = x[:0]
    assert_same(cu.cumsum(to_mx(empty), axis), torch.cumsum(empty, axis))
    if dtype.is_floating_point:
        assert_same(cu.logcumsumexp(m, axis), torch.logcumsumexp(x, axis))


def test_long_half_sums() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.full((3000,), 0.5, dtype=dtype)
        assert_same(cu.cumsum(to_mx(x), 0), torch.cumsum(x, 0))
        area = torch.cumulative_trapezoid(x, dim=0)
        assert_same(cu.cumulative_trapezoid(to_mx(x)), area)


def test_specials_and_ties() -> None:
    x = torch.tensor([[1.0, NAN, 3.0, NAN, 2.0], [2.0, 2.0, 1.0, 2.0, 1.0], [INF, -INF, INF, 0, 0]])
    m = to_mx(x)
    assert_same(cu.cummax(m, 1), tuple(torch.cummax(x, 1)))
    assert_same(cu.cummin(m, 1), tuple(torch.cummin(x, 1)))
    assert_same(cu.cumsum(m, 1), torch.cumsum(x, 1))
    low = torch.tensor([-INF, -INF, 1.0, 2.0, INF, 0.0])
    assert_same(cu.logcumsumexp(to_mx(low), 0), torch.logcumsumexp(low, 0))
    zero = torch.tensor(3)
    assert_same(cu.cumsum(to_mx(zero), 0), torch.cumsum(zero, 0))
    assert_same(cu.cummax(to_mx(zero), 0), tuple(torch.cummax(zero, 0)))


def test_trapezoids() -> None:
    y, x = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    for axis in (0, 1, -1):
        assert_same(cu.trapezoid(to_mx(y), None, 0.5, axis), torch.trapezoid(y, dx=0.5, dim=axis))
        assert_same(cu.trapezoid(*to_mx((y, x)), axis=axis), torch.trapezoid(y, x, dim=axis))
        want = torch.cumulative_trapezoid(y, x, dim=axis)
        assert_same(cu.cumulative_trapezoid(*to_mx((y, x)), axis=axis), want)
    line = x[0, 0]
    assert_same(cu.trapezoid(*to_mx((y, line))), torch.trapezoid(y, line))
