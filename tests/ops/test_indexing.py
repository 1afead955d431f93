"""ops.indexing against torch."""

from __future__ import annotations

import mlx.core as mx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pytorch_to_mlx.ops import indexing as ix
from tests.ops.torch_parity import assert_same, to_mx

X = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
i2 = torch.tensor([1, 0, -1])
i3 = torch.tensor([[0, 2], [-1, 1]])
INDEX_CASES = [
    (i2,),
    (i3 % 2,),
    (None, i2),
    (None, None, i3, None),
    (i2, i2),
    (None, i2, i2),
    (i2, None, i2),
    (None, i2, None, i2),
    (torch.tensor([[0], [1]]), i2[:2]),
    (torch.tensor(1),),
    (None, torch.tensor(-1)),
    (torch.tensor(1), None, i2),
    (torch.zeros(0, dtype=torch.int64),),
    (X[:, 0, 0, 0] > 5,),
    (X > 30,),
    (None, X[0, :, :, 0] > 20),
    (X > 1000,),
    (torch.tensor([True, False]), None, torch.tensor([1])),
    (torch.tensor([True, True]), None, torch.tensor([1, 3])),
    (torch.tensor(True),),
    (torch.tensor(False),),
    (i2.int(),),
]


@pytest.mark.parametrize("case", range(len(INDEX_CASES)))
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool, torch.bfloat16])
def test_index(case: int, dtype: torch.dtype) -> None:
    x, key = X.to(dtype), INDEX_CASES[case]
    if key[0] is not None and key[0].ndim == 0 and key[0].dtype is torch.bool:
        want = x[key]  # the ATen op takes no scalar masks: Python's indexing handles them
    else:
        want = torch.ops.aten.index.Tensor(x, list(key))
    assert_same(ix.index(to_mx(x), to_mx(key)), want)


def test_index_of_a_transposed_array() -> None:
    assert_same(ix.index(to_mx(X).transpose(3, 1, 0, 2), (to_mx(i2),)), X.permute(3, 1, 0, 2)[i2])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 3), max_size=3), st.integers(0, 10))
def test_nonzero(shape: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    x = (torch.rand(shape) > 0.5).float()
    assert_same(ix.nonzero(to_mx(x)), torch.nonzero(x))
    assert_same(ix.argwhere(to_mx(x > 0)), torch.argwhere(x > 0))
    if shape:
        assert_same(ix.nonzero_tuple(to_mx(x)), torch.nonzero(x, as_tuple=True))


def test_masks() -> None:
    x, row, column = X[0, 0], X[0, 0, 0] > 2, X[0, 0, :, :1] > 4
    for mask in (row, column, x > 7, x > 1000):
        assert_same(ix.masked_select(to_mx(x), to_mx(mask)), torch.masked_select(x, mask))
        assert_same(ix.masked_fill(to_mx(x), to_mx(mask), -1.5), x.masked_fill(mask, -1.5))
        value = torch.tensor(2, dtype=torch.int64)
        assert_same(ix.masked_fill(to_mx(x), to_mx(mask), to_mx(value)), x.masked_fill(mask, value))
        source = torch.randn(30)
        want = x.masked_scatter(mask, source)
        assert_same(ix.masked_scatter(to_mx(x), to_mx(mask), to_mx(source)), want)
    half = x.half()
    assert_same(
        ix.masked_fill(to_mx(half), to_mx(row), float("-inf")), half.masked_fill(row, -torch.inf)
    )


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_gather(axis: int) -> None:
    x = torch.randn(4, 3, 5)
    for shape in [(4, 3, 5), (2, 3, 5), (4, 1, 2), (1, 1, 1), (0, 3, 5), (2, 2, 9)]:
        if any(s > n for i, (s, n) in enumerate(zip(shape, x.shape, strict=True)) if i != axis % 3):
            continue
        idx = torch.randint(0, x.shape[axis], shape)
        assert_same(ix.gather(to_mx(x), axis, to_mx(idx)), torch.gather(x, axis, idx))
    idx = torch.argsort(x, dim=axis)
    got = ix.take_along_dim(to_mx(x), to_mx(idx), axis)
    assert_same(got, torch.take_along_dim(x, idx, axis))
    first = idx.select(axis, 0).unsqueeze(axis)
    assert_same(
        ix.take_along_dim(to_mx(x), to_mx(first), axis), torch.take_along_dim(x, first, axis)
    )
    assert_same(
        ix.index_select(to_mx(x), axis, to_mx(i2)), x.index_select(axis, i2 % x.shape[axis])
    )
    assert_same(ix.select(to_mx(x), axis, -2), x.select(axis, -2))


def test_gather_of_scalars_and_take() -> None:
    x = torch.randn(4, 3)
    zero = torch.tensor(0)
    assert_same(ix.gather(to_mx(x[0, 0]), 0, to_mx(zero)), torch.gather(x[0, 0], 0, zero))
    assert_same(ix.take_along_dim(to_mx(x), to_mx(i3 % 12)), torch.take_along_dim(x, i3 % 12))
    assert_same(ix.take(to_mx(x), to_mx(i3)), torch.take(x, i3))
    assert_same(ix.index_select(to_mx(x), 1, to_mx(zero)), x.index_select(1, zero))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2),
    st.none() | st.integers(-9, 9),
    st.none() | st.integers(-9, 9) | st.just(2**63 - 1),
    st.integers(1, 4),
)
def test_slice(axis: int, start: int | None, end: int | None, step: int) -> None:
    x = X[0]
    want = torch.ops.aten.slice.Tensor(x, axis, start, end, step)
    assert_same(ix.slice_with_step(to_mx(x), axis, start, end, step), want)


def test_sets_and_counts() -> None:
    x, values = torch.tensor([[1, 2, 3], [4, 1, 9]]), torch.tensor([1, 9, 9])
    for invert in (False, True):
        want = torch.isin(x, values, invert=invert)
        assert_same(ix.isin(to_mx(x), to_mx(values), invert), want)
    assert_same(ix.isin(to_mx(x), to_mx(values[:0])), torch.isin(x, values[:0]))
    z = torch.tensor([[0.0, float("nan"), 2.0], [-0.0, 0.0, 1.0]])
    for axis in (None, 0, (0, 1), -1):
        assert_same(ix.count_nonzero(to_mx(z), axis), torch.count_nonzero(z, dim=axis))
    assert_same(ix.one_hot(to_mx(x)), F.one_hot(x))
    assert_same(ix.one_hot(to_mx(x), 12), F.one_hot(x, 12))
    for row, col, offset in [(3, 4, 0), (4, 3, 1), (4, 3, -2), (2, 2, -5), (2, 5, 3)]:
        assert_same(ix.tril_indices(row, col, offset), torch.tril_indices(row, col, offset))
        assert_same(ix.triu_indices(row, col, offset), torch.triu_indices(row, col, offset))


@pytest.mark.parametrize("right", [False, True])
def test_searchsorted(right: bool) -> None:
    nan = float("nan")
    one = torch.tensor([1.0, 2.0, 2.0, 5.0, nan])
    queries = torch.tensor([[0.0, 1.0, 2.0], [3.0, 6.0, nan]])
    want = torch.searchsorted(one, queries, right=right)
    assert_same(ix.searchsorted(to_mx(one), to_mx(queries), right), want)
    rows = torch.sort(torch.randint(0, 9, (2, 3, 7))).values
    asked = torch.randint(-1, 10, (2, 3, 4))
    want = torch.searchsorted(rows, asked, right=right)
    assert_same(ix.searchsorted(to_mx(rows), to_mx(asked), right), want)
    shuffled = torch.randint(0, 9, (2, 7))
    sorter = torch.argsort(shuffled, dim=-1)
    want = torch.searchsorted(shuffled, asked[0, :2], right=right, sorter=sorter, out_int32=True)
    got = ix.searchsorted(to_mx(shuffled), to_mx(asked[0, :2]), right, to_mx(sorter), True)
    assert_same(got, want)
    assert_same(
        ix.searchsorted(to_mx(one), to_mx(torch.tensor(2.0)), right),
        torch.searchsorted(one, torch.tensor(2.0), right=right),
    )
    empty = torch.zeros(0)
    assert_same(
        ix.searchsorted(to_mx(empty), to_mx(queries), right),
        torch.searchsorted(empty, queries, right=right),
    )


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding", [None, 2, -1])
def test_embedding_bag(mode: str, padding: int | None) -> None:
    weight = torch.randn(6, 3)
    flat, offsets = torch.tensor([1, 2, 2, 5, 0, 3]), torch.tensor([0, 3, 3, 5])
    bags = torch.tensor([[1, 2, 3], [2, 2, 2]])
    scale = torch.rand(6) if mode == "sum" else None
    for last in (False, True):
        if last:  # torch wants the number of indices there
            offsets = torch.tensor([0, 3, 3, 6])
        want = F.embedding_bag(
            flat,
            weight,
            offsets,
            mode=mode,
            per_sample_weights=scale,
            padding_idx=padding,
            include_last_offset=last,
        )
        got = ix.embedding_bag(*to_mx((weight, flat, offsets)), mode, to_mx(scale), last, padding)
        assert_same(got, want)
    want = F.embedding_bag(bags, weight, mode=mode, padding_idx=padding)
    got = ix.embedding_bag(*to_mx((weight, bags)), None, mode, None, False, padding)
    assert_same(got, want)


def test_mlx_promotes_where_as_torch() -> None:
    c = mx.array([True, False])
    assert mx.where(
        c, mx.array([1, 2], dtype=mx.int32), mx.array([1, 2], dtype=mx.int64)
    ).dtype == (mx.int64)
