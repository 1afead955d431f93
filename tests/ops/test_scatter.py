"""ops.scatter against torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytorch_to_mlx.ops import scatter as sc
from tests.ops.test_indexing import INDEX_CASES, X
from tests.ops.torch_parity import assert_same, to_mx

NAN = float("nan")
ALL = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.uint8]


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("case", [i for i in range(len(INDEX_CASES)) if i not in (19, 20)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bfloat16])
def test_index_put(case: int, accumulate: bool, dtype: torch.dtype) -> None:
    x, key = X.to(dtype), INDEX_CASES[case]
    shape = torch.ops.aten.index.Tensor(x, list(key)).shape
    torch.manual_seed(case)
    many = torch.randint(0, 9, shape).to(dtype)
    if not accumulate and many.numel():
        many = many.reshape(-1)[:1].reshape([1] * many.dim()).expand(shape)  # duplicates agree
    for values in (many, torch.tensor(3).to(dtype)):
        want = torch.ops.aten.index_put(x, list(key), values, accumulate)
        got = sc.index_put(to_mx(x), to_mx(key), to_mx(values.contiguous()), accumulate)
        assert_same(got, want)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_many_half_types_in_one_place(dtype: torch.dtype) -> None:
    x, src = torch.zeros(2, dtype=dtype), torch.ones(4096, dtype=dtype)
    places = torch.arange(4096) % 2
    m, ms, mp = to_mx((x, src, places))
    assert_same(sc.scatter_add(m, 0, mp, ms), x.scatter_add(0, places, src))
    for reduce in ("sum", "mean"):
        want = x.scatter_reduce(0, places, src, reduce)
        assert_same(sc.scatter_reduce(m, 0, mp, ms, reduce), want)
    want = x.index_reduce(0, places, src, "mean", include_self=False)
    assert_same(sc.index_reduce(m, 0, mp, ms, "mean", False), want)


def test_index_put_distinct_places_and_bool() -> None:
    x, places = torch.zeros(5, 3), torch.tensor([4, 0, -3])
    values = torch.randn(3, 3)
    want = x.index_put((places,), values)
    source = to_mx(x)
    assert_same(sc.index_put(source, (to_mx(places),), to_mx(values)), want)
    assert_same(source, x)  # the input is not written to
    flags = torch.tensor([False, True, False, False, True])
    want = flags.index_put((places,), torch.tensor(True), accumulate=True)
    assert_same(sc.index_put(to_mx(flags), (to_mx(places),), to_mx(torch.tensor(True)), True), want)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ALL)
def test_rows(axis: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randint(0, 20, (3, 4, 5)).to(dtype)
    places = torch.tensor([2, 0, 1])
    shape = list(x.shape)
    shape[axis] = 3
    source = torch.randint(0, 20, shape).to(dtype)
    m, p, s = to_mx((x, places, source))
    assert_same(sc.index_copy(m, axis, p, s), x.index_copy(axis, places, source))
    assert_same(sc.index_fill(m, axis, p, 7), x.index_fill(axis, places, 7))
    twice = torch.tensor([1, 1, 0])
    for alpha in (1, 3):
        want = x.index_add(axis, twice, source, alpha=alpha)
        assert_same(sc.index_add(m, axis, to_mx(twice), s, alpha), want)
    none = torch.zeros(0, dtype=torch.int64)
    empty = source.narrow(axis, 0, 0)
    assert_same(sc.index_add(m, axis, to_mx(none), to_mx(empty)), x.index_add(axis, none, empty))
    for include in (False, True):
        for reduce in ("prod", "mean", "amax", "amin"):
            want = x.index_reduce(axis, twice, source, reduce, include_self=include)
            got = sc.index_reduce(m, axis, to_mx(twice), s, reduce, include)
            assert_same(got, want, note=f"{reduce} {include}")


def test_scalars() -> None:
    x, zero, v = torch.tensor(3.0), torch.tensor([0]), torch.tensor([2.0])
    m, z, w = to_mx((x, zero, v))
    assert_same(sc.index_add(m, 0, z, w[0]), x.index_add(0, zero, v[0]))
    assert_same(sc.index_copy(m, 0, z, w[0]), x.index_copy(0, zero, v[0]))
    assert_same(sc.index_fill(m, 0, z, 1.0), x.index_fill(0, zero, 1.0))
    assert_same(sc.scatter(m, 0, z[0], 5.0), x.scatter(0, zero[0], 5.0))


@settings(deadline=None, max_examples=40)
@given(
    st.integers(-3, 2),
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 4)),
    st.integers(0, 99),
)
def test_scatter(axis: int, shape: tuple[int, int, int], seed: int) -> None:
    torch.manual_seed(seed)
    x, src = torch.randn(3, 4, 4), torch.randn(4, 4, 5)
    idx = torch.randint(0, x.shape[axis], shape)
    m, i, s = to_mx((x, idx, src))
    assert_same(sc.scatter(m, axis, i, 2.5), x.scatter(axis, idx, 2.5))
    assert_same(sc.scatter_add(m, axis, i, s), x.scatter_add(axis, idx, src))
    want = x.scatter(axis, idx, src, reduce="multiply")
    assert_same(sc.scatter(m, axis, i, s, "multiply"), want)
    length = shape[axis]
    line = [1, 1, 1]
    line[axis] = length
    distinct = torch.argsort(torch.rand(x.shape[axis]))[:length].reshape(line).expand(shape)
    assert_same(sc.scatter(m, axis, to_mx(distinct), s), x.scatter(axis, distinct, src))


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize(
    "reduce, dtype",
    [
        (r, d)
        for r in ("sum", "prod", "mean", "amax", "amin")
        for d in [*ALL, torch.bool]
        if (r, d) != ("mean", torch.bool)
    ],  # torch has no mean of bools
)
def test_scatter_reduce(reduce: str, include: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x = torch.randint(1, 9, (3, 5)).to(dtype)
    idx, src = torch.randint(0, 3, (4, 5)), torch.randint(1, 9, (4, 5)).to(dtype)
    idx[:, 2] = 1
    want = x.scatter_reduce(0, idx, src, reduce, include_self=include)
    assert_same(sc.scatter_reduce(*to_mx((x,)), 0, *to_mx((idx, src)), reduce, include), want)
    if dtype.is_floating_point:
        x[1, 2] = NAN
        src[0, 0], src[1, 1] = NAN, float("inf")
        x[0, 4] = -float("inf")
        want = x.scatter_reduce(0, idx, src, reduce, include_self=include)
        assert_same(sc.scatter_reduce(*to_mx((x,)), 0, *to_mx((idx, src)), reduce, include), want)


def test_negative_means_of_ints_round_down() -> None:
    x, idx = torch.tensor([-3, 4]), torch.tensor([0, 0])
    src = torch.tensor([-2, -2])
    want = x.scatter_reduce(0, idx, src, "mean")
    assert_same(sc.scatter_reduce(*to_mx((x,)), 0, *to_mx((idx, src)), "mean"), want)


def test_slices() -> None:
    x = torch.randn(4, 5, 6)
    for axis, start, end, step in [(0, 1, 3, 1), (1, None, None, 2), (2, -4, 2**63 - 1, 3)]:
        part = torch.ops.aten.slice.Tensor(x, axis, start, end, step)
        src = torch.randn_like(part)
        want = torch.slice_scatter(x, src, axis, start, end, step)
        assert_same(sc.slice_scatter(*to_mx((x, src)), axis, start, end, step), want)
    none = x[:, 3:3]
    assert_same(sc.slice_scatter(*to_mx((x, none)), 1, 3, 3), x)
    for axis, position in [(0, 1), (-1, -2), (1, 0)]:
        src = torch.randn_like(x.select(axis, position))
        want = torch.select_scatter(x, src, axis, position)
        assert_same(sc.select_scatter(*to_mx((x, src)), axis, position), want)
    for offset, a, b in [(0, 0, 1), (1, 0, 2), (-2, 2, 0), (1, -1, -2), (9, 0, 1)]:
        part = torch.diagonal(x, offset, a, b)
        src = torch.randn_like(part)
        want = torch.diagonal_scatter(x, src, offset, a, b)
        assert_same(sc.diagonal_scatter(*to_mx((x, src)), offset, a, b), want)
    places = torch.tensor([[0, 7], [-1, 30]])
    values = torch.randn(2, 2)
    for accumulate in (False, True):
        want = x.clone().put_(places, values, accumulate)
        assert_same(sc.put(*to_mx((x, places, values)), accumulate), want)
