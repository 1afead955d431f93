"""ops.linalg against torch."""

from __future__ import annotations

import mlx.core as mx
import pytest
import torch

from pytorch_to_mlx.ops import factorisations as fa
from pytorch_to_mlx.ops import linalg as la
from tests.ops.torch_parity import assert_same, to_mx

BATCHES = [(), (3,), (2, 1)]


def square(batch: tuple[int, ...], n: int = 4) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(*batch, n, n) + 3 * torch.eye(n)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.float32])
def test_matmul(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    shapes = [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4))]
    for a_shape, b_shape in [*shapes, ((1, 5, 2, 3), (4, 1, 3, 2)), ((3,), (2, 3, 4))]:
        a, b = torch.randint(0, 200, a_shape).to(dtype), torch.randint(0, 200, b_shape).to(dtype)
        assert_same(la.matmul(*to_mx((a, b))), torch.matmul(a, b))
    c = torch.randint(0, 9, (2, 4)).to(dtype)
    a, b = torch.randint(0, 9, (2, 3)).to(dtype), torch.randint(0, 9, (3, 4)).to(dtype)
    for beta, alpha in [(1, 1), (0, 2), (3, 2)]:
        want = torch.addmm(c, a, b, beta=beta, alpha=alpha)
        assert_same(la.addmm(*to_mx((c, a, b)), beta, alpha), want)
    assert_same(la.einsum("ij,jk->ki", *to_mx((a, b))), torch.einsum("ij,jk->ki", a, b))
    wide, cube = a * 2**61 + 1, torch.arange(a.shape[0] ** 3).reshape((a.shape[0],) * 3)
    for equation in ("ji,jk", "i...,i->...", "ji,kl->", "ji,jk->jki", "...i,...k->...k"):
        given = (wide, a if "j" in equation else a[:, 0])
        if equation == "...i,...k->...k":
            given = (cube, cube[0])
        got = la.einsum(equation, *to_mx(given))
        assert_same(got, torch.einsum(equation, *given).to(given[0].dtype), note=equation)
    for equation in ("iij->ji", "iii", "aab,bcc->ac"):
        given = (cube, cube + 2**60)[: 1 + equation.count(",")]
        got = la.einsum(equation, *to_mx(given))
        assert_same(got, torch.einsum(equation, *given).to(given[0].dtype), note=equation)


def test_products() -> None:
    x, y = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    assert_same(la.vecdot(*to_mx((x, y)), 1), torch.linalg.vecdot(x, y, dim=1))
    z, w = torch.randn(3, 4, dtype=torch.complex64), torch.randn(3, 4, dtype=torch.complex64)
    assert_same(la.vecdot(*to_mx((z, w))), torch.linalg.vecdot(z, w))
    assert_same(la.cross(*to_mx((x, y)), 1), torch.linalg.cross(x, y, dim=1))
    v = torch.randint(0, 9, (5, 3))
    assert_same(la.cross(*to_mx((v, v[:1] + 1))), torch.linalg.cross(v, v[:1] + 1))
    chain = [torch.randn(3, 7), torch.randn(7, 2), torch.randn(2, 6), torch.randn(6, 4)]
    assert_same(la.multi_dot(to_mx(chain)), torch.linalg.multi_dot(chain))
    chain[0], chain[-1] = chain[0][0], chain[-1][:, 0]
    assert_same(la.multi_dot(to_mx(chain)), torch.linalg.multi_dot(chain))


@pytest.mark.parametrize("batch", BATCHES)
def test_square_matrices(batch: tuple[int, ...]) -> None:
    a = square(batch)
    m = to_mx(a)
    for n in (-2, 0, 1, 3, 6):
        assert_same(la.matrix_power(m, n), torch.linalg.matrix_power(a, n), 3e-5)
    for scale in (0.01, 1.0, 3.0):  # the exponential squares its own error s times
        assert_same(la.matrix_exp(m * scale), torch.linalg.matrix_exp(a * scale), 5e-5)
    assert_same(la.det(m), torch.linalg.det(a))
    assert_same(la.slogdet(m), tuple(torch.linalg.slogdet(a)))
    flipped = a.clone()
    flipped[..., 0, :] *= -1
    assert_same(la.logdet(to_mx(flipped)), torch.logdet(flipped))
    assert_same(la.inv(m), torch.linalg.inv(a))
    for b in (torch.randn(*batch, 4, 2), torch.randn(*batch, 4), torch.randn(4, 3)):
        if b.dim() == 2 and a.dim() == 4:
            continue
        assert_same(la.solve(m, to_mx(b)), torch.linalg.solve(a, b))
    b = torch.randn(*batch, 2, 4)
    assert_same(la.solve(m, to_mx(b), left=False), torch.linalg.solve(a, b, left=False))
    for p in (None, 2, -2, 1, -1, float("inf"), -float("inf"), "fro", "nuc"):
        assert_same(la.cond(m, p), torch.linalg.cond(a, p), 3e-5)
        if p is not None:
            want = torch.linalg.matrix_norm(a, p, keepdim=True)
            assert_same(la.matrix_norm(m, p, True), want)


@pytest.mark.parametrize("batch", BATCHES)
def test_triangles(batch: tuple[int, ...]) -> None:
    a, b = square(batch), torch.randn(*batch, 4, 2)
    row = torch.randn(*batch, 2, 4)
    m, mb, mr = to_mx((a, b, row))
    for upper in (False, True):
        for unit in (False, True):
            args = {"upper": upper, "unitriangular": unit}
            # torch wants the other triangle empty; MLX's own answer must not depend on it.
            t = torch.triu(a) if upper else torch.tril(a)
            want = torch.linalg.solve_triangular(t, b, **args)
            assert_same(la.solve_triangular(m, mb, **args), want, 3e-5)
            want = torch.linalg.solve_triangular(t, row, left=False, **args)
            assert_same(la.solve_triangular(m, mr, left=False, **args), want, 3e-5)
        positive = a @ a.mT + torch.eye(4)
        factor = torch.linalg.cholesky(positive, upper=upper)
        assert_same(la.cholesky(to_mx(positive), upper), factor)
        mf = to_mx(factor)
        assert_same(la.cholesky_solve(mb, mf, upper), torch.cholesky_solve(b, factor, upper), 3e-5)
        want = torch.cholesky_inverse(factor, upper)
        assert_same(la.cholesky_inverse(mf, upper), want, 3e-5)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 4, 4), (2, 5, 3)])
def test_rectangles(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    a = torch.randn(shape)
    m = to_mx(a)
    assert_same(la.svdvals(m), torch.linalg.svdvals(a))
    u, s, vh = la.svd_reduced(m)
    assert_same((u * mx.expand_dims(s, -2)) @ vh, a)
    assert_same(la.pinv(m), torch.linalg.pinv(a), 3e-5)
    b = torch.randn(*shape[:-1], 2)
    want = torch.linalg.lstsq(a, b, driver="gelsd").solution
    assert_same(fa.lstsq(m, to_mx(b))[0], want, 3e-5)
    low = a.clone()
    low[..., -1, :] = 2 * low[..., 0, :]
    low[..., 1, :] = low[..., 0, :]
    assert_same(la.matrix_rank(to_mx(low)), torch.linalg.matrix_rank(low))
    assert_same(la.matrix_rank(m, 0.4), torch.linalg.matrix_rank(a, rtol=0.4))
    if shape[-2] >= shape[-1]:
        h, tau = torch.geqrf(a)
        want = torch.linalg.householder_product(h, tau)
        assert_same(la.householder_product(*to_mx((h, tau))), want)
    lu, pivots = torch.linalg.lu_factor(a)
    assert_same(la.lu_unpack(*to_mx((lu, pivots))), torch.lu_unpack(lu, pivots))


def test_eigenvalues() -> None:
    a = square((2,))
    got = torch.tensor(la.eigvals(to_mx(a)).tolist())
    want = torch.linalg.eigvals(a)
    for g, w in zip(got, want, strict=True):
        gaps = (g[:, None] - w[None]).abs()
        assert gaps.min(0).values.max() < 2e-5
        assert gaps.min(1).values.max() < 2e-5
    even = a + a.mT
    values, vectors = la.eigh(to_mx(even))
    assert_same(values, torch.linalg.eigvalsh(even))
    assert_same((vectors * mx.expand_dims(values, -2)) @ mx.swapaxes(vectors, -1, -2), even)
