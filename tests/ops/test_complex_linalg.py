"""ops.complex_linalg against torch."""

from __future__ import annotations

import pytest
import torch

from pytorch_to_mlx.ops import complex_linalg as cl
from pytorch_to_mlx.ops.factorisations import lstsq
from tests.ops.torch_parity import assert_same, to_mx

LOOSE = 1e-4


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64)


def square(*batch: int, n: int = 4) -> torch.Tensor:
    return drawn(*batch, n, n) + 3 * torch.eye(n)


@pytest.mark.parametrize("batch", [(), (3,), (2, 1)])
def test_solvers(batch: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    a, b, v = square(*batch), drawn(*batch, 4, 2), drawn(*batch, 4)
    m = to_mx(a)
    assert_same(cl.inv_complex(m), torch.linalg.inv(a), LOOSE)
    assert_same(cl.solve_complex(m, to_mx(b)), torch.linalg.solve(a, b), LOOSE)
    assert_same(cl.solve_complex(m, to_mx(v)), torch.linalg.solve(a, v), LOOSE)
    side = b.mT.contiguous()
    want = torch.linalg.solve(a, side, left=False)
    assert_same(cl.solve_complex(m, to_mx(side), False), want, LOOSE)
    for upper in (False, True):
        for unit in (False, True):
            want = torch.linalg.solve_triangular(a, b, upper=upper, unitriangular=unit)
            got = cl.solve_triangular_complex(m, to_mx(b), upper, True, unit)
            assert_same(got, want, LOOSE)
        want = torch.linalg.solve_triangular(a, side, upper=upper, left=False)
        assert_same(cl.solve_triangular_complex(m, to_mx(side), upper, False), want, LOOSE)
    assert_same(cl.matrix_power_complex(m, -3), torch.linalg.matrix_power(a, -3), LOOSE)


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("upper", [False, True])
def test_cholesky(batch: tuple[int, ...], upper: bool) -> None:
    torch.manual_seed(0)
    root = square(*batch)
    a, b = root @ root.mH, drawn(*batch, 4, 2)
    want = torch.linalg.cholesky(a, upper=upper)
    assert_same(cl.cholesky_complex(to_mx(a), upper), want, LOOSE)
    # The other triangle is not read.
    assert_same(cl.cholesky_complex(to_mx(a.triu() if upper else a.tril()), upper), want, LOOSE)
    factor = to_mx(want)
    solved = torch.cholesky_solve(b, want, upper)
    assert_same(cl.cholesky_solve_complex(to_mx(b), factor, upper), solved, LOOSE)
    inverse = torch.cholesky_inverse(want, upper)
    assert_same(cl.cholesky_inverse_complex(factor, upper), inverse, LOOSE)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_determinants(batch: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    a = square(*batch)
    assert_same(cl.det_complex(to_mx(a)), torch.linalg.det(a), LOOSE)
    assert_same(cl.slogdet_complex(to_mx(a)), tuple(torch.linalg.slogdet(a)), LOOSE)
    assert_same(cl.logdet_complex(to_mx(a)), torch.logdet(a), LOOSE)


def test_least_squares() -> None:
    torch.manual_seed(0)
    a, b = drawn(5, 3), drawn(5, 2)
    want = torch.linalg.lstsq(a, b, driver="gelsd")
    got = lstsq(to_mx(a), to_mx(b), driver="gelsd")
    for g, w in zip(got, want, strict=True):
        if w.dtype.is_floating_point or w.dtype.is_complex:
            assert_same(g, w, LOOSE)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5, 3), (2, 3, 5), (2, 0, 3)])
def test_lu(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    a = drawn(*shape)
    assert_same(cl.lu_factor_complex(to_mx(a)), tuple(torch.linalg.lu_factor(a)), LOOSE)
    assert_same(cl.lu_complex(to_mx(a)), tuple(torch.linalg.lu(a)), LOOSE)


def test_lu_without_a_pivot() -> None:
    a = torch.tensor([[0, 2, 1], [0, 1j, 3], [0, 1, 1 + 1j]], dtype=torch.complex64)
    assert_same(cl.lu_factor_complex(to_mx(a)), tuple(torch.linalg.lu_factor_ex(a))[:2], LOOSE)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("of_adjoint", [True, False])
def test_lu_solve(left: bool, of_adjoint: bool) -> None:
    torch.manual_seed(0)
    a, b = square(3), drawn(3, 4, 2) if left else drawn(3, 2, 4)
    factors = torch.linalg.lu_factor(a)
    want = torch.linalg.lu_solve(*factors, b, left=left, adjoint=of_adjoint)
    packed, pivots = map(to_mx, factors)
    assert_same(cl.lu_solve_complex(packed, pivots, to_mx(b), left, of_adjoint), want, LOOSE)


def test_nothing() -> None:
    a = drawn(2, 0, 0)
    assert_same(cl.inv_complex(to_mx(a)), torch.linalg.inv(a))
    assert_same(cl.cholesky_complex(to_mx(a)), torch.linalg.cholesky(a))
    assert_same(cl.det_complex(to_mx(a)), torch.linalg.det(a))
    assert_same(cl.slogdet_complex(to_mx(a)), tuple(torch.linalg.slogdet(a)))
