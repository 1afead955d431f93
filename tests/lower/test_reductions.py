"""Lowerings of reductions, running sums, order and products against torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.lower.harness import check_op, targets

X = torch.tensor([[[1.5, -2.0, 0.25], [3.0, 0.5, -1.0]], [[0.0, 2.5, 4.0], [-3.5, 1.0, 0.75]]])
M = X[0]
I = torch.tensor([[3, -1, 4], [1, -5, 9]])
B = torch.tensor([[True, False, True], [True, True, True]])
N = torch.tensor([[1.0, float("nan"), 3.0], [4.0, 5.0, float("nan")]])
FAR = X + 1000.0
LEFT = M[:, :2].clone()
XLEFT = X[:, :, :2].clone()

ROWS: list[tuple[Any, tuple[torch.Tensor, ...]]] = [
    (lambda x: x.sum(), (X,)),
    (lambda x: x.sum(-1), (X,)),
    (lambda x: x.sum((0, 2), keepdim=True), (X,)),
    (lambda x: x.sum(0), (I,)),
    (lambda x: x.sum(), (B,)),
    (lambda x: x.sum(1), (I.int(),)),
    (lambda x: x.sum(1, dtype=torch.float32), (I,)),
    (lambda x: x.prod(), (M,)),
    (lambda x: x.prod(1), (I,)),
    (lambda x: x.mean(), (X,)),
    (lambda x: x.mean((1, 2)), (X,)),
    (lambda x: x.mean(-1, keepdim=True), (X,)),
    (lambda x: x.mean(dtype=torch.float32), (I,)),
    (lambda x: x.nansum(1), (N,)),
    (lambda x: x.nanmean(1), (N,)),
    (lambda x: x.var(-1), (X,)),
    (lambda x: x.var(), (X,)),
    (lambda x: x.var(1, correction=0, keepdim=True), (X,)),
    (lambda x: x.var((0, 2), correction=2), (X,)),
    (lambda x: x.var(1, unbiased=False), (X,)),
    (lambda x: x.std(-1), (X,)),
    (lambda x: x.std(), (X,)),
    (lambda x: torch.var_mean(x, 1), (X,)),
    (lambda x: torch.std_mean(x, (0, 1), correction=0, keepdim=True), (X,)),
    (lambda x: x.amax(1), (X,)),
    (lambda x: x.amax((0, 1), keepdim=True), (X,)),
    (lambda x: x.amin(), (X,)),
    (lambda x: x.amax(1), (N,)),
    (lambda x: x.max(), (I,)),
    (lambda x: x.min(), (X,)),
    (lambda x: x.max(1), (X,)),
    (lambda x: x.min(-1, keepdim=True), (X,)),
    (lambda x: x.argmax(), (X,)),
    (lambda x: x.argmax(-1), (X,)),
    (lambda x: x.argmin(1, keepdim=True), (X,)),
    (lambda x: torch.aminmax(x, dim=1), (X,)),
    (lambda x: x.any(), (B,)),
    (lambda x: x.any(1), (I,)),
    (lambda x: x.all(1, keepdim=True), (B,)),
    (lambda x: x.all(), (X,)),
    (torch.ops.aten._is_all_true.default, (B,)),
    (torch.ops.aten._is_any_true.default, (B,)),
    (lambda x: torch.any(x, (0, 1)), (B,)),
    (lambda x: torch.count_nonzero(x), (I,)),
    (lambda x: torch.count_nonzero(x, 1), (X[0],)),
    (lambda x: x.logsumexp(1), (X,)),
    (lambda x: x.logsumexp((0, 1), keepdim=True), (X,)),
    (lambda x: x.norm(), (X,)),
    (lambda x: x.norm(dim=1), (X,)),
    (lambda x: x.norm(1, dim=-1, keepdim=True), (X,)),
    (lambda x: torch.linalg.vector_norm(x, 3, dim=(0, 1)), (X,)),
    (lambda x: torch.linalg.vector_norm(x, float("inf"), dim=1), (X,)),
    (lambda x: torch.linalg.norm(x), (M,)),
    (lambda x: torch.dist(x, x + 1, 2), (X,)),
    (lambda x: x.cumsum(1), (X,)),
    (lambda x: x.cumsum(-1), (I.int(),)),
    (lambda x: x.cumsum(0), (B,)),
    (lambda x: x.cumprod(1), (X,)),
    (lambda x: x.cummax(1), (X,)),
    (lambda x: x.cummin(-1), (X,)),
    (lambda x: x.logcumsumexp(1), (X,)),
    (lambda x: torch.diff(x), (X,)),
    (lambda x: torch.diff(x, n=2, dim=0), (I.repeat(2, 1),)),
    (lambda x: torch.diff(x, dim=1, prepend=x[:, :1]), (X,)),
    (lambda x: torch.diff(x, 0, prepend=x[..., :1]), (X,)),
    (lambda x: x.sort(), (X,)),
    (lambda x: x.sort(1, descending=True), (X,)),
    (lambda x: x.sort(stable=True, dim=0), (I,)),
    (lambda x: x.argsort(), (X,)),
    (lambda x: x.argsort(-1, descending=True), (X,)),
    (lambda x: x.msort(), (X,)),
    (lambda x: x.topk(2), (X,)),
    (lambda x: x.topk(1, dim=0, largest=False), (X,)),
    (lambda x: x.kthvalue(2), (X,)),
    (lambda x: x.median(), (X,)),
    (lambda x: x.median(1), (X,)),
    (lambda x: x.nanmedian(1), (N,)),
    (lambda x: x.mode(1), (I,)),
    (lambda x: torch.quantile(x, 0.3, dim=1), (X,)),
    (lambda x: torch.quantile(x[0, 0, 0], 0.3, dim=0), (X,)),
    (lambda x: x[0, 0, 0].max(0, keepdim=True), (X,)),
    (lambda x: torch.quantile(x, torch.tensor([0.25, 0.5])), (X,)),
    (lambda x: torch.nanquantile(x, 0.5, dim=1), (N,)),
    (lambda x, y: torch.searchsorted(x.sort(-1)[0], y), (M, M + 0.1)),
    (lambda x, y: torch.bucketize(x, y), (X, torch.tensor([-1.0, 0.5, 2.0]))),
    (lambda x: torch.bucketize(x, torch.tensor([-1.0, 0.5, 2.0]), right=True), (X,)),
    (lambda x: torch.histc(x, 4, -4.0, 4.0), (X,)),
    (lambda x: torch.trapezoid(x, dx=0.5), (X,)),
]

PRODUCTS: list[tuple[Any, tuple[torch.Tensor, ...]]] = [
    (lambda a, b: a @ b, (M, M.t().contiguous())),
    (torch.mm, (M, M.t().contiguous())),
    (torch.mm, (I, I.t().contiguous())),
    (torch.bmm, (X, X.transpose(1, 2).contiguous())),
    (torch.matmul, (X, M.t().contiguous())),
    (torch.matmul, (X, M[0])),
    (torch.matmul, (M[0], M[1])),
    (torch.mv, (M, M[0])),
    (torch.dot, (M[0], M[1])),
    (torch.vdot, (M[0], M[1])),
    (torch.outer, (M[0], M[1])),
    (torch.inner, (M, M)),
    (torch.addmm, (LEFT, M, M.t().contiguous())),
    (
        lambda a, b, c: torch.addmm(a, b, c, beta=0.5, alpha=2),
        (M[0][:2].clone(), M, M.t().contiguous()),
    ),
    (lambda a, b, c: torch.addmm(a, b, c, beta=0), (LEFT / 0, M, M.t().contiguous())),
    (torch.addmv, (M[:, 0], M, M[0])),
    (torch.addr, (M, M[:, 0], M[0])),
    (torch.baddbmm, (XLEFT, X, X.transpose(1, 2).contiguous())),
    (torch.addbmm, (LEFT, X, X.transpose(1, 2).contiguous())),
    (lambda a, b: torch.einsum("bij,bkj->bik", a, b), (X, X)),
    (lambda a, b: torch.einsum("b i j, j -> b i", a, b), (X, M[0])),
    (lambda a, b: torch.einsum("bij,bkj->bki", a, b), (X, X)),
    (lambda a, b: torch.einsum("bij,bij->bj", a, b), (X, X)),
    (lambda a, b: torch.einsum("ibj,kbj->bik", a, b), (X, X)),
    (lambda a, b: torch.einsum("jbi,kbi->kbj", a, b), (X, X)),
    (lambda a, b: torch.einsum("bij,bkj->bik", a[:1], b), (X, X)),
    (lambda a, b: torch.einsum("bij,bkj->bik", a[..., :1], b), (X, X)),
    (lambda a, b: torch.einsum("bij,bkj", a, b), (X, X)),
    (lambda a, b: torch.tensordot(a, b, dims=([1, 2], [1, 2])), (X, X)),
    (lambda a, b: torch.tensordot(a[:, :1], b, dims=([1, 2], [1, 2])), (X, X)),
    (torch.kron, (M, M)),
    (torch.linalg.multi_dot, ([M, M.t().contiguous(), M],)),
    (lambda a: a.half() @ a.half().t(), (M,)),
]

SQUARE = torch.tensor([[4.0, 1.0, 0.5], [1.0, 3.0, -0.25], [0.5, -0.25, 2.0]])

MATRICES: list[tuple[Any, tuple[torch.Tensor, ...]]] = [
    (torch.linalg.inv, (SQUARE,)),
    (torch.linalg.det, (SQUARE,)),
    (torch.linalg.slogdet, (SQUARE,)),
    (torch.logdet, (SQUARE,)),
    (torch.linalg.solve, (SQUARE, SQUARE + 1)),
    (torch.linalg.cholesky, (SQUARE,)),
    (lambda a: torch.linalg.solve_triangular(a.tril(), a, upper=False), (SQUARE,)),
    (lambda a: torch.cholesky_solve(a, torch.linalg.cholesky(a)), (SQUARE,)),
    (torch.linalg.eigvalsh, (SQUARE,)),
    (torch.linalg.svdvals, (SQUARE,)),
    (torch.linalg.pinv, (SQUARE,)),
    (torch.linalg.matrix_exp, (SQUARE / 4,)),
    (lambda a: torch.linalg.matrix_power(a, 3), (SQUARE,)),
    (torch.linalg.cross, (SQUARE, SQUARE + 1)),
    (torch.linalg.vecdot, (SQUARE, SQUARE)),
    (lambda a: torch.renorm(a, 2, 0, 1.0), (SQUARE,)),
    (torch.vander, (SQUARE[0],)),
    (torch.block_diag, (SQUARE, SQUARE)),
    (torch.cartesian_prod, (SQUARE[0], SQUARE[1])),
]


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_reduction(row: int) -> None:
    check_op(ROWS[row][0], *ROWS[row][1], atol=2e-6)


@pytest.mark.parametrize("row", range(len(PRODUCTS)))
def test_product(row: int) -> None:
    fn, inputs = PRODUCTS[row]
    check_op(
        (lambda *a: fn(list(a))) if isinstance(inputs[0], list) else fn,
        *(inputs[0] if isinstance(inputs[0], list) else inputs),
        atol=1e-5,
    )


@pytest.mark.parametrize("row", range(len(MATRICES)))
def test_matrix(row: int) -> None:
    # Factorisations round differently in LAPACK's and MLX's order of operations.
    check_op(MATRICES[row][0], *MATRICES[row][1], atol=2e-5, rtol=1e-4, dynamic=False)


def test_the_variance_of_far_values_does_not_cancel() -> None:
    check_op(lambda x: x.var(-1), FAR, atol=1e-4)


def test_a_matrix_product_is_one_call() -> None:
    assert targets(torch.addmm, LEFT, M, M.t().contiguous()) == ["mx.matmul", "mx.add"]
    assert targets(lambda x: x.argmax(-1), X) == ["mx.argmax", "mx.astype"]
