"""Products with weights become ops.linear."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import torch

from pytorch_to_mlx.graph import call
from pytorch_to_mlx.passes.clean import dead_code, views
from pytorch_to_mlx.passes.fuse import linear
from tests.passes.helpers import body, build, check, targets

W = {"w": torch.randn(5, 4), "b": torch.randn(5)}
X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
PASSES = [linear.run, dead_code.run, views.run, dead_code.run]


def test_transposed_weight_and_bias():
    graph = build(lambda x, w, b: b + x @ w.transpose(1, 0), ("float32", ("B", 3, 4)), weights=W)
    check(graph, PASSES, [X], tensors=W, rtol=1e-6)
    assert body(graph) == "%1 = ops.linear(%0, @w, @b)\nreturn(%1)"


def test_conv1d_of_hugging_face_loses_its_views():
    weights = {"w": torch.randn(4, 5), "b": torch.randn(5)}
    graph = build(
        lambda x, w, b: (x.reshape(6, 4) @ w + b).reshape(2, 3, 5),
        ("float32", (2, 3, 4)),
        weights=weights,
    )
    check(graph, PASSES, [X], tensors=weights, rtol=1e-6)
    assert body(graph) == ("%1 = mx.transpose(@w, (1, 0))\n%2 = ops.linear(%0, %1, @b)\nreturn(%2)")


def test_other_rows_need_one_view():
    weights = {"w": torch.randn(5, 4)}
    graph = build(
        lambda x, w: (x.reshape(6, 4) @ w.transpose(1, 0)).reshape(3, 2, 5),
        ("float32", (2, 3, 4)),
        weights=weights,
    )
    check(graph, PASSES, [X], tensors=weights, rtol=1e-6)
    assert targets(graph) == ["mx.reshape", "ops.linear"]


def test_products_of_two_inputs_and_shared_results_stay():
    graph = build(lambda x, y: x @ y, ("float32", (2, 4)), ("float32", (4, 5)))
    check(graph, PASSES, [X[0, :2], X.reshape(6, 4)[:5].T.copy()])
    assert targets(graph) == ["mx.matmul"]

    def twice(x, w, b):
        y = x @ w.transpose(1, 0)
        return y + b, call(mx.sin, y)

    graph = build(twice, ("float32", (2, 3, 4)), weights=W)
    check(graph, PASSES, [X], tensors=W, rtol=1e-6)
    assert targets(graph) == ["ops.linear", "mx.add", "mx.sin"]


def test_state_is_no_weight():
    weights = {"w": torch.randn(5, 4)}
    graph = build(lambda x, w: x @ w.transpose(1, 0), ("float32", (2, 3, 4)), buffers=weights)
    graph.states["w"] = 1
    check(graph, PASSES, [X], tensors=weights)
    assert "ops.linear" not in targets(graph)
