"""ops.sorting against torch."""

from __future__ import annotations

import pytest
import torch

from pytorch_to_mlx.ops import sorting as so
from tests.ops.torch_parity import assert_same, to_mx

NAN, INF = float("nan"), float("inf")
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.uint8]


def draw(dtype: torch.dtype, nans: bool = True) -> torch.Tensor:
    torch.manual_seed(0)
    x = torch.randint(0, 5, (4, 3, 7)).to(dtype)
    if dtype.is_floating_point and nans:
        x[0, 0, 2] = x[1, 2, 3] = x[1, 2, 5] = NAN
        x[2, 1, 0], x[2, 1, 4] = INF, -INF
        x[3, 0] = NAN
    return x


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.bool])
def test_sort(dtype: torch.dtype, axis: int) -> None:
    x = draw(dtype)
    m = to_mx(x)
    for descending in (False, True):
        want = torch.sort(x, dim=axis, descending=descending, stable=True)
        assert_same(so.sort(m, axis, descending), tuple(want))
        assert_same(so.argsort(m, axis, descending), want.indices)
    assert_same(so.msort(m), torch.msort(x))
    empty = x[:, :0]
    assert_same(so.sort(to_mx(empty), axis), tuple(torch.sort(empty, dim=axis)))


def test_scalars() -> None:
    x = torch.tensor(2.0)
    m = to_mx(x)
    assert_same(so.sort(m), tuple(torch.sort(x)))
    assert_same(so.topk(m, 1, 0), tuple(torch.topk(x, 1)))
    assert_same(so.kthvalue(m, 1), tuple(torch.kthvalue(x, 1)))
    assert_same(so.median_with_indices(m), tuple(torch.median(x, 0)))
    assert_same(so.mode_with_indices(m), tuple(torch.mode(x)))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_order_statistics(dtype: torch.dtype, axis: int) -> None:
    x = draw(dtype)
    m = to_mx(x)
    for k in (1, 2, 3):
        for largest in (False, True):
            values, indices = so.topk(m, k, axis, largest)
            want = torch.topk(x, k, axis, largest, sorted=True)
            assert_same(values, want.values)
            assert_same(so.sort(indices, axis)[0][:0], want.indices[:0])
            # torch picks any of equal elements: the index must lead to the value.
            assert_same(torch_take(x, indices, axis), want.values)
        values, indices = so.kthvalue(m, k, axis)
        want = torch.kthvalue(x, k, axis)
        assert_same(values, want.values)
        assert_same(torch_take(x, indices, axis, True), want.values)
    for keep in (False, True):
        for ours, theirs in (
            (so.median_with_indices, torch.median),
            (so.nanmedian_with_indices, torch.nanmedian),
        ):
            values, indices = ours(m, axis, keep)
            want = theirs(x, axis, keep)
            assert_same(values, want.values)
            assert_same(torch_take(x, indices, axis, not keep), want.values)
    assert_same(so.median_of_all(m), torch.median(x))
    assert_same(so.nanmedian_of_all(m), torch.nanmedian(x))
    if dtype is not torch.float16 and dtype is not torch.bfloat16:
        clean = draw(dtype, nans=False)
        for keep in (False, True):
            values, indices = so.mode_with_indices(to_mx(clean), axis, keep)
            want = torch.mode(clean, axis, keep)
            assert_same(values, want.values)
            assert_same(torch_take(clean, indices, axis, not keep), want.values)


def torch_take(x: torch.Tensor, indices: object, axis: int, squeeze: bool = False) -> object:
    import numpy as np

    picked = torch.from_numpy(np.array(indices))
    if squeeze:
        return to_mx(torch.gather(x, axis, picked.unsqueeze(axis)).squeeze(axis))
    return to_mx(torch.gather(x, axis, picked))


@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantiles(method: str) -> None:
    torch.manual_seed(3)
    x = torch.randn(4, 3, 6)
    holes = x.clone()
    holes[0, 1, 2] = holes[2, 2, 0] = NAN
    holes[1, 1] = NAN
    holes[3, 0, 0] = INF
    for q in (0.0, 0.3, 1.0, torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.25])):
        for axis in (None, 0, 1, -1):
            for keep in (False, True):
                for data in (x, holes):
                    args = {"dim": axis, "keepdim": keep, "interpolation": method}
                    mq = to_mx(q)
                    got = so.quantile(to_mx(data), mq, axis, keep, method)
                    assert_same(got, torch.quantile(data, q, **args))
                    got = so.quantile(to_mx(data), mq, axis, keep, method, True)
                    assert_same(got, torch.nanquantile(data, q, **args))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8, torch.bool])
def test_unique(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    for shape in [(6, 4), (5,), (0,), (1, 1), (12, 2)]:
        x = torch.randint(0, 3, shape).to(dtype)
        want = torch.unique(x, return_inverse=True, return_counts=True)
        assert_same(so.unique(to_mx(x)), want)
        want = torch.unique_consecutive(x, return_inverse=True, return_counts=True)
        assert_same(so.unique_consecutive(to_mx(x)), want)
        if x.dim() == 2:
            for axis in (0, 1):
                args = {"dim": axis, "return_inverse": True, "return_counts": True}
                assert_same(so.unique_dim(to_mx(x), axis), torch.unique(x, **args))
                want = torch.unique_consecutive(x, **args)
                assert_same(so.unique_consecutive(to_mx(x), axis), want)
