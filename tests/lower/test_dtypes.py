"""Lowerings where the dtype decides: integers that wrap, half types that torch sums in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.lower.harness import check_op, lower, run_graph

I = torch.tensor([[3, -1, 4], [1, -5, 9], [2, 6, -7]])
LONG = torch.full((2, 3000), 4.0)
HALVES = [torch.float16, torch.bfloat16]

INTEGERS: dict[str, tuple[Any, tuple[torch.Tensor, ...]]] = {
    "addbmm with fractions": (
        lambda a, b, c: torch.addbmm(a, b, c, beta=0.2, alpha=2.6),
        (I, I[None], I[None]),
    ),
    "baddbmm with fractions": (
        lambda a, b, c: torch.baddbmm(a, b, c, beta=1.2, alpha=0.6),
        (I[None], I[None], I[None]),
    ),
    "addbmm of small integers": (
        torch.addbmm,
        tuple(x.to(torch.uint8) for x in (I, I[None] + 40, I[None] + 90)),
    ),
    "negative factors of unsigned numbers": (
        lambda x: (
            torch.addmm(x, x, x, beta=-1, alpha=-2),
            x.index_add(0, torch.tensor([0, 2]), x[:2], alpha=-1),
        ),
        (torch.arange(9, dtype=torch.uint8).reshape(3, 3),),
    ),
    "negative powers": (
        torch.pow,
        (torch.tensor([2, -1, -1, 1, 0, 3]), torch.tensor([-1, -3, -2, -1, -1, 2])),
    ),
    "a number to negative powers": (lambda x: 2**x, (torch.tensor([3, -1, 0]),)),
    "shifts by any count": (
        lambda x, n: (x << n, x >> n),
        (torch.tensor([1, 2, -8, -8]), torch.tensor([64, -1, 2, 70])),
    ),
    "shifts by a number": (lambda x: (x << 2, x >> 1, x << 40), (I.to(torch.int32),)),
    "isclose of what float32 cannot tell apart": (
        lambda x, y: torch.isclose(x, y, rtol=0, atol=0),
        (torch.tensor([2**53, 5]), torch.tensor([2**53 + 1, 5])),
    ),
    "tensordot": (
        lambda x, y: (torch.tensordot(x, y, 2), torch.tensordot(x, y, ([2], [0]))),
        (torch.arange(18).reshape(2, 3, 3), I.repeat(3, 1).reshape(3, 3, 3)),
    ),
    "inner of rank 3": (torch.inner, (I[0], torch.arange(18).reshape(2, 3, 3))),
    "einsum of products that wrap": (
        lambda x, y: (torch.einsum("ij,jk->ik", x, y), torch.einsum("ij,kj->", x, y)),
        (I * 2**61, I),
    ),
    "numbers beyond the dtype": (
        lambda x: (x + 300, x > 300, 300 - x, x % 300, x & 300),
        (torch.tensor([100, -5, 44], dtype=torch.int8),),
    ),
    "fmod of the least integer": (
        lambda x: (torch.fmod(x, -2.5), torch.remainder(x, 2.5)),
        (torch.tensor([-(2**15), 2**15 - 1, 7], dtype=torch.int16),),
    ),
    "cosine_embedding_loss of unsigned targets": (
        F.cosine_embedding_loss,
        (I.to(torch.uint8) % 5, I.flip(0).to(torch.uint8) % 5, torch.tensor([1, 255, 0]).byte()),
    ),
    "relu6": (F.relu6, (I,)),
    "bilinear": (F.bilinear, (I, I.flip(0), torch.arange(36).reshape(4, 3, 3), torch.arange(4))),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name: str) -> None:
    fn, inputs = INTEGERS[name]
    check_op(fn, *inputs, dynamic=False)


def test_operands_of_two_dtypes() -> None:
    x, n = torch.tensor([1.5, -2.5, 3.5]), torch.tensor([1, -2, 3])
    check_op(lambda a, b: F.cosine_similarity(a, b, dim=0), x, torch.tensor(2), dynamic=False)
    for a, b in ((x, n), (n, x), (x.half(), n), (x * 1j, torch.tensor(1 + 2j))):
        check_op(torch.ldexp, a, b, dynamic=False)


C = torch.tensor([[1 + 1j, 2 - 2j, 0.5j], [3, 1e-4 + 1e-4j, -1j], [2, 1j, -3 + 0.25j]])
COMPLEX: dict[str, Any] = {
    "isclose": lambda x: torch.isclose(x, x.conj()),
    "spreads": lambda x: (x.var(1), x.std(), *torch.var_mean(x, 0, correction=0.5)),
    "expm1": torch.expm1,
    "sigmoid": torch.sigmoid,
    "sinc": torch.sinc,
    "logsumexp": lambda x: (x.logsumexp(1), x.logsumexp((0, 1), keepdim=True)),
    "renorm": lambda x: x.renorm(2, 0, 1.5),
    "rms_norm": lambda x: F.rms_norm(x, (3,), eps=1e-3),
    "solvers": lambda x: (torch.linalg.inv(x), torch.linalg.solve(x, x.mT)),
    "solve_triangular": lambda x: torch.linalg.solve_triangular(x, x.mT, upper=True),
    "cholesky": lambda x: torch.linalg.cholesky(x @ x.mH + torch.eye(3)),
    "determinants": lambda x: (torch.linalg.det(x), torch.linalg.slogdet(x)),
    "hermitian pinv": lambda x: torch.linalg.pinv(x, hermitian=True),
    "stft": lambda x: torch.view_as_real(
        torch.stft(x.reshape(9), 4, onesided=False, center=False, return_complex=True)
    ),
    "stft in parts": lambda x: torch.stft(
        x.reshape(9), 4, onesided=False, center=False, return_complex=False
    ),
    "matrix_power": lambda x: torch.linalg.matrix_power(x, -2),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_numbers(name: str) -> None:
    check_op(COMPLEX[name], C, atol=1e-3, rtol=1e-4, dynamic=False)


def test_random_complex_numbers() -> None:
    for draw in (torch.Tensor.uniform_, torch.Tensor.normal_):
        check_op(lambda x, draw=draw: draw(x.clone(), -2, 3), C, dynamic=False, values=False)
    many = torch.zeros(20000, dtype=torch.complex64)
    captured, graph = lower(lambda x: x.clone().normal_(-2, 0.5), many, dynamic=False)
    (got,) = run_graph(graph, [many], captured.tensors)
    drawn = torch.view_as_real(torch.tensor(np.array(got)))
    assert (drawn.mean(0) + 2).abs().max() < 0.02  # torch's mean is that of either part
    assert (drawn.std(0) - 0.5 / 2**0.5).abs().max() < 0.02


SUMS: dict[str, Any] = {
    "cumsum": lambda x: x.cumsum(1),
    "cumprod": lambda x: (1 + x / 4096).cumprod(1),
    "logcumsumexp": lambda x: (x - x).logcumsumexp(1),
    "mean": lambda x: (x.mean(1), (x * 16).mean()),
    "var": lambda x: ((x * torch.arange(3000, device=x.device) % 97).var(1), (x * 16).var()),
    "std": lambda x: torch.std_mean((x * torch.arange(3000) % 97), 1, correction=0),
    "var, half an element corrected": lambda x: (x * torch.arange(3000) % 97).var(
        1, correction=0.5
    ),
    "batch statistics": lambda x: F.batch_norm(x.t(), None, None, training=True),
    "norm": lambda x: ((x * 64).norm(dim=1), torch.linalg.vector_norm(x * 8)),
    "mse_loss": lambda x: F.mse_loss(x * 32, x - x),
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", SUMS)
def test_half_types_are_summed_in_float32(name: str, dtype: torch.dtype) -> None:
    check_op(SUMS[name], LONG.to(dtype), dynamic=False)


@pytest.mark.parametrize("dtype", HALVES)
def test_attention_weights_of_many_keys(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    query, key = (torch.randn(1, 2, n, 8).to(dtype) for n in (3, 3000))

    def weights(q, k):
        return torch.ops.aten._scaled_dot_product_attention_math(q, k, k)[1].sum(-1)

    check_op(weights, query, key, dynamic=False)
