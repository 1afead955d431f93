"""Heads folded into the batch become an axis; rows that mix stay folded."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
import torch
from torch import nn

from pytorch_to_mlx.graph import call, symbol
from pytorch_to_mlx.passes.clean import CLEAN, dead_code, view_chains
from pytorch_to_mlx.passes.fuse import FUSE, linear_views, parts, sdpa, unfold_heads
from tests.passes.helpers import body, build, check, exported, run_pass, targets

B, T = symbol("B"), symbol("T")
RNG = np.random.default_rng(5)
PASSES = [unfold_heads.run, dead_code.run, view_chains.run, dead_code.run]
Q, K, V = (RNG.normal(size=(2, 5, 32)).astype(np.float32) for _ in range(3))
MASK = RNG.normal(size=(2, 4, 5, 5)).astype(np.float32)
SPECS = [("float32", ("B", "T", 32))] * 3
MASK_SPEC = ("float32", ("B", 4, "T", "T"))


def folded(x):
    return x.reshape(B, T, 4, 8).transpose(0, 2, 1, 3).reshape(4 * B, T, 8)


def by_time(x):
    return x.transpose(1, 0, 2).reshape(T, 4 * B, 8).transpose(1, 0, 2)


def attention(q, k, v, mask=None, fold=folded):
    scores = call(mx.matmul, fold(q), fold(k).transpose(0, 2, 1))
    if mask is not None:
        scores = scores + mask.reshape(4 * B, T, T)
    out = call(mx.matmul, call(mx.softmax, scores, axis=2), fold(v))
    return out.reshape(B, 4, T, 8).transpose(0, 2, 1, 3).reshape(B, T, 32)


@pytest.mark.parametrize("fold", [folded, by_time])
def test_batched_products(fold):
    graph = build(lambda q, k, v, m: attention(q, k, v, m, fold), *SPECS, MASK_SPEC)
    check(graph, PASSES, [Q, K, V, MASK], rtol=1e-6)
    assert "4*B" not in body(graph)
    assert targets(graph).count("mx.reshape") == 4  # three in, one out
    check(graph, [sdpa.run, dead_code.run], [Q, K, V, MASK], rtol=1e-5)
    assert "mx.squeeze" not in targets(graph)


def test_scores_that_take_from_a_table_of_distances():
    def fn(q, k, v, table, places):
        query = folded(q)
        far = call(mx.matmul, query, call(mx.tile, table, (B, 1, 1)).transpose(0, 2, 1))
        where = call(mx.broadcast_to, call(mx.expand_dims, places, 0), (4 * B, T, T))
        bias = call(mx.take_along_axis, far, where, axis=2)
        scores = call(mx.matmul, query, folded(k).transpose(0, 2, 1)) + bias
        weights = call(mx.softmax, scores.reshape(B, 4, T, T), axis=-1)
        return call(mx.matmul, weights, v.reshape(B, T, 4, 8).transpose(0, 2, 1, 3))

    graph = build(fn, *SPECS, ("float32", (4, 6, 8)), ("int32", ("T", "T")))
    table = RNG.normal(size=(4, 6, 8)).astype(np.float32)
    places = RNG.integers(0, 6, (5, 5)).astype(np.int32)
    check(graph, [*PASSES, sdpa.run, dead_code.run], [Q, K, V, table, places], rtol=1e-5)
    assert "mx.fast.scaled_dot_product_attention" in targets(graph)


def test_a_mask_alone():
    def fn(mask, bias):
        return (mask.reshape(4 * B, T, T) + call(mx.expand_dims, bias, 0)).reshape(B, 4, T, T)

    graph = build(fn, MASK_SPEC, ("float32", ("T", "T")))
    check(graph, PASSES, [MASK, MASK[0, 0]])
    assert "4*B" not in body(graph)


@pytest.mark.parametrize(
    "fn",
    [
        lambda q, k, v: call(mx.matmul, folded(q), folded(k).transpose(0, 2, 1)),
        lambda q, k, v: call(mx.softmax, folded(q), axis=0),
        lambda q, k, v: folded(q) + folded(k),
    ],
)
def test_near_misses_stay(fn):
    """No softmax, one over the batch, no product."""
    graph = build(fn, *SPECS)
    before = body(graph)
    run_pass(graph, unfold_heads.run, dead_code.run)
    assert body(graph) == before


def test_a_number_goes_behind_the_views():
    def fn(q, k, v):
        return attention(q, k, v, fold=lambda x: (x.transpose(1, 0, 2).reshape(T, 4 * B, 8)
                                                  * 0.5).transpose(1, 0, 2))  # fmt: skip

    graph = build(fn, *SPECS)
    check(graph, PASSES, [Q, K, V], rtol=1e-6)
    assert "4*B" not in body(graph)


def test_a_transpose_goes_in_front_of_a_linear_layer():
    weights = {"w": torch.from_numpy(RNG.normal(size=(6, 32)).astype(np.float32))}

    def fn(x, w):
        rows = x.reshape(B, T, 4, 8).transpose(1, 0, 2, 3).reshape(T, B, 32)
        return call("ops.linear", rows, w).transpose(1, 0, 2)

    graph = build(fn, SPECS[0], weights=weights)
    check(
        graph, [linear_views.run, view_chains.run, dead_code.run], [Q], tensors=weights, rtol=1e-6
    )
    assert targets(graph) == ["ops.linear"]


def test_a_transpose_of_features_stays_behind():
    weights = {"w": torch.from_numpy(RNG.normal(size=(6, 32)).astype(np.float32))}

    def fn(x, w):
        return call("ops.linear", x.reshape(B * T, 32), w).transpose(1, 0)

    graph = build(fn, SPECS[0], weights=weights)
    check(graph, [linear_views.run, dead_code.run], [Q], tensors=weights)
    assert targets(graph) == ["mx.reshape", "ops.linear", "mx.transpose"]


def part(x, n):
    return call("getitem", x.reshape(B, T, 4, 8), (slice(None), slice(None), n))


def test_parts_of_an_axis():
    def fn(x):
        y = x.reshape(B, T, 4, 8)
        index = (slice(None), slice(None))
        return tuple(call("getitem", y, (*index, n)) for n in (1, 0, -1, 2))

    graph = build(fn, SPECS[0])
    check(graph, [parts.run, dead_code.run], [Q])
    assert targets(graph) == ["mx.split"]


def test_some_parts_stay():
    def fn(x):
        y = x.reshape(B, T, 4, 8)
        return tuple(call("getitem", y, (slice(None), slice(None), n)) for n in (0, 1, 2))

    graph = build(fn, SPECS[0])
    check(graph, [parts.run, dead_code.run], [Q])
    assert "mx.split" not in targets(graph)


class Attend(nn.Module):
    def __init__(self, **options):
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=options.pop("batch_first", True))
        self.options = options

    def forward(self, x, padding=None, mask=None):
        out, weights = self.attention(
            x, x, x, key_padding_mask=padding, attn_mask=mask, **self.options
        )
        return out if weights is None else (out, weights)


PADDING = torch.tensor([[False] * 7, [False] * 4 + [True] * 3])
CAUSAL = torch.ones(7, 7, dtype=torch.bool).triu(1)
FLOAT = torch.zeros(7, 7).masked_fill(CAUSAL, -1e4)


@pytest.mark.parametrize(
    "batch_first, weights, padding, mask",
    [
        (True, False, PADDING, CAUSAL),
        (False, False, None, FLOAT),
        (True, True, None, FLOAT),
        (False, True, PADDING, CAUSAL),
    ],
)
def test_multihead_attention(batch_first, weights, padding, mask):
    module = Attend(batch_first=batch_first, need_weights=weights).eval()
    x = torch.randn(2, 7, 32) if batch_first else torch.randn(7, 2, 32)
    given = [a for a in (x, padding, mask) if a is not None]
    if padding is None and mask is not None:
        inner = module
        module = nn.Module()
        module.inner = inner
        module.forward = lambda x, m: inner(x, None, m)
    graph, tensors = exported(module, *given)
    passes = [p for _, p in (*CLEAN, *FUSE, *CLEAN)]
    check(graph, passes, [a.numpy() for a in given], tensors=tensors, rtol=1e-5)
    found = targets(graph)
    assert found.count("mx.fast.scaled_dot_product_attention") == (not weights)
    assert found.count("mx.softmax") == bool(weights)
    assert "8, 7, " not in body(graph)  # no [batch * heads, ...]
