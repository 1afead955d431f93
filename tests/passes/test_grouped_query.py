"""Repeated key and value heads before attention."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from pytorch_to_mlx.graph import call
from pytorch_to_mlx.passes.clean import dead_code
from pytorch_to_mlx.passes.fuse import grouped_query
from tests.passes.helpers import build, check, targets

RNG = np.random.default_rng(4)
Q = RNG.normal(size=(2, 6, 5, 8)).astype(np.float32)
K, V = (RNG.normal(size=(2, 2, 5, 8)).astype(np.float32) for _ in range(2))
QS, KS = ("float32", ("B", 6, "T", 8)), ("float32", ("B", 2, "T", 8))
PASSES = [grouped_query.run, dead_code.run]
ATTENTION = "mx.fast.scaled_dot_product_attention"


def expanded(k):
    b, h, t, d = k.dims
    wide = call(mx.broadcast_to, call(mx.expand_dims, k, 2), (b, h, 3, t, d))
    return wide.reshape(b, 3 * h, t, d)


def attend(q, k, v):
    return call(mx.fast.scaled_dot_product_attention, q, k, v, scale=0.3)


@pytest.mark.parametrize(
    "repeated", [expanded, lambda k: call(mx.repeat, k, 3, axis=1)], ids=["expand", "repeat"]
)
def test_repeats_in_place_go(repeated):
    graph = build(lambda q, k, v: attend(q, repeated(k), repeated(v)), QS, KS, KS)
    check(graph, PASSES, [Q, K, V], rtol=2e-6)
    assert targets(graph) == [ATTENTION]


@pytest.mark.parametrize(
    "repeated",
    [
        lambda k: call(mx.tile, k, (1, 3, 1, 1)),
        lambda k: call(mx.concatenate, (k, k, k), axis=1),
    ],
    ids=["tile", "concatenate"],
)
def test_tiled_heads_are_refused(repeated):
    graph = build(lambda q, k, v: attend(q, repeated(k), repeated(v)), QS, KS, KS)
    report = check(graph, PASSES, [Q, K, V])
    assert len(targets(graph)) == 3
    assert "another order" in report.refusals[0][1]


def test_keys_alone_repeated_are_refused():
    graph = build(lambda q, k, v: attend(q, expanded(k), v), QS, KS, QS)
    report = check(graph, PASSES, [Q, K, Q + 1])
    assert len(report.refusals) == 1
    assert report.applied == 0
