"""Rows that are flattened and unflattened again keep their leading axes."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import torch

from pytorch_to_mlx.graph import call, symbol
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes.clean import dead_code, identity
from pytorch_to_mlx.passes.fuse import flat_rows
from tests.passes.helpers import build, check, targets

B, T = symbol("B"), symbol("T")
RNG = np.random.default_rng(9)
X = RNG.normal(size=(3, 5, 4)).astype(np.float32)
W = {"w": torch.randn(4, 4), "b": torch.randn(4)}
SPEC = ("float32", ("B", "T", 4))
PASSES = [flat_rows.run, identity.run, dead_code.run]


def flat(x):
    return x.reshape(B * T, 4)


def block(x, w, b):
    h = call(mx.fast.layer_norm, x, b, b, 1e-5)
    return x + call("ops.linear", call(nn.relu, call("ops.linear", h, w, b)), w) * b


def test_a_feed_forward_block():
    graph = build(lambda x, w, b: block(flat(x + 1.0), w, b).reshape(B, T, 4), SPEC, weights=W)
    check(graph, PASSES, [X], tensors=W, rtol=1e-6)
    assert "mx.reshape" not in targets(graph)
    assert all(n.output.dims == (B, T, 4) for n in graph.nodes[:-1])


def test_two_ways_in_and_two_ways_out():
    def fn(x, y, w, b):
        h = flat(x) * call(mx.softmax, flat(y), axis=1)
        return h.reshape(B, T, 4), call("ops.linear", h, w).reshape(B, T, 2, 2)

    graph = build(fn, SPEC, SPEC, weights=W)
    check(graph, PASSES, [X, X[::-1].copy()], tensors=W, rtol=1e-6)
    assert targets(graph) == ["mx.softmax", "mx.multiply", "ops.linear", "mx.reshape"]


def mixes_rows(x, w, b):
    h = flat(x)
    return (h - call(mx.mean, h, axis=0)).reshape(B, T, 4)


def over_rows(x, w, b):
    return call(mx.softmax, flat(x), axis=0).reshape(B, T, 4)


def other_rows(x, w, b):
    return (flat(x) + call(mx.arange, B * T).reshape(B * T, 1).astype(DType("float32"))).reshape(
        B, T, 4
    )


def returned(x, w, b):
    h = flat(x) + 1.0
    return h.reshape(B, T, 4), h


def turned(x, w, b):
    return (flat(x) + flat(x.transpose(1, 0, 2))).reshape(B, T, 4)


def never_undone(x, w, b):
    return (flat(x) * 2.0).reshape(T, B, 4)


@pytest.mark.parametrize("fn", [mixes_rows, over_rows, other_rows, returned, turned, never_undone])
def test_near_misses_stay(fn):
    graph = build(fn, SPEC, weights=W)
    before = str(graph)
    check(graph, [flat_rows.run], [X], tensors=W)
    assert str(graph) == before
