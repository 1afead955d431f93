"""ops.interpolate against torch.nn.functional.interpolate."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pytorch_to_mlx.ops import interpolate as ip
from tests.ops.layouts import drawn, last, special, torch_last
from tests.ops.torch_parity import assert_same

SIZES = (5, 7, 4)
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
counts = st.tuples(*[st.integers(1, 17)] * 3)
factors = st.tuples(*[st.sampled_from([0.5, 0.7, 1.0, 1.3, 2.0, 2.3, 3.0, 4.0, 1.1])] * 3)


def target(kind: str, size: Any, factor: Any, rank: int) -> tuple[dict[str, Any], Any, Any]:
    """torch's arguments, and ours: output size and scales."""
    if kind == "size":
        return {"size": size[:rank]}, size[:rank], None
    scales = factor[:rank]
    out = tuple(int(n * f) for n, f in zip(SIZES, scales, strict=False))
    return {"scale_factor": scales}, out, scales


@settings(max_examples=100)
@given(
    rank=st.integers(1, 3),
    kind=st.sampled_from(["size", "scale"]),
    size=counts,
    factor=factors,
    exact=st.booleans(),
)
def test_nearest(rank: int, kind: str, size: Any, factor: Any, exact: bool) -> None:
    x = special(2, 3, *SIZES[:rank])
    kwargs, out, scales = target(kind, size, factor, rank)
    want = F.interpolate(x, mode="nearest-exact" if exact else "nearest", **kwargs)
    assert_same(ip.interpolate_nearest(last(x), out, scales, exact), torch_last(want), rtol=0)


@settings(max_examples=120)
@given(
    rank=st.integers(1, 3),
    kind=st.sampled_from(["size", "scale"]),
    size=counts,
    factor=factors,
    align=st.booleans(),
)
def test_linear(rank: int, kind: str, size: Any, factor: Any, align: bool) -> None:
    x = drawn(2, 3, *SIZES[:rank])
    kwargs, out, scales = target(kind, size, factor, rank)
    want = F.interpolate(x, mode=LINEAR[rank], align_corners=align, **kwargs)
    assert_same(ip.interpolate_linear(last(x), out, align, scales), torch_last(want))


@settings(max_examples=100)
@given(kind=st.sampled_from(["size", "scale"]), size=counts, factor=factors, align=st.booleans())
def test_cubic(kind: str, size: Any, factor: Any, align: bool) -> None:
    x = drawn(2, 3, *SIZES[:2])
    kwargs, out, scales = target(kind, size, factor, 2)
    want = F.interpolate(x, mode="bicubic", align_corners=align, **kwargs)
    assert_same(ip.interpolate_cubic(last(x), out, align, scales), torch_last(want))


@settings(max_examples=100)
@given(
    kind=st.sampled_from(["size", "scale"]),
    size=counts,
    factor=factors,
    align=st.booleans(),
    cubic=st.booleans(),
)
def test_antialias(kind: str, size: Any, factor: Any, align: bool, cubic: bool) -> None:
    x = drawn(2, 3, *SIZES[:2])
    kwargs, out, scales = target(kind, size, factor, 2)
    if out[1] == 1:
        # torch 2.13 repeats the first row when a contiguous image shrinks to one column;
        # its channels-last kernel is right.
        x = x.contiguous(memory_format=torch.channels_last)
    mode = "bicubic" if cubic else "bilinear"
    want = F.interpolate(x, mode=mode, align_corners=align, antialias=True, **kwargs)
    got = ip.interpolate_antialias(last(x), out, align, scales, cubic)
    assert_same(got, torch_last(want))


@pytest.mark.parametrize("cubic", [False, True])
def test_antialias_of_larger_images(cubic: bool) -> None:
    x = drawn(1, 2, 97, 61)
    for size in ((12, 61), (32, 20), (1, 1), (96, 122)):
        mode = "bicubic" if cubic else "bilinear"
        x = x.contiguous(memory_format=torch.channels_last)
        want = F.interpolate(x, size, mode=mode, antialias=True)
        got = ip.interpolate_antialias(last(x), size, False, None, cubic)
        assert_same(got, torch_last(want))


def test_non_finite_values_stay_where_torch_has_them() -> None:
    x = drawn(1, 2, 12, 12)
    x[0, 0, 3, 4], x[0, 1, 0, 11] = float("nan"), float("inf")
    for size in ((24, 24), (36, 20), (5, 7)):
        want = F.interpolate(x, size, mode="bilinear")
        assert_same(ip.interpolate_linear(last(x), size, False), torch_last(want))
        want = F.interpolate(x, size, mode="bicubic")
        assert_same(ip.interpolate_cubic(last(x), size, False), torch_last(want))
        want = F.interpolate(x, size, mode="bilinear", antialias=True)
        assert_same(ip.interpolate_antialias(last(x), size, False), torch_last(want))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [(10, 14), (8, 3)])
def test_half_types(dtype: torch.dtype, size: tuple[int, int]) -> None:
    x = drawn(2, 3, 5, 7, dtype=dtype)
    # torch rounds between the axes for some layouts; float32 throughout is the reference.
    for mode, function in (("bilinear", ip.interpolate_linear), ("bicubic", ip.interpolate_cubic)):
        want = F.interpolate(x.float(), size, mode=mode).to(dtype)
        assert_same(function(last(x), size, False), torch_last(want))
    want = F.interpolate(x, size, mode="nearest")
    assert_same(ip.interpolate_nearest(last(x), size), torch_last(want), rtol=0)


@pytest.mark.parametrize("size", [(10, 14), (8, 3), (15, 28)])
def test_uint8(size: tuple[int, int]) -> None:
    x = torch.randint(0, 256, (2, 3, 5, 7), generator=torch.Generator().manual_seed(0)).byte()
    assert_same(ip.interpolate_nearest(last(x), size), torch_last(F.interpolate(x, size)))
    cases: list[tuple[Any, dict[str, Any]]] = [
        (ip.interpolate_linear(last(x), size, False), {"mode": "bilinear"}),
        (ip.interpolate_cubic(last(x), size, False), {"mode": "bicubic"}),
        (ip.interpolate_antialias(last(x), size, False), {"mode": "bilinear", "antialias": True}),
    ]
    for got, kwargs in cases:
        want = torch_last(F.interpolate(x, size, **kwargs)).int()
        assert got.dtype == mx.uint8
        # torch's uint8 kernels use fixed-point weights: one grey level, seldom.
        error = np.abs(np.array(got).astype(np.int32) - want.numpy())
        assert error.max() <= 1
        assert error.mean() < 0.03


def test_nearest_of_whole_factors_and_other_dtypes() -> None:
    for dtype in (torch.int64, torch.bool, torch.complex64):
        x = drawn(1, 2, 3, 4, dtype=dtype)
        want = x.repeat_interleave(3, 2).repeat_interleave(2, 3)
        assert_same(ip.interpolate_nearest(last(x), (9, 8)), torch_last(want), rtol=0)
    for factor in range(1, 17):
        line = drawn(1, 1, 50)
        want = F.interpolate(line, scale_factor=factor)
        got = ip.interpolate_nearest(last(line), (50 * factor,), (float(factor),))
        assert_same(got, torch_last(want), rtol=0)


def test_batches_and_compile() -> None:
    f = mx.compile(lambda a: ip.interpolate_linear(a, (10, 9), False))
    for batch in (1, 2):
        x = drawn(batch, 3, 5, 7)
        assert_same(f(last(x)), torch_last(F.interpolate(x, (10, 9), mode="bilinear")))
    assert ip.interpolate_linear(mx.zeros((0, 5, 7, 3)), (10, 9), False).shape == (0, 10, 9, 3)
