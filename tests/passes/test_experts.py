"""Products with each row's expert become gather_mm; where an expert may be missing, they stay."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
import torch

from pytorch_to_mlx.graph import call, symbol
from pytorch_to_mlx.graph.build import call_many
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes.clean import dead_code
from pytorch_to_mlx.passes.fuse import experts
from tests.passes.helpers import build, check, run_pass, targets

N = symbol("N")
RNG = np.random.default_rng(3)
PASSES = [experts.run, dead_code.run]
I64 = DType("int64")
WEIGHT = {"weight": torch.from_numpy(RNG.normal(size=(4, 6, 5)).astype(np.float32))}
X = RNG.normal(size=(9, 6)).astype(np.float32)
CROWDED = np.full((9, 4), -1.0, np.float32)
CROWDED[:, 1], CROWDED[:2, 3] = 0.5, 0.7  # experts 0 and 2 get no row
SCORES = [RNG.normal(size=(9, 4)).astype(np.float32), CROWDED]


def chosen(scores):
    """The best expert of each row, [N, 1]."""
    _, ids = call_many("ops.topk", 2, scores, 1, -1)
    ids.shape, ids.dtype = (scores.dims[0], 1), I64
    return ids


def in_order(ids):
    order = call(mx.argsort, ids).astype(I64)
    return call("getitem", ids, (order,)), order


def offsets(ids, bins=4, high=3):
    counts = call("ops.histc", ids.astype(DType("float32")), bins, 0, high)
    counts.shape, counts.dtype = (bins,), DType("float32")
    return call(mx.cumsum, counts.astype(DType("int32")), axis=0)


def grouped(x, scores, weight):
    ids, order = in_order(chosen(scores).reshape(N))
    return call("ops.grouped_matmul", call("getitem", x, (order,)), weight, offsets(ids))


def counted_unsorted(x, scores, weight):
    ids = chosen(scores).reshape(N)
    return call("ops.grouped_matmul", x, weight, offsets(ids))


def counted_by_comparison(x, scores, weight):
    ids, order = in_order(chosen(scores).reshape(N))
    below = call(mx.less_equal, call(mx.expand_dims, ids, 1), call(mx.arange, 4))
    sums = call(mx.sum, below.astype(DType("int32")), axis=0)
    return call("ops.grouped_matmul", call("getitem", x, (order,)), weight, sums)


def inputs(dtype="float32"):
    return (dtype, ("N", 6)), ("float32", ("N", 4))


@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("fn", [grouped, counted_unsorted, counted_by_comparison])
def test_groups_of_rows(fn, scores):
    graph = build(fn, *inputs(), weights=WEIGHT)
    check(graph, PASSES, [X, scores], tensors=WEIGHT, rtol=1e-6)
    assert "mx.gather_mm" in targets(graph)
    assert not {"ops.grouped_matmul", "ops.histc", "mx.cumsum"} & set(targets(graph))


def test_half_precision_keeps_the_cpu_in_mind():
    half = {"weight": WEIGHT["weight"].half()}
    graph = build(grouped, *inputs("float16"), weights=half)
    check(graph, PASSES, [X.astype(np.float16), SCORES[0]], tensors=half, rtol=1e-3)
    assert "ops.expert_matmul" in targets(graph)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x, ids, w: call(mx.matmul, call("getitem", w, (ids,)).transpose(0, 2, 1), x),
        lambda x, ids, w: call(
            mx.matmul, call(mx.squeeze, call(mx.expand_dims, x, 0), 0).transpose(0, 2, 1),
            call(mx.take, w, ids, axis=0),
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("scores", SCORES)
def test_weights_picked_for_each_row(fn, scores):
    def picked(x, scores, weight):
        return fn(call(mx.expand_dims, x, -1), chosen(scores).reshape(N), weight)

    graph = build(picked, *inputs(), weights=WEIGHT)
    check(graph, PASSES, [X, scores], tensors=WEIGHT, rtol=1e-6)
    assert "mx.gather_mm" in targets(graph)
    assert "mx.matmul" not in targets(graph)


def test_experts_that_may_lie_outside_are_refused():
    """Rows of an expert that is not there are 0."""

    def fn(x, ids, weight):
        return call("ops.grouped_matmul", x, weight, offsets(ids))

    graph = build(fn, ("float32", ("N", 6)), ("int64", ("N",)), weights=WEIGHT)
    report = run_pass(graph, *PASSES)
    assert "outside" in report.refusals[0][1]
    assert "ops.grouped_matmul" in targets(graph)


@pytest.mark.parametrize("bins, high", [(4, 5), (4, 2)])
def test_other_counts_stay(bins, high):
    """The same calls with limits that count other numbers."""

    def fn(x, scores, weight):
        ids, order = in_order(chosen(scores).reshape(N))
        rows = call("getitem", x, (order,))
        return call("ops.grouped_matmul", rows, weight, offsets(ids, bins, high))

    graph = build(fn, *inputs(), weights=WEIGHT)
    run_pass(graph, *PASSES)
    assert "ops.grouped_matmul" in targets(graph)
