"""ops.factorisations against torch."""

from __future__ import annotations

import mlx.core as mx
import pytest
import torch

from pytorch_to_mlx.ops import factorisations as fa
from pytorch_to_mlx.ops.linalg import adjoint
from tests.ops.torch_parity import assert_same, to_mx

SHAPES = [(4, 4), (5, 3), (3, 5), (2, 4, 3), (0, 3, 3), (3, 0), (0, 3)]


def matrix(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("shape", SHAPES)
def test_packed_reflections(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    a = matrix(*shape, dtype=dtype)
    assert_same(fa.geqrf(to_mx(a)), tuple(torch.geqrf(a)), 3e-5)


def test_a_triangle_needs_no_reflection() -> None:
    a = matrix(4, 4).triu()
    assert_same(fa.geqrf(to_mx(a)), tuple(torch.geqrf(a)))


@pytest.mark.parametrize("mode", ["reduced", "complete", "r"])
@pytest.mark.parametrize("shape", SHAPES)
def test_qr_has_signs_of_lapack(shape: tuple[int, ...], mode: str) -> None:
    a = matrix(*shape)
    assert_same(fa.qr(to_mx(a), mode), tuple(torch.linalg.qr(a, mode)), 3e-5)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_products_with_q(left: bool, transpose: bool) -> None:
    packed, tau = torch.geqrf(matrix(4, 3))
    other = matrix(4, 5) if left else matrix(5, 4)
    want = torch.ormqr(packed, tau, other, left, transpose)
    assert_same(fa.ormqr(*to_mx((packed, tau, other)), left, transpose), want, 3e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_lu(shape: tuple[int, ...]) -> None:
    a = matrix(*shape)
    assert_same(fa.lu_factor(to_mx(a)), tuple(torch.linalg.lu_factor(a)), 3e-5)
    assert_same(fa.lu(to_mx(a)), tuple(torch.linalg.lu(a)), 3e-5)


@pytest.mark.parametrize("adjoint_of", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_solving_with_factors(left: bool, adjoint_of: bool) -> None:
    packed, pivots = torch.linalg.lu_factor(matrix(2, 4, 4))
    b = matrix(2, 4, 3) if left else matrix(2, 3, 4)
    want = torch.linalg.lu_solve(packed, pivots, b, left=left, adjoint=adjoint_of)
    assert_same(fa.lu_solve(*to_mx((packed, pivots, b)), left, adjoint_of), want, 1e-4)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 4, 4)])
def test_the_whole_svd(shape: tuple[int, ...]) -> None:
    a = matrix(*shape)
    u, s, vh = fa.svd_full(to_mx(a))
    assert u.shape[-1] == shape[-2]
    assert vh.shape[-2] == shape[-1]
    k = s.shape[-1]
    assert_same((u[..., :k] * mx.expand_dims(s, -2)) @ vh[..., :k, :], a, 3e-5)
    assert_same(u @ adjoint(u), torch.eye(shape[-2]).expand(*shape[:-2], -1, -1), 3e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_eigenvectors(dtype: torch.dtype) -> None:
    a = matrix(2, 4, 4, dtype=dtype)
    values, vectors = fa.eig(to_mx(a))
    wide = to_mx(a).astype(mx.complex64)
    assert_same(wide @ vectors - vectors * mx.expand_dims(values, -2), 0j * matrix(2, 4, 4), 3e-5)


@pytest.mark.parametrize("driver", ["gels", "gelsy", "gelsd", "gelss"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 4, 4), (2, 5, 3)])
def test_least_squares(shape: tuple[int, ...], driver: str) -> None:
    a, b = matrix(*shape), matrix(*shape[:-1], 2)
    want = torch.linalg.lstsq(a, b, driver=driver)
    assert_same(fa.lstsq(to_mx(a), to_mx(b), None, driver), tuple(want), 5e-5)
