"""ops.shape against torch."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from pytorch_to_mlx.ops import shape as sh
from tests.ops.layouts import drawn
from tests.ops.torch_parity import assert_same, to_mx

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


@given(axis=st.integers(-3, 2), start=st.integers(-4, 3), length=st.integers(0, 3))
def test_narrow(axis: int, start: int, length: int) -> None:
    x = drawn(4, 5, 6)
    size = x.shape[axis]
    assume((start + size if start < 0 else start) + length <= size)
    assert_same(sh.narrow(to_mx(x), axis, start, length), x.narrow(axis, start, length), rtol=0)


def test_narrow_refuses_what_torch_refuses() -> None:
    with pytest.raises(ValueError, match="narrow"):
        sh.narrow(mx.zeros((3,)), 0, 2, 2)
    with pytest.raises(ValueError, match="add up"):
        sh.split_sizes(mx.zeros((3,)), [1, 1])


@given(size=st.integers(0, 9), parts=st.integers(1, 10), axis=st.sampled_from([0, 1, -1, -2]))
def test_splits(size: int, parts: int, axis: int) -> None:
    shape = [2, 2]
    shape[axis] = size
    x = drawn(*shape)
    y = to_mx(x)
    assert_same(sh.chunk(y, parts, axis), list(x.chunk(parts, axis)), rtol=0)
    assert_same(sh.split_every(y, parts, axis), list(x.split(parts, axis)), rtol=0)
    assert_same(sh.tensor_split(y, parts, axis), list(x.tensor_split(parts, axis)), rtol=0)
    sizes = [size // 2, 0, size - size // 2]
    assert_same(sh.split_sizes(y, sizes, axis), list(x.split(sizes, axis)), rtol=0)


@pytest.mark.parametrize("where", [(1, 3), (3, 1, -1), (0, 9), (), (2, 2), (-20, 4)])
def test_tensor_split_at_indices(where: tuple[int, ...]) -> None:
    x = drawn(5, 2)
    assert_same(sh.tensor_split(to_mx(x), where), list(x.tensor_split(where)), rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 2, 7])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_diff(dtype: torch.dtype, n: int, axis: int) -> None:
    x = drawn(4, 5, dtype=dtype)
    assert_same(sh.diff(to_mx(x), n, axis), torch.diff(x, n, axis), rtol=0)
    more = drawn(4, 5, dtype=dtype, seed=3)
    want = torch.diff(x, n, axis, more, more) if n else torch.cat([more, x, more], axis)
    assert_same(sh.diff(to_mx(x), n, axis, to_mx(more), to_mx(more)), want, rtol=0)


@pytest.mark.parametrize("k", range(-5, 6))
@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (-1, 0), (2, 1)])
def test_rot90(k: int, axes: tuple[int, int]) -> None:
    x = drawn(2, 3, 4)
    assert_same(sh.rot90(to_mx(x), k, axes), torch.rot90(x, k, axes), rtol=0)


@pytest.mark.parametrize("dtype", [*DTYPES[:1], *DTYPES[3:], torch.int8, torch.complex64])
@pytest.mark.parametrize("size", [(3, 3), (2, 5), (5, 2), (1, 1), (0, 3)])
def test_trace(dtype: torch.dtype, size: tuple[int, int]) -> None:
    x = drawn(*size, dtype=dtype)
    # torch's trace knows no bool: it counts like an integer.
    want = torch.trace(x.long() if dtype is torch.bool else x)
    assert_same(sh.trace(to_mx(x)), want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
@pytest.mark.parametrize("offset", [-3, -1, 0, 2])
@pytest.mark.parametrize("axes", [(-2, -1), (0, 1), (0, -1), (2, 0), (-1, 1), (1, 3)])
def test_diag_embed(dtype: torch.dtype, offset: int, axes: tuple[int, int]) -> None:
    x = drawn(2, 3, 4, dtype=dtype)
    want = torch.diag_embed(x, offset, *axes)
    assert_same(sh.diag_embed(to_mx(x), offset, *axes), want, rtol=0)
    if axes == (-2, -1):
        row = x[0, 0]
        assert_same(sh.diag_embed(to_mx(row), offset), torch.diag_embed(row, offset), rtol=0)


def test_diag_embed_keeps_not_a_number_off_the_zeros() -> None:
    x = torch.tensor([float("nan"), float("inf"), 1.0])
    assert_same(sh.diag_embed(to_mx(x), 1), torch.diag_embed(x, 1))


def test_block_diag() -> None:
    blocks = [drawn(2, 3), drawn(1, 1)[0, 0], drawn(4), drawn(3, 1), torch.zeros(0)]
    assert_same(sh.block_diag(to_mx(blocks)), torch.block_diag(*blocks), rtol=0)
    whole = [drawn(2, 2, dtype=torch.int64), drawn(1, 2, dtype=torch.int64)]
    assert_same(sh.block_diag(to_mx(whole)), torch.block_diag(*whole), rtol=0)


@pytest.mark.parametrize("indexing", ["ij", "xy"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_meshgrid(indexing: str, count: int) -> None:
    lines = [drawn(3), drawn(4), torch.tensor(2.0)][:count]
    want = list(torch.meshgrid(*lines, indexing=indexing))
    assert_same(sh.meshgrid(to_mx(lines), indexing), want, rtol=0)


def test_cartesian_prod() -> None:
    lines = [drawn(3, dtype=torch.int64), drawn(2, dtype=torch.int64), drawn(4, dtype=torch.int64)]
    for count in (1, 2, 3):
        want = torch.cartesian_prod(*lines[:count])
        assert_same(sh.cartesian_prod(to_mx(lines[:count])), want, rtol=0)


@pytest.mark.parametrize("r", [0, 1, 2, 3, 6])
@pytest.mark.parametrize("with_replacement", [False, True])
@pytest.mark.parametrize("size", [1, 4])
def test_combinations(r: int, with_replacement: bool, size: int) -> None:
    x = drawn(size)
    want = torch.combinations(x, r, with_replacement)
    assert_same(sh.combinations(to_mx(x), r, with_replacement), want, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.int64, torch.complex64])
@pytest.mark.parametrize("columns", [None, 0, 1, 2, 6])
@pytest.mark.parametrize("increasing", [False, True])
def test_vander(dtype: torch.dtype, columns: int | None, increasing: bool) -> None:
    x = drawn(4, dtype=dtype)
    want = torch.vander(x, columns, increasing)
    assert_same(sh.vander(to_mx(x), columns, increasing), want)


CASES: list[Any] = [[2, 0, 3, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 5]]


@pytest.mark.parametrize("repeats", CASES)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_repeat_interleave(repeats: list[int], dtype: torch.dtype) -> None:
    x, counts = drawn(3, 4), torch.tensor(repeats, dtype=dtype)
    indices = torch.repeat_interleave(counts)
    got = sh.repeat_indices(to_mx(counts))
    assert_same(got, indices.long(), rtol=0)
    for axis in (1, -1):
        want = x.repeat_interleave(counts, axis)
        assert_same(sh.repeat_interleave(to_mx(x), to_mx(counts), axis), want, rtol=0)
        total = sum(repeats)
        got = sh.repeat_interleave(to_mx(x), to_mx(counts), axis, total)
        assert_same(got, want, rtol=0)


def test_repeat_interleave_of_everything() -> None:
    x = drawn(2, 3)
    for counts in (torch.tensor([1, 0, 2, 3, 0, 1]), torch.tensor([2])):
        want = x.repeat_interleave(counts)
        assert_same(sh.repeat_interleave(to_mx(x), to_mx(counts)), want, rtol=0)
    empty = mx.zeros((0,), dtype=mx.int64)
    assert sh.repeat_interleave(mx.zeros((0, 2)), empty, 0).shape == (0, 2)


def test_inside_compile() -> None:
    x = drawn(3, 4)
    counts = torch.tensor([2, 0, 3, 1])
    f = mx.compile(lambda a, c: (sh.repeat_interleave(a, c, 1, 6), sh.diag_embed(a), sh.diff(a)))
    want = [x.repeat_interleave(counts, 1), torch.diag_embed(x), torch.diff(x)]
    assert_same(list(f(to_mx(x), to_mx(counts))), want, rtol=0)
