"""Lowerings where the dtype decides: half types that torch sums in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.lower.harness import check_op

LONG = torch.full((2, 3000), 4.0)
HALVES = [torch.float16, torch.bfloat16]

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
