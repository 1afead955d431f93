"""RMS norms written out."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
import torch

from pytorch_to_mlx.graph import call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes.clean import dead_code
from pytorch_to_mlx.passes.fuse import rms_norm, rsqrt
from tests.passes.helpers import body, build, check, targets

F32 = DType("float32")
W = {"w": torch.randn(8)}
X = np.random.default_rng(1).normal(size=(2, 3, 8)).astype(np.float32)
SPEC = ("float32", ("B", 3, 8))
PASSES = [rms_norm.run, dead_code.run]


def norm(x, eps=1e-6, axis=-1, reduce=mx.mean):
    return x * call(mx.rsqrt, call(reduce, call(mx.square, x), axis=axis, keepdims=True) + eps)


def test_plain():
    graph = build(lambda x, w: w * norm(x), SPEC, weights=W)
    check(graph, PASSES, [X], tensors=W, rtol=1e-6)
    assert body(graph) == "%1 = mx.fast.rms_norm(%0, @w, 1e-06)\nreturn(%1)"


def test_division_power_and_no_weight():
    def fn(x):
        mean = call(mx.mean, call(mx.power, x, 2), axis=2, keepdims=True)
        return x / call(mx.sqrt, 1e-5 + mean)

    graph = build(fn, SPEC)
    check(graph, PASSES, [X], rtol=1e-6)
    assert body(graph) == "%1 = mx.fast.rms_norm(%0, None, 1e-05)\nreturn(%1)"


def test_one_plus_weight_is_a_derived_weight():
    graph = build(lambda x, w: norm(x) * (1.0 + w), SPEC, weights=W)
    check(graph, PASSES, [X], tensors=W, rtol=1e-6)
    assert body(graph) == ("%1 = mx.add(1.0, @w)\n%2 = mx.fast.rms_norm(%0, %1, 1e-06)\nreturn(%2)")


def test_casts_around_low_precision():
    weights = {"w": torch.randn(8).to(torch.float16)}

    def fn(x, w):
        return w * norm(x.astype(F32)).astype(DType("float16"))

    graph = build(fn, ("float16", ("B", 3, 8)), weights=weights)
    # One rounding to half precision less than the source, which rounds before the weight too.
    check(graph, PASSES, [X.astype(np.float16)], tensors=weights, rtol=1e-3)
    assert body(graph) == "%1 = mx.fast.rms_norm(%0, @w, 1e-06)\nreturn(%1)"


def with_statistics(x, inner, root):
    return x * call(root, call(mx.mean, call(inner, x), axis=-1, keepdims=True) + 1e-6)


def test_near_misses_stay():
    for fn in (
        lambda x, w: w * norm(x, axis=1),
        lambda x, w: w * norm(x, reduce=mx.sum),
        lambda x, w: w * with_statistics(x, mx.abs, mx.rsqrt),
        lambda x, w: w * with_statistics(x, mx.square, mx.sqrt),
    ):
        graph = build(fn, SPEC, weights=W)
        check(graph, PASSES, [X], tensors=W)
        assert "mx.fast.rms_norm" not in targets(graph)


def test_a_result_read_before_its_weight_keeps_both():
    def fn(x, w):
        y = norm(x)
        return w * y, y

    graph = build(fn, SPEC, weights=W)
    check(graph, PASSES, [X], tensors=W, rtol=1e-6)
    assert targets(graph) == ["mx.fast.rms_norm", "mx.multiply"]


@pytest.mark.parametrize("inverse", ["mx.reciprocal", "mx.divide"])
def test_as_onnx_exporters_write_it(inverse):
    def fn(x, w):
        root = call(mx.sqrt, call(mx.mean, call(mx.square, x), axis=-1, keepdims=True) + 1e-6)
        return x * (call(inverse, root) if inverse == "mx.reciprocal" else 1.0 / root) * w

    graph = build(fn, SPEC, weights=W)
    check(graph, [rsqrt.run, *PASSES], [X], tensors=W, rtol=1e-6)
    assert body(graph) == "%1 = mx.fast.rms_norm(%0, @w, 1e-06)\nreturn(%1)"


def test_a_root_that_is_used_otherwise_stays():
    def fn(x):
        root = call(mx.sqrt, x * x + 1.0)
        return 1.0 / root + root

    graph = build(fn, SPEC)
    check(graph, [rsqrt.run, dead_code.run], [X], rtol=1e-6)
    assert "mx.rsqrt" not in targets(graph)
