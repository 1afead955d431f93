"""Scaled dot-product attention against torch: masks, alignments, ranks, grouped queries."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.lower.harness import check_op, targets

Q, K, V = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 5, 8), torch.randn(2, 4, 5, 6)
LONG_K, LONG_V = torch.randn(2, 4, 7, 8), torch.randn(2, 4, 7, 6)
FEW_K, FEW_V = torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 6)
KEEP = torch.rand(2, 1, 5, 5) > 0.4
KEEP[0, 0, 2] = False  # a query that may look at nothing
ADD = torch.randn(5, 5)
ADD[3] = -float("inf")
sdpa = F.scaled_dot_product_attention

CASES: dict[str, tuple[Any, tuple[torch.Tensor, ...]]] = {
    "plain": (sdpa, (Q, K, V)),
    "causal": (lambda q, k, v: sdpa(q, k, v, is_causal=True), (Q, K, V)),
    "causal, more keys": (lambda q, k, v: sdpa(q, k, v, is_causal=True), (Q, LONG_K, LONG_V)),
    "causal, fewer keys": (
        lambda q, k, v: sdpa(q, k, v, is_causal=True),
        (LONG_K, Q, V),
    ),
    "scale": (lambda q, k, v: sdpa(q, k, v, scale=0.3), (Q, K, V)),
    "boolean mask with an empty row": (sdpa, (Q, K, V, KEEP)),
    "additive mask with an empty row": (sdpa, (Q, K, V, ADD)),
    "grouped queries": (lambda q, k, v: sdpa(q, k, v, enable_gqa=True), (Q, FEW_K, FEW_V)),
    "grouped causal": (
        lambda q, k, v: sdpa(q, k, v, is_causal=True, enable_gqa=True),
        (Q, FEW_K, FEW_V),
    ),
    "3-D": (sdpa, (Q[0], K[0], V[0])),
    "3-D with masks": (sdpa, (Q[0], K[0], V[0], KEEP[0].expand(4, 5, 5).contiguous())),
    "2-D": (sdpa, (Q[0, 0], K[0, 0], V[0, 0])),
    "2-D, mask": (sdpa, (Q[0, 0], K[0, 0], V[0, 0], ADD)),
    "5-D": (sdpa, (Q[None], K[None], V[None])),
    "5-D, mask": (sdpa, (Q[None], K[None], V[None], KEEP[None])),
    "one batch of keys": (sdpa, (Q, K[:1], V[:1])),
    "flash for a CPU": (
        lambda q, k: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, k, 0.0, True),
        (Q, K),
    ),
    "math": (
        lambda q, k, v, m: torch.ops.aten._scaled_dot_product_attention_math(q, k, v, m),
        (Q, K, V, ADD),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_sdpa(name: str) -> None:
    fn, inputs = CASES[name]
    check_op(fn, *inputs, atol=1e-5, dynamic=False)


class SelfAttention(torch.nn.Module):
    """Batch and length may vary, the size of a head is known."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.project = torch.nn.Linear(8, 24)
        self.causal = causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        split = self.project(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return sdpa(split[0], split[1], split[2], is_causal=self.causal)


@pytest.mark.parametrize("causal", [False, True])
def test_at_another_size(causal: bool) -> None:
    graph = check_op(SelfAttention(causal), torch.randn(2, 5, 8), atol=1e-5)
    (call,) = (n for n in graph.nodes if n.target == "mx.fast.scaled_dot_product_attention")
    assert call.kwargs.get("mask") == ("causal" if causal else None)


def test_half_precision_takes_a_float_mask() -> None:
    # Two ulp of float16 at 1: the two libraries round the scores at different places.
    check_op(sdpa, Q.half(), K.half(), V.half(), ADD.half(), atol=2e-3, dynamic=False)


def test_the_plain_and_the_causal_case_are_one_call() -> None:
    for name in ("plain", "causal", "grouped causal"):
        fn, inputs = CASES[name]
        assert targets(fn, *inputs, dynamic=False) == ["mx.fast.scaled_dot_product_attention"]


def test_multi_head_attention() -> None:
    module = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(2, 5, 8)
    check_op(lambda x: module.eval()(x, x, x)[0], x, atol=1e-5, dynamic=False)
