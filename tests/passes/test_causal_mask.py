"""Masks recognised by their values."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
import torch

from pytorch_to_mlx.graph import call, symbol
from pytorch_to_mlx.graph.dims import FloorDiv
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes.clean import dead_code
from pytorch_to_mlx.passes.fuse import causal_mask
from tests.passes.helpers import body, build, check, run_pass, targets

RNG = np.random.default_rng(5)
Q, K, V = (RNG.normal(size=(2, 4, 9, 8)).astype(np.float32) for _ in range(3))
SPEC = ("float32", ("B", 4, "T", 8))
PASSES = [causal_mask.run, dead_code.run]
T = symbol("T")
LOWEST = float(np.finfo(np.float32).min)
F32, BOOL = DType("float32"), DType("bool")


def attend(q, k, v, mask, zeroed=False):
    out = call(mx.fast.scaled_dot_product_attention, q, k, v, scale=0.3, mask=mask)
    return call("ops.zero_masked_rows", out, mask) if zeroed else out


def distance(n=T):
    i = call(mx.arange, n, dtype=DType("int64"))
    return call("getitem", i, (slice(None), None)) - call("getitem", i, (None, slice(None)))


def causal(n=T):
    return call(mx.greater_equal, distance(n), 0)


def window(w, n=T):
    return call(mx.logical_and, causal(n), call(mx.less, distance(n), w))


def additive(keep, low=LOWEST):
    return call(mx.where, keep, 0.0, low)


CAUSAL = {
    "comparison": causal,
    "tril": lambda: call(mx.tril, call(mx.ones, (T, T), dtype=F32)).astype(BOOL),
    "added": lambda: additive(causal()),
    "infinite": lambda: additive(causal(), -float("inf")),
    "triu": lambda: call(mx.triu, call(mx.full, (T, T), -float("inf"), dtype=F32), 1),
    "batched": lambda: call(
        mx.broadcast_to, call("getitem", causal(), (None, None)), (symbol("B"), 1, T, T)
    ),
}


@pytest.mark.parametrize("mask", CAUSAL.values(), ids=CAUSAL)
@pytest.mark.parametrize("zeroed", [False, True])
def test_causal(mask, zeroed):
    graph = build(lambda q, k, v: attend(q, k, v, mask(), zeroed), SPEC, SPEC, SPEC)
    check(graph, PASSES, [Q, K, V], rtol=2e-6)
    assert targets(graph) == ["mx.fast.scaled_dot_product_attention"]
    assert "mask='causal'" in body(graph)


def test_all_true_is_no_mask():
    graph = build(
        lambda q, k, v: attend(q, k, v, call(mx.less, distance(), T), True), SPEC, SPEC, SPEC
    )
    check(graph, PASSES, [Q, K, V], rtol=2e-6)
    assert body(graph).startswith(
        "%3 = mx.fast.scaled_dot_product_attention(%0, %1, %2, scale=0.3)"
    )


@pytest.mark.parametrize("w", [3, 1000])
def test_a_window_is_no_causal_mask_however_wide(w):
    graph = build(lambda q, k, v: attend(q, k, v, window(w), True), SPEC, SPEC, SPEC)
    check(graph, PASSES, [Q, K, V], rtol=2e-6)
    assert body(graph).splitlines()[0] == f"%3 = ops.sliding_window_mask(T, {w})"
    assert targets(graph)[1:] == ["mx.fast.scaled_dot_product_attention"]


@pytest.mark.parametrize("length", [FloorDiv(symbol("S"), 2), FloorDiv(symbol("S"), 20) - 1])
def test_lengths_after_a_stride(length):
    """The window shows where the strided length, not the input's, is past it."""
    spec = ("float32", ("B", 4, length, 8))

    def fn(q, k, v):
        always = call(mx.greater_equal, call(mx.arange, length).reshape(1, 1, length, 1), 0)
        return attend(q, k, v, window(60, length)), attend(q, k, v, always)

    graph = build(fn, spec, spec, spec)
    run_pass(graph, *PASSES)
    assert targets(graph)[0] == "ops.sliding_window_mask"
    assert "mask" not in graph.nodes[-2].kwargs


def test_a_local_mask():
    graph = build(
        lambda q, k, v: attend(q, k, v, call(mx.less_equal, call(mx.abs, distance()), 2)),
        SPEC, SPEC, SPEC,
    )  # fmt: skip
    check(graph, PASSES, [Q, K, V], rtol=2e-6)
    assert body(graph).splitlines()[0] == "%3 = ops.local_attention_mask(T, 2)"


def test_a_mask_too_large_to_compute_stays():
    graph = build(lambda q, k, v: attend(q, k, v, window(100_000)), SPEC, SPEC, SPEC)
    report = check(graph, PASSES, [Q, K, V])
    # Its causal half has no large number in it and gets short; the joint stays.
    assert targets(graph)[-2:] == ["mx.logical_and", "mx.fast.scaled_dot_product_attention"]
    assert "too large" in report.refusals[0][1]


def test_a_buffer_of_fixed_length():
    buffers = {"bias": torch.ones(12, 12, dtype=torch.bool).tril()[None, None]}

    def fn(q, k, v, bias):
        part = call("getitem", bias, (slice(None), slice(None), slice(None, T), slice(None, T)))
        return attend(q, k, v, part)

    graph = build(fn, SPEC, SPEC, SPEC, buffers=buffers)
    check(graph, PASSES, [Q, K, V], tensors=buffers, rtol=2e-6)
    assert "mask='causal'" in body(graph)


def test_a_causal_half_in_a_joint_mask_is_written_shortly():
    padding = np.ones((2, 1, 1, 9), bool)
    padding[1, ..., :2] = False
    padding[1, ..., 0] = True

    def fn(q, k, v, keep):
        return attend(q, k, v, call(mx.logical_and, keep, window(4)))

    graph = build(fn, SPEC, SPEC, SPEC, ("bool", ("B", 1, 1, "T")))
    check(graph, PASSES, [Q, K, V, padding], rtol=2e-6)
    assert targets(graph) == [
        "ops.sliding_window_mask", "mx.logical_and", "mx.fast.scaled_dot_product_attention",
    ]  # fmt: skip


def test_more_keys_than_queries_is_not_mlx_causal():
    keys = ("float32", ("B", 4, "S", 8))
    S = symbol("S")

    def fn(q, k, v):
        i, j = call(mx.arange, T), call(mx.arange, S)
        keep = call(mx.greater_equal, call(mx.expand_dims, i, 1), call(mx.expand_dims, j, 0))
        return attend(q, k, v, keep)

    graph = build(fn, SPEC, keys, keys)
    k = RNG.normal(size=(2, 4, 12, 8)).astype(np.float32)
    check(graph, PASSES, [Q, k, k + 1], rtol=2e-6)
    assert "causal" not in body(graph)


def test_other_biases_stay():
    graph = build(lambda q, k, v: attend(q, k, v, distance().astype(F32) * -0.5), SPEC, SPEC, SPEC)
    before = str(graph)
    check(graph, PASSES, [Q, K, V])
    assert str(graph) == before
