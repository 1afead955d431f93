"""ops.conv against torch's convolutions."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytorch_to_mlx.ops import conv as cv
from tests.ops.layouts import drawn, last, torch_last
from tests.ops.torch_parity import assert_same, to_mx

CONV: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_T: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
SIZES = (7, 6, 5)
triples = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
pairs = st.tuples(st.integers(0, 2), st.integers(0, 2))


def torch_asymmetric(x: torch.Tensor, pads: Any) -> torch.Tensor:
    return F.pad(x, [p for pair in reversed(pads) for p in pair])


@settings(max_examples=40)
@given(
    rank=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    kernel=triples,
    stride=triples,
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(pairs, pairs, pairs),
    batch=st.sampled_from([1, 2]),
)
def test_conv_padded(
    rank: int, groups: int, kernel: Any, stride: Any, dilation: Any, padding: Any, batch: int
) -> None:
    kernel, stride, dilation = kernel[:rank], stride[:rank], dilation[:rank]
    padding = padding[:rank]
    x, w = drawn(batch, 4, *SIZES[:rank]), drawn(8, 4 // groups, *kernel)
    want = CONV[rank](
        torch_asymmetric(x, padding), w, stride=stride, dilation=dilation, groups=groups
    )
    got = cv.conv_padded(last(x), last(w), stride, padding, dilation, groups)
    assert_same(got, torch_last(want))


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch pads by a copy
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2])
def test_conv_same(rank: int, groups: int, kernel: int, dilation: int) -> None:
    x, w = drawn(2, 4, *SIZES[:rank]), drawn(8, 4 // groups, *(kernel,) * rank)
    want = CONV[rank](x, w, padding="same", dilation=dilation, groups=groups)
    assert_same(cv.conv_same(last(x), last(w), (dilation,) * rank, groups), torch_last(want))


@settings(max_examples=25)
@given(
    groups=st.sampled_from([2, 4]),
    kernel=triples,
    stride=triples,
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)),
)
def test_conv3d_grouped(groups: int, kernel: Any, stride: Any, dilation: Any, padding: Any) -> None:
    x, w = drawn(2, 4, *SIZES), drawn(8, 4 // groups, *kernel)
    want = F.conv3d(x, w, None, stride, padding, dilation, groups)
    got = cv.conv3d_grouped(last(x), last(w), stride, padding, dilation, groups)
    assert_same(got, torch_last(want))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int8])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_conv_integer(dtype: torch.dtype, rank: int, groups: int) -> None:
    x, w = (
        drawn(2, 4, *SIZES[:rank], dtype=dtype),
        drawn(6, 4 // groups, *(3, 2, 2)[:rank], dtype=dtype),
    )
    stride, dilation, padding = (2, 1, 1)[:rank], (1, 2, 1)[:rank], ((1, 1), (0, 0), (2, 2))[:rank]
    want = CONV[rank](
        x.long(), w.long(), None, stride, tuple(p for p, _ in padding), dilation, groups
    ).to(dtype)
    assert_same(
        cv.conv_integer(last(x), last(w), stride, padding, dilation, groups), torch_last(want)
    )


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_conv_complex(rank: int, groups: int) -> None:
    x = drawn(2, 4, *SIZES[:rank], dtype=torch.complex64)
    w = drawn(6, 4 // groups, *(3, 2, 2)[:rank], dtype=torch.complex64)
    ones = (1,) * rank
    want = CONV[rank](x, w, None, ones, ones, ones, groups)
    got = cv.conv_complex(last(x), last(w), ones, ((1, 1),) * rank, ones, groups)
    assert_same(got, torch_last(want))


@settings(max_examples=60)
@given(
    rank=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    kernel=triples,
    stride=triples,
    dilation=triples,
    padding=st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3)),
    extra=st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)),
)
def test_conv_transpose(
    rank: int, groups: int, kernel: Any, stride: Any, dilation: Any, padding: Any, extra: Any
) -> None:
    kernel, stride, dilation = kernel[:rank], stride[:rank], dilation[:rank]
    padding, extra = padding[:rank], extra[:rank]
    for e, s, d in zip(extra, stride, dilation, strict=True):
        assume(e < max(s, d))
    sizes = SIZES[:rank]
    for n, k, s, d, p, e in zip(sizes, kernel, stride, dilation, padding, extra, strict=True):
        assume((n - 1) * s - 2 * p + d * (k - 1) + e + 1 > 0)
    x, w = drawn(2, 4, *sizes), drawn(4, 8 // groups, *kernel)
    want = CONV_T[rank](x, w, None, stride, padding, extra, groups, dilation)
    weight = cv.conv_transpose_weight(to_mx(w), groups)
    got = cv.conv_transpose(last(x), weight, stride, padding, dilation, extra, groups)
    assert_same(got, torch_last(want))


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_conv_transpose_of_other_numbers(
    dtype: torch.dtype, groups: int, rank: int, padding: int
) -> None:
    if dtype.is_complex:
        x, w = drawn(2, 4, *SIZES[:rank], dtype=dtype), drawn(4, 3, 3, 2, 2, dtype=dtype)
    else:
        x = torch.randint(0, 100, (2, 4, *SIZES[:rank])).to(dtype)
        w = torch.randint(0, 100, (4, 3, 3, 2, 2)).to(dtype)
    w = w[(..., *(0,) * (3 - rank))].contiguous()
    stride, dilation, extra = (2, 3, 2)[:rank], (2, 1, 1)[:rank], (1, 2, 0)[:rank]
    pads = (padding,) * rank
    want = CONV_T[rank](x, w, None, stride, pads, extra, groups, dilation)
    made = cv.conv_transpose_complex if dtype.is_complex else cv.conv_transpose_integer
    weight = cv.conv_transpose_weight(to_mx(w), groups)
    assert_same(made(last(x), weight, stride, pads, dilation, extra, groups), torch_last(want))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_low_precision(dtype: torch.dtype, rank: int) -> None:
    x, w = drawn(2, 4, *SIZES[:rank], dtype=dtype), drawn(8, 2, *(3, 2, 2)[:rank], dtype=dtype)
    ones = (1,) * rank
    # Two roundings more than torch's single one: a term for each depth tap.
    rtol = 5e-3 if dtype is torch.float16 else 4e-2
    want = CONV[rank](x, w, None, ones, 0, ones, 2)
    assert_same(
        cv.conv_padded(last(x), last(w), ones, ((0, 0),) * rank, ones, 2), torch_last(want), rtol
    )
    wt = drawn(4, 4, *(3, 2, 2)[:rank], dtype=dtype)
    want = CONV_T[rank](x, wt, None, 2, 1, 1, 2)
    got = cv.conv_transpose(
        last(x), cv.conv_transpose_weight(to_mx(wt), 2), (2,) * rank, ones, ones, ones, 2
    )
    assert_same(got, torch_last(want), rtol)


def test_empty_batch_and_compile() -> None:
    w = drawn(8, 2, 3, 3, 3)
    f = mx.compile(lambda a: cv.conv3d_grouped(a, last(w), (1, 1, 1), (1, 1, 1), (1, 1, 1), 2))
    for batch in (0, 1, 2):
        x = drawn(batch, 4, *SIZES)
        assert_same(f(last(x)), torch_last(F.conv3d(x, w, padding=1, groups=2)))
