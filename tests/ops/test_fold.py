"""ops.fold against torch."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytorch_to_mlx.ops import fold as fd
from tests.ops.layouts import drawn, last, torch_last
from tests.ops.torch_parity import assert_same, to_mx

pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=60)
@given(
    kernel=pair,
    dilation=pair,
    stride=pair,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    batch=st.sampled_from([1, 2]),
)
def test_unfold_and_fold(kernel: Any, dilation: Any, stride: Any, padding: Any, batch: int) -> None:
    size = (6, 9)
    for n, k, d, p in zip(size, kernel, dilation, padding, strict=True):
        assume(d * (k - 1) + 1 <= n + 2 * p)
    x = drawn(batch, 3, *size)
    want = F.unfold(x, kernel, dilation, padding, stride)
    columns = fd.unfold(last(x), kernel, dilation, padding, stride)
    assert_same(columns, want.transpose(1, 2), rtol=0)
    back = F.fold(want, size, kernel, dilation, padding, stride)
    assert_same(fd.fold(columns, size, kernel, dilation, padding, stride), torch_last(back))


def test_fold_of_tiles_and_of_an_empty_batch() -> None:
    for batch in (0, 2):
        x = drawn(batch, 4, 6, 6)
        columns = fd.unfold(last(x), (2, 3), (1, 1), (0, 0), (2, 3))
        assert columns.shape == (batch, 6, 24)
        assert_same(fd.fold(columns, (6, 6), (2, 3), (1, 1), (0, 0), (2, 3)), torch_last(x), rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.bool, torch.complex64])
def test_unfold_dtypes(dtype: torch.dtype) -> None:
    x = drawn(1, 2, 5, 6, dtype=dtype)
    want = F.unfold(x, (2, 3), 1, 1, 2)
    got = fd.unfold(last(x), (2, 3), (1, 1), (1, 1), (2, 2))
    assert_same(got, want.transpose(1, 2), rtol=0)


@given(axis=st.integers(-3, 2), size=st.integers(0, 4), step=st.integers(1, 5), flip=st.booleans())
def test_unfold_dim(axis: int, size: int, step: int, flip: bool) -> None:
    x = drawn(4, 5, 6)
    y = to_mx(x)
    if flip:  # a view that is not contiguous
        x, y = x.transpose(0, 2), y.transpose(2, 1, 0)
    assert_same(fd.unfold_dim(y, axis, size, step), x.unfold(axis, size, step), rtol=0)


def test_unfold_dim_of_scalars_and_too_long_windows() -> None:
    x = torch.tensor(3.0)
    assert_same(fd.unfold_dim(to_mx(x), 0, 1, 1), x.unfold(0, 1, 1), rtol=0)
    with pytest.raises(ValueError, match="longer"):
        fd.unfold_dim(mx.zeros((2, 3)), 1, 4, 1)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_pixel_shuffle(factor: int, batch: int) -> None:
    x = drawn(batch, 2 * factor**2, 3, 4)
    want = F.pixel_shuffle(x, factor)
    assert_same(fd.pixel_shuffle(last(x), factor), torch_last(want), rtol=0)
    assert_same(fd.pixel_unshuffle(last(want), factor), torch_last(x), rtol=0)


def test_pixel_shuffle_with_other_leading_axes() -> None:
    x = drawn(8, 3, 4)
    want = F.pixel_shuffle(x, 2).movedim(0, -1)
    assert_same(fd.pixel_shuffle(to_mx(x.movedim(0, -1).contiguous()), 2), want, rtol=0)
    x = drawn(2, 3, 8, 3, 4)
    want = F.pixel_shuffle(x, 2).movedim(2, -1)
    assert_same(fd.pixel_shuffle(to_mx(x.movedim(2, -1).contiguous()), 2), want, rtol=0)


def test_depth_to_space() -> None:
    x = drawn(2, 12, 3, 4)
    N, C, H, W = x.shape
    b = 2  # the ONNX specification's DCR formula
    want = x.reshape(N, b, b, C // b**2, H, W).permute(0, 3, 4, 1, 5, 2)
    want = want.reshape(N, C // b**2, H * b, W * b)
    got = fd.depth_to_space(last(x), b)
    assert_same(got, torch_last(want), rtol=0)
    assert_same(fd.space_to_depth(got, b), torch_last(x), rtol=0)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_channel_shuffle(groups: int) -> None:
    x = drawn(2, 6, 3, 4)
    want = F.channel_shuffle(x, groups)
    assert_same(fd.channel_shuffle(last(x), groups), torch_last(want), rtol=0)


def test_inside_compile() -> None:
    x = drawn(2, 3, 6, 5)
    want = F.fold(F.unfold(x, 3, 1, 1), (6, 5), 3, 1, 1)

    def there_and_back(a: mx.array) -> mx.array:
        columns = fd.unfold(a, (3, 3), (1, 1), (1, 1), (1, 1))
        return fd.fold(columns, (6, 5), (3, 3), (1, 1), (1, 1), (1, 1))

    assert_same(mx.compile(there_and_back)(last(x)), torch_last(want))
