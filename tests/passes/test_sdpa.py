"""Attention written out."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from pytorch_to_mlx.graph import call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes.clean import dead_code, identity, views
from pytorch_to_mlx.passes.fuse import sdpa
from tests.passes.helpers import body, build, check, targets

RNG = np.random.default_rng(3)
Q = RNG.normal(size=(2, 4, 5, 8)).astype(np.float32)
K, V = (RNG.normal(size=(2, 4, 6, 8)).astype(np.float32) for _ in range(2))
QS, KS = ("float32", ("B", 4, "T", 8)), ("float32", ("B", 4, "S", 8))
PASSES = [sdpa.run, dead_code.run, views.run, identity.run, dead_code.run]
ATTENTION = "mx.fast.scaled_dot_product_attention"
F32 = DType("float32")


def swap(k):
    return k.transpose(0, 1, 3, 2)


def softmax(x):
    return call(mx.softmax, x, axis=-1)


SCALED = [
    lambda q, k, v: softmax(q @ swap(k) * 0.25) @ v,
    lambda q, k, v: softmax(q @ swap(k) / 4.0) @ v,
    lambda q, k, v: softmax((q * 0.25) @ swap(k)) @ v,
    lambda q, k, v: softmax((q * 0.5) @ swap(k / 2.0)) @ v,
    lambda q, k, v: softmax((q * 0.5) @ (swap(k) * 0.5)) @ v,
    lambda q, k, v: softmax((q @ swap(k) * 0.25).astype(F32)).astype(F32) @ v,
]


@pytest.mark.parametrize("fn", SCALED)
def test_scales(fn):
    graph = build(fn, QS, KS, KS)
    check(graph, PASSES, [Q, K, V], rtol=2e-6)
    assert body(graph) == f"%3 = {ATTENTION}(%0, %1, %2, scale=0.25)\nreturn(%3)"


def test_added_mask():
    mask = np.where(RNG.random((2, 1, 5, 6)) < 0.3, -1e9, 0).astype(np.float32)
    graph = build(
        lambda q, k, v, m: softmax(q @ swap(k) * 0.25 + m) @ v, QS, KS, KS,
        ("float32", ("B", 1, "T", "S")),
    )  # fmt: skip
    check(graph, PASSES, [Q, K, V, mask], rtol=2e-6)
    assert body(graph) == f"%4 = {ATTENTION}(%0, %1, %2, scale=0.25, mask=%3)\nreturn(%4)"


def test_filled_mask():
    mask = RNG.random((2, 1, 5, 6)) < 0.7
    graph = build(
        lambda q, k, v, m: softmax(call(mx.where, m, q @ swap(k) * 0.25, -1e30)) @ v, QS, KS, KS,
        ("bool", ("B", 1, "T", "S")),
    )  # fmt: skip
    check(graph, PASSES, [Q, K, V, mask], rtol=2e-6)
    assert body(graph) == f"%4 = {ATTENTION}(%0, %1, %2, scale=0.25, mask=%3)\nreturn(%4)"


def test_filled_over_an_added_bias_sees_all_alike_where_nothing_is_seen():
    """torch overwrites the scores of a row that sees nothing with equal numbers."""
    mask = RNG.random((2, 1, 5, 6)) < 0.7
    mask[0, 0, 2] = False
    bias = RNG.normal(size=(1, 4, 5, 6)).astype(np.float32)
    least = float(np.finfo(np.float32).min)
    graph = build(
        lambda q, k, v, m, b: softmax(call(mx.where, m, q @ swap(k) * 0.25 + b, least)) @ v,
        QS, KS, KS, ("bool", ("B", 1, "T", "S")), ("float32", (1, 4, "T", "S")),
    )  # fmt: skip
    check(graph, PASSES, [Q, K, V, mask, bias], rtol=2e-6)
    assert targets(graph) == ["mx.where", ATTENTION]


@pytest.mark.parametrize("keys", [K, K[:, :, :1].repeat(6, axis=2)])
def test_infinite_fill_by_an_input_is_nan_where_nothing_is_seen(keys):
    mask = RNG.random((2, 1, 5, 6)) < 0.7
    mask[1, 0, 3] = False
    graph = build(
        lambda q, k, v, m: softmax(call(mx.where, m, q @ swap(k), -float("inf"))) @ v, QS, KS, KS,
        ("bool", ("B", 1, "T", "S")),
    )  # fmt: skip
    check(graph, PASSES, [Q, keys, V, mask], rtol=2e-6)
    assert targets(graph) == [ATTENTION, "ops.nan_masked_rows"]


def test_infinite_and_finite_fills_are_refused():
    def fn(q, k, v, m, n):
        scores = call(mx.where, m, q @ swap(k), -float("inf"))
        return softmax(call(mx.where, n, scores, -1e9)) @ v

    spec = ("bool", ("B", 1, "T", "S"))
    graph = build(fn, QS, KS, KS, spec, spec)
    masks = [RNG.random((2, 1, 5, 6)) < 0.7 for _ in range(2)]
    report = check(graph, PASSES, [Q, K, V, *masks])
    assert ATTENTION not in targets(graph)
    assert "-inf" in report.refusals[0][1]


def test_rank_three():
    spec = ("float32", ("B", "T", 8))
    graph = build(lambda q, k, v: softmax(q @ k.transpose(0, 2, 1) * 0.25) @ v, spec, spec, spec)
    check(graph, PASSES, [Q[:, 0], Q[:, 1], Q[:, 2]], rtol=2e-6)
    assert targets(graph) == ["mx.expand_dims"] * 3 + [ATTENTION, "mx.squeeze"]


def test_scale_under_the_views_of_the_query():
    def fn(x, k, v):
        q = (x * 0.25).reshape(2, 5, 4, 8).transpose(0, 2, 1, 3)
        return softmax(q @ swap(k)) @ v

    x = Q.transpose(0, 2, 1, 3).reshape(2, 5, 32).copy()
    k = ("float32", (2, 4, "S", 8))
    graph = build(fn, ("float32", (2, 5, 32)), k, k)
    check(graph, PASSES, [x, K, V], rtol=2e-6)
    assert targets(graph) == ["mx.reshape", "mx.transpose", ATTENTION]


def test_weights_used_elsewhere_are_refused():
    def fn(q, k, v):
        p = softmax(q @ swap(k) * 0.25)
        return p @ v, p

    graph = build(fn, QS, KS, KS)
    report = check(graph, PASSES, [Q, K, V])
    assert ATTENTION not in targets(graph)
    assert report.refusals[0][1] == "the attention weights are used elsewhere"


@pytest.mark.parametrize(
    "fn",
    [
        lambda q, k, v: call(mx.softmax, q @ swap(k), axis=-2) @ v,
        lambda q, k, v: softmax(call(mx.tanh, q @ swap(k) / 30.0) * 30.0) @ v,  # capped scores
        lambda q, k, v: call(mx.sigmoid, q @ swap(k)) @ v,
    ],
)
def test_near_misses_stay(fn):
    graph = build(fn, QS, KS, KS)
    check(graph, PASSES, [Q, K, V], rtol=1e-6)
    assert ATTENTION not in targets(graph)


def test_a_fused_call_takes_the_factor_of_its_query():
    def fn(x, k, v):
        q = (x * 0.25).reshape(2, 5, 4, 8).transpose(0, 2, 1, 3)
        return call(mx.fast.scaled_dot_product_attention, q, k, v, scale=1.0)

    k = ("float32", (2, 4, "S", 8))
    graph = build(fn, ("float32", (2, 5, 32)), k, k)
    x = Q.transpose(0, 2, 1, 3).reshape(2, 5, 32).copy()
    check(graph, PASSES, [x, K, V], rtol=2e-6)
    assert targets(graph) == ["mx.reshape", "mx.transpose", ATTENTION]
    assert "scale=0.25" in body(graph)


def guarded(weights):
    """As torch's ONNX exporter writes attention: 0 in rows that see nothing."""
    return call(mx.where, call(mx.isnan, weights), 0.0, weights)


def test_guarded_weights_of_a_finite_fill():
    mask = RNG.random((2, 1, 5, 6)) < 0.7
    mask[0, 0, 2] = False

    def fn(q, k, v, m):
        bias = call(mx.where, m, 0.0, -1e30)
        return guarded(softmax(q @ swap(k) * 0.25 + bias)) @ v

    graph = build(fn, QS, KS, KS, ("bool", ("B", 1, "T", "S")))
    check(graph, PASSES, [Q, K, V, mask], rtol=2e-6)
    assert ATTENTION in targets(graph)
    assert "ops.zero_masked_rows" not in targets(graph)


@pytest.mark.parametrize("filled", [True, False])
def test_guarded_weights_are_zero_where_nothing_is_seen(filled):
    mask = RNG.random((2, 1, 5, 6)) < 0.7
    mask[0, 0, 2] = False

    def fn(q, k, v, m):
        scores = q @ swap(k) * 0.25
        if filled:
            scores = call(mx.where, m, scores, -float("inf"))
        else:
            scores = scores + call(mx.where, m, 0.0, -float("inf"))
        return guarded(softmax(scores)) @ v

    graph = build(fn, QS, KS, KS, ("bool", ("B", 1, "T", "S")))
    check(graph, PASSES, [Q, K, V, mask], rtol=2e-6)
    assert targets(graph)[-1] == "ops.zero_masked_rows"


def test_a_fill_that_is_infinite_in_the_masks_dtype_is_no_finite_one():
    mask = RNG.random((2, 1, 5, 6)) < 0.7
    mask[0, 0, 2] = False
    halves = [x.astype(np.float16) for x in (Q, K, V)]
    f16 = DType("float16")

    def fn(q, k, v, m):
        least = float(np.finfo(np.float32).min)
        bias = call(mx.where, m, 0.0, call(mx.array, least, dtype=F32)).astype(f16)
        return guarded(softmax(q @ swap(k) * 0.25 + bias)) @ v

    half = [("float16", s[1]) for s in (QS, KS, KS)]
    graph = build(fn, *half, ("bool", ("B", 1, "T", "S")))
    check(graph, PASSES, [*halves, mask], rtol=5e-3)  # 8 products, each rounded to 11 bits
    assert targets(graph)[-1] == "ops.zero_masked_rows"


def test_guarded_weights_of_masks_filled_in_and_added_by_data_are_refused():
    def fn(q, k, v, m, bias):
        scores = call(mx.where, m, q @ swap(k) * 0.25 + bias, -1e30)
        return guarded(softmax(scores)) @ v

    sizes = ("B", 1, "T", "S")
    graph = build(fn, QS, KS, KS, ("bool", sizes), ("float32", sizes))
    mask = RNG.random((2, 1, 5, 6)) < 0.7
    bias = RNG.normal(size=(2, 1, 5, 6)).astype(np.float32)
    check(graph, PASSES, [Q, K, V, mask, bias], rtol=2e-6)
    assert ATTENTION not in targets(graph)
