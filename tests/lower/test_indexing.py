"""Lowerings of indexing, masks, bits, creation, random, complex and special functions."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.lower.harness import check_op, targets

X = torch.arange(24.0).reshape(2, 3, 4) - 7.5
M = X[0]
I = torch.tensor([[3, -1, 4], [1, -5, 9]])
J = torch.tensor([[2, 6, 1], [3, 5, 4]])
B = torch.tensor([[True, False, True], [True, True, False]])
IDX = torch.tensor([2, 0, -1])
G = torch.tensor([[[0, 1, 2, 0]], [[2, 1, 0, 1]]])
Z = torch.tensor([[1 + 2j, -3 + 0.5j], [0.5 - 1j, 2 + 0j]])
P = torch.tensor([[0.2, 0.5, 1.5], [2.5, 3.0, 4.5]])

ROWS: list[tuple[Any, tuple[torch.Tensor, ...]]] = [
    (lambda x, i: x[:, i], (X, IDX)),
    (lambda x, i: x[i], (M, IDX)),
    (lambda x, i: x[i[:, None], i[None, :]], (M, torch.tensor([0, 2, 1]))),
    (lambda x, i: x[:, i, i], (X, torch.tensor([0, 2]))),
    (lambda x, i: x[i, :, i], (X, torch.tensor([0, 1]))),
    (lambda x, i: x[..., i], (X, IDX)),
    (lambda x, i: x.index_select(1, i), (X, IDX % 3)),
    (lambda x, i: x.gather(1, i), (X, G)),
    (lambda x, i: x.gather(-1, i), (M, torch.tensor([[0, 1], [3, 2], [1, 1]]))),
    (lambda x, i: x.gather(0, i), (M, torch.tensor([[0, 1], [2, 2]]))),
    (lambda x, i: torch.take_along_dim(x, i, 1), (X, G)),
    (lambda x, i: torch.take(x, i), (X, I.abs())),
    (lambda x: torch.where(x > 0, x, 0.0), (X,)),
    (lambda x: torch.where(x > 0, 1.0, 0.0), (X,)),
    (lambda x: torch.where(x > 0, 1, 0), (X,)),
    (lambda x, y: torch.where(x > 0, x, y), (X, M)),
    (lambda x: x.masked_fill(x > 0, float("-inf")), (X,)),
    (lambda x: x.masked_fill(x > 0, 3), (I,)),
    (lambda x, v: x.masked_fill(x > 0, v), (X, torch.tensor(2.0))),
    (lambda x, y: x.masked_scatter(x > 0, y), (X, X * 2)),
    (lambda x, t: torch.isin(x, t), (I, torch.tensor([1, 4]))),
    (lambda x, i, v: x.index_put((i,), v), (M, torch.tensor([0, 2]), M[:2] * 2)),
    (lambda x, i, v: x.index_put((i,), v, accumulate=True), (M, torch.tensor([0, 0]), M[:2])),
    (lambda x, m: x.index_put((m,), torch.tensor(9.0)), (M, M > 0)),
    (lambda x, i, v: x.index_add(0, i, v), (M, torch.tensor([0, 0]), M[:2])),
    (lambda x, i, v: x.index_add(0, i, v, alpha=2), (M, torch.tensor([0, 1]), M[:2])),
    (lambda x, i, v: x.index_copy(0, i, v), (M, torch.tensor([2, 0]), M[:2])),
    (lambda x, i: x.index_fill(0, i, 5.0), (M, torch.tensor([2, 0]))),
    (lambda x, i, v: x.scatter(0, i, v), (M, torch.tensor([[0, 1, 2, 0]]), M[:1])),
    (lambda x, i: x.scatter(1, i, 9.0), (M, torch.tensor([[0], [1], [3]]))),
    (lambda x, i, v: x.scatter_add(0, i, v), (M, torch.tensor([[0, 1, 2, 0]]), M[:1])),
    (
        lambda x, i, v: x.scatter_reduce(0, i, v, "amax"),
        (M, torch.tensor([[0, 1, 2, 0]]), M[:1]),
    ),
    (lambda x: torch.slice_scatter(x, x[:, :2] * 2, 1, 1, 3), (M,)),
    (lambda x, v: torch.select_scatter(x, v, 0, 1), (M, M[0])),
    (lambda x, v: torch.diagonal_scatter(x, v), (M, M[0, :3].clone())),
    (lambda x, i, v: torch.Tensor.put(x, i, v), (M, torch.tensor([1, 5]), M[0, :2].clone())),
    # comparisons and bits
    (lambda x: x == 3, (I,)),
    (lambda x: x > 0.5, (I,)),
    (lambda x, y: x <= y, (X, M)),
    (lambda x: x != x.flip(0), (X,)),
    (lambda a, b: a & b, (B, B.flip(0))),
    (lambda a, b: a | b, (I, J)),
    (lambda a, b: a ^ b, (B, B.flip(0))),
    (lambda a, b: a & b, (I, J)),
    (lambda a: a & 3, (I,)),
    (lambda a: ~a, (B,)),
    (lambda a: ~a, (I,)),
    (lambda a: a << 2, (J,)),
    (lambda a: a >> 1, (I,)),
    (torch.logical_and, (X, X > 0)),
    (torch.logical_or, (I, B)),
    (torch.logical_xor, (X, X > 0)),
    (lambda x, y: torch.isclose(x, y), (X, X + 1e-7)),
    # creation
    (lambda x: torch.arange(x.shape[1]), (X,)),
    (lambda x: torch.arange(1, x.shape[1] + 1, 2), (X,)),
    (lambda x: torch.arange(x.shape[0], dtype=torch.float32), (X,)),
    (lambda x: x + torch.arange(0, 1, 0.25), (X,)),
    (lambda x: torch.zeros(x.shape[0], 3), (X,)),
    (lambda x: torch.ones(x.shape[0], dtype=torch.int64), (X,)),
    (lambda x: torch.full((x.shape[0], 2), float("-inf")), (X,)),
    (lambda x: torch.full((x.shape[0],), True), (X,)),
    (lambda x: torch.full((x.shape[0],), 7), (X,)),
    (lambda x: torch.zeros_like(x), (X,)),
    (lambda x: torch.ones_like(x, dtype=torch.bool), (X,)),
    (lambda x: torch.full_like(x, 2.5), (X,)),
    (lambda x: torch.full_like(x, 2.5, dtype=torch.complex64), (X,)),
    (lambda x: x.new_zeros(x.shape[0], 2), (X.half(),)),
    (lambda x: x.new_ones((2,)) * x[0, 0, :2], (X,)),
    (lambda x: x.new_full((x.shape[1],), 3), (X,)),
    (lambda x: x * torch.scalar_tensor(2.0), (X,)),
    (lambda x: x + torch.tensor([1.0, 2.0, 3.0, 4.0]), (X,)),
    (lambda x: torch.linspace(0, 1, 5) + x[0, 0, 0], (X,)),
    (lambda x: torch.logspace(0, 2, 3) + x[0, 0, 0], (X,)),
    (lambda x: torch.eye(x.shape[1]), (X,)),
    (lambda x: torch.eye(x.shape[1], 2, dtype=torch.int64), (X,)),
    (lambda x: torch.tril_indices(3, 3) + x, (torch.tensor(1),)),
    (lambda x: torch.zeros_like(x).fill_(3.0), (X,)),
    # complex numbers
    (lambda a, b: torch.complex(a, b), (M, M + 1)),
    (lambda a, b: torch.polar(a, b), (P, P)),
    (torch.angle, (Z,)),
    (torch.view_as_real, (Z,)),
    (lambda x: torch.view_as_complex(x.reshape(3, 2, 2)), (M,)),
    (lambda z: (z * z.conj()).real, (Z,)),
    (lambda z: z.imag + z.real, (Z,)),
    (lambda z: torch.conj_physical(z), (Z,)),
    # special functions
    (torch.lgamma, (P,)),
    (torch.digamma, (P,)),
    (torch.erfc, (M / 4,)),
    (torch.special.ndtr, (M / 4,)),
    (torch.special.entr, (P,)),
    (torch.i0, (P,)),
    (torch.special.i1e, (P,)),
    (torch.special.bessel_j0, (P,)),
    (torch.special.gammainc, (P, P + 0.5)),
    (lambda x: torch.polygamma(1, x), (P,)),
    (lambda x: torch.special.multigammaln(x + 2, 2), (P,)),
    (lambda x: torch.special.legendre_polynomial_p(x / 5, 3), (P,)),
]

RANDOM: list[Any] = [
    lambda x: torch.rand(x.shape[0], 3),
    lambda x: torch.randn(x.shape[0], 3),
    lambda x: torch.rand_like(x),
    lambda x: torch.randn_like(x.half()),
    lambda x: torch.randint(0, 5, (x.shape[0], 2)),
    lambda x: torch.randint(7, (x.shape[0],)).int(),
    lambda x: torch.randperm(x.shape[1]),
    lambda x: torch.bernoulli(torch.sigmoid(x)),
    lambda x: torch.bernoulli(x, 0.3),
    lambda x: torch.multinomial(x[0].abs() + 1, 2),
    lambda x: torch.normal(x, 1.0),
    lambda x: torch.empty_like(x).uniform_(-1, 1),
    lambda x: torch.empty_like(x).normal_(),
    lambda x: torch.empty_like(x).exponential_(),
    lambda x: torch.poisson(x.abs()),
]


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_op(row: int) -> None:
    check_op(ROWS[row][0], *ROWS[row][1], atol=3e-6)


@pytest.mark.parametrize("row", range(len(RANDOM)))
def test_random(row: int) -> None:
    check_op(RANDOM[row], X, values=False)


def test_data_dependent_sizes() -> None:
    check_op(lambda x: torch.nonzero(x > 0), X)
    check_op(torch.nonzero, torch.tensor(1.5))
    check_op(lambda x: torch.masked_select(x, x > 0), X)
    check_op(lambda x: x[x > 0], X)


def test_a_number_read_from_an_array() -> None:
    def fn(x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        return x * n.item()

    check_op(fn, X, torch.tensor(3), dynamic=False)
    check_op(fn, X, torch.tensor(2.5), dynamic=False)


def test_plain_calls() -> None:
    assert targets(lambda x, i: x[:, i], X, IDX) == ["getitem"]
    assert targets(lambda x: x.masked_fill(x > 0, 0.0), X) == ["mx.greater", "mx.where"]
    assert targets(lambda x: torch.zeros(x.shape[0], 3), X) == ["mx.zeros"]
