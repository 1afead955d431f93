"""ops.padding against torch.nn.functional.pad."""

from __future__ import annotations

import mlx.core as mx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from pytorch_to_mlx.ops import padding as pd
from tests.ops.layouts import drawn
from tests.ops.torch_parity import assert_same, to_mx

MODES = ["constant", "reflect", "replicate", "circular"]


def torch_pads(pads: list[tuple[int, int]]) -> list[int]:
    return [p for pair in reversed(pads) for p in pair]


@given(
    rank=st.integers(1, 3),
    mode=st.sampled_from(MODES),
    pairs=st.lists(st.tuples(st.integers(-2, 3), st.integers(-2, 3)), min_size=3, max_size=3),
    batch=st.sampled_from([1, 2]),
)
def test_pad_nd(rank: int, mode: str, pairs: list[tuple[int, int]], batch: int) -> None:
    x = drawn(batch, 2, *(5, 6, 7)[:rank])
    pads = ((0, 0), (0, 0), *pairs[:rank])
    want = F.pad(
        x, torch_pads(pairs[:rank]), mode=mode, **({"value": 1.5} if mode == "constant" else {})
    )
    assert_same(pd.pad_nd(to_mx(x), pads, mode, 1.5), want, rtol=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64]
)
def test_dtypes(mode: str, dtype: torch.dtype) -> None:
    x = drawn(1, 2, 6, dtype=dtype)
    # torch's reflect and replicate kernels know no integers: compare through float, then cast.
    wide = (
        x
        if mode in ("constant", "circular") or x.is_floating_point() or x.is_complex()
        else x.float()
    )
    want = F.pad(wide, [3, -1], mode=mode).to(dtype)
    assert_same(pd.pad_nd(to_mx(x), ((0, 0), (0, 0), (3, -1)), mode), want, rtol=0)


@pytest.mark.parametrize("value", [3, -3, 2.75, True, float("-inf"), float("nan")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.bool])
def test_constant_value_takes_the_dtype(value: float, dtype: torch.dtype) -> None:
    if not dtype.is_floating_point and (value != value or value == float("-inf") or value == 2.75):
        value = 1
    x = drawn(2, 3, dtype=dtype)
    want = F.pad(x, [1, 2, 0, 1], value=value)
    assert_same(pd.pad_constant(to_mx(x), ((0, 1), (1, 2)), value), want, rtol=0)


def test_int64_is_exact() -> None:
    x = torch.tensor([2**53 + 1])
    assert_same(pd.pad_constant(to_mx(x), ((1, 0),), 2**40 + 1), F.pad(x, [1, 0], value=2**40 + 1))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_empty_batch(mode: str) -> None:
    x = torch.zeros(0, 2, 5)
    want = F.pad(torch.zeros(1, 2, 5), [1, 2], mode=mode)[:0]
    assert_same(pd.pad_nd(to_mx(x), ((0, 0), (0, 0), (1, 2)), mode), want)


def test_constant_pads_an_empty_axis() -> None:
    assert_same(pd.pad_constant(mx.zeros((2, 0)), ((0, 0), (1, 2)), 4.0), torch.full((2, 3), 4.0))


def test_what_torch_refuses() -> None:
    x = mx.zeros((1, 1, 3))
    with pytest.raises(ValueError, match="smaller than the axis"):
        pd.pad_reflect(x, ((0, 0), (0, 0), (3, 0)))
    with pytest.raises(ValueError, match="twice"):
        pd.pad_circular(x, ((0, 0), (0, 0), (4, 0)))
    with pytest.raises(ValueError, match="none of"):
        pd.pad_nd(x, ((0, 0), (0, 0), (1, 0)), "mirror")


def test_inside_compile() -> None:
    x = drawn(2, 3, 5)
    for mode in MODES:
        f = mx.compile(lambda a, mode=mode: pd.pad_nd(a, ((0, 0), (0, 0), (2, 1)), mode))
        assert_same(f(to_mx(x)), F.pad(x, [2, 1], mode=mode), rtol=0)
