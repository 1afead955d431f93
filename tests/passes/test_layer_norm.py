"""Layer norms written out."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
import torch

from pytorch_to_mlx.graph import call
from pytorch_to_mlx.passes.clean import dead_code
from pytorch_to_mlx.passes.fuse import layer_norm
from tests.passes.helpers import body, build, check, targets

W = {"w": torch.randn(8), "b": torch.randn(8)}
X = np.random.default_rng(2).normal(size=(2, 3, 8)).astype(np.float32)
SPEC = ("float32", ("B", 3, 8))
PASSES = [layer_norm.run, dead_code.run]


def mean(x):
    return call(mx.mean, x, axis=-1, keepdims=True)


def var(x, ddof=0):
    return call(mx.var, x, axis=-1, keepdims=True, ddof=ddof)


@pytest.mark.parametrize(
    "normalise",
    [
        lambda x: (x - mean(x)) * call(mx.rsqrt, mean(call(mx.square, x - mean(x))) + 1e-5),
        lambda x: (x - mean(x)) / call(mx.sqrt, var(x) + 1e-5),
        lambda x: (x - mean(x)) / call(mx.sqrt, 1e-5 + mean(call(mx.power, x - mean(x), 2))),
    ],
)
def test_forms(normalise):
    graph = build(lambda x, w, b: normalise(x) * w + b, SPEC, weights=W)
    check(graph, PASSES, [X], tensors=W, rtol=2e-6)
    assert body(graph) == "%1 = mx.fast.layer_norm(%0, @w, @b, 1e-05)\nreturn(%1)"


def test_eps_on_the_deviation_is_refused():
    def fn(x):
        return (x - mean(x)) / (call(mx.std, x, axis=-1, keepdims=True) + 1e-5)

    graph = build(fn, SPEC)
    report = check(graph, PASSES, [X])
    assert "mx.fast.layer_norm" not in targets(graph)
    assert "standard deviation" in report.refusals[0][1]


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: (x - mean(x)) / call(mx.sqrt, var(x, ddof=1) + 1e-5),
        lambda x: (x - mean(x)) / call(mx.sqrt, mean(call(mx.square, x)) + 1e-5),
        lambda x: x / call(mx.sqrt, var(x) + 1e-5),
    ],
)
def test_near_misses_stay(fn):
    graph = build(fn, SPEC)
    check(graph, PASSES, [X])
    assert "mx.fast.layer_norm" not in targets(graph)
