"""ops.complex against torch."""

from __future__ import annotations

import mlx.core as mx
import pytest
import torch

from pytorch_to_mlx.ops import complex as cx
from tests.ops.torch_parity import assert_same, to_mx

NAN, INF = float("nan"), float("inf")


def test_parts() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(3, 4), torch.randn(3, 4)
    z = torch.complex(a, b)
    assert_same(cx.complex_of(*to_mx((a, b))), z)
    assert_same(cx.view_as_complex(to_mx(torch.stack([a, b], -1))), z)
    pairs = torch.randn(2, 3, 4)
    view = mx.moveaxis(to_mx(pairs), 0, -1)  # not contiguous
    assert_same(cx.view_as_complex(view), torch.view_as_complex(pairs.movedim(0, -1).contiguous()))
    assert_same(cx.view_as_real(to_mx(z)), torch.view_as_real(z))
    assert_same(cx.conj(to_mx(z)), torch.conj(z).resolve_conj())
    assert_same(cx.conj(to_mx(a)), a)
    assert_same(cx.real_part(to_mx(z)), z.real)
    assert_same(cx.real_part(to_mx(a)), a)
    assert_same(cx.imaginary_part(to_mx(z)), z.imag)
    assert_same(cx.polar(*to_mx((a.abs(), b * 5))), torch.polar(a.abs(), b * 5))
    assert_same(cx.complex_reciprocal(to_mx(z)), torch.reciprocal(z))
    big = torch.tensor([1e30 + 1e30j, 1e-30 - 2e-30j])
    got = cx.complex_reciprocal(to_mx(big))
    for i in range(2):
        assert_same(got[i], (1 / big.to(torch.complex128)).to(torch.complex64)[i])
    scalar = torch.tensor(1.5 - 2j)
    assert_same(cx.view_as_real(to_mx(scalar)), torch.view_as_real(scalar))
    assert_same(cx.complex_of(to_mx(scalar.real), to_mx(scalar.imag)), scalar)


def test_infinite_parts_stay_apart() -> None:
    a, b = torch.tensor([INF, 1.0, NAN, 0.0]), torch.tensor([1.0, -INF, 2.0, INF])
    z = cx.complex_of(*to_mx((a, b)))
    assert_same(z.real, a)
    assert_same(z.imag, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.complex64])
def test_angle(dtype: torch.dtype) -> None:
    x = torch.tensor([0, -1, 2, -3]).to(dtype)
    if dtype is torch.complex64:
        x = x + torch.tensor([0, 1, -2, 0]) * 1j
        x = torch.cat([x, torch.randn(9, dtype=dtype)])
    elif dtype.is_floating_point:
        x = torch.cat([x, torch.tensor([NAN, INF, -INF, -0.0], dtype=dtype)])
    assert_same(cx.angle_of(to_mx(x)), torch.angle(x))
