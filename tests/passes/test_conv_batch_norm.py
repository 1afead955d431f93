"""Batch norms folded into the convolution before them."""

from __future__ import annotations

import numpy as np
import torch

from pytorch_to_mlx.graph import call
from pytorch_to_mlx.passes.clean import dead_code
from pytorch_to_mlx.passes.fuse import conv_batch_norm
from tests.passes.helpers import build, check, targets

RNG = np.random.default_rng(7)
X = RNG.normal(size=(2, 6, 6, 3)).astype(np.float32)
SPEC = ("float32", ("B", 6, 6, 3))
CONV = {"w": torch.randn(5, 3, 3, 3), "b": torch.randn(5)}
NORM = {
    "mean": torch.randn(5), "var": torch.rand(5) + 0.5,
    "gamma": torch.randn(5), "beta": torch.randn(5),
}  # fmt: skip
PASSES = [conv_batch_norm.run, dead_code.run]


def test_fold():
    def fn(x, w, b, mean, var, gamma, beta):
        y = call("ops.conv2d", x, w, b, padding=1)
        return call("ops.batch_norm", y, mean, var, gamma, beta, 1e-5)

    graph = build(fn, SPEC, weights={**CONV, **NORM})
    check(graph, PASSES, [X], tensors={**CONV, **NORM}, rtol=2e-6)
    assert "ops.batch_norm" not in targets(graph)
    conv = graph.nodes[-2]
    assert conv.target == "ops.conv2d"
    assert conv.kwargs == {"padding": 1}


def test_fold_without_biases_and_after_a_linear():
    def fn(x, w, mean, var):
        y = call("ops.conv2d", x, w, stride=2)
        return call("ops.batch_norm", y, mean, var, None, None, 1e-3)

    weights = {"w": CONV["w"], "mean": NORM["mean"], "var": NORM["var"]}
    graph = build(fn, SPEC, weights=weights)
    check(graph, PASSES, [X], tensors=weights, rtol=2e-6)
    assert "ops.batch_norm" not in targets(graph)

    weights = {**weights, "w": torch.randn(5, 3)}
    graph = build(
        lambda x, w, mean, var: call("ops.batch_norm", call("ops.linear", x, w), mean, var),
        ("float32", ("B", 3)),
        weights=weights,
    )
    check(graph, PASSES, [X[0, 0]], tensors=weights, rtol=2e-6)
    assert targets(graph)[-1] == "ops.linear"


def test_a_convolution_read_twice_keeps_its_norm():
    def fn(x, w, b, mean, var, gamma, beta):
        y = call("ops.conv2d", x, w, b)
        return call("ops.batch_norm", y, mean, var, gamma, beta), y

    graph = build(fn, SPEC, weights={**CONV, **NORM})
    report = check(graph, PASSES, [X], tensors={**CONV, **NORM})
    assert targets(graph) == ["ops.conv2d", "ops.batch_norm"]
    assert "elsewhere" in report.refusals[0][1]
