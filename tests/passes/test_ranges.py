"""Index arrays that count up become slices; others stay."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import torch

from pytorch_to_mlx.graph import call, symbol
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.clean import broadcast, dead_code
from pytorch_to_mlx.passes.fuse import ranges
from tests.passes.helpers import body, build, check, run_pass, targets

RNG = np.random.default_rng(5)
X = RNG.normal(size=(3, 5, 4)).astype(np.float32)
MASK = RNG.normal(size=(3, 5)) > 0
W = {"w": torch.randn(40, 4)}
B, T = symbol("B"), symbol("T")
PASSES = [ranges.run, broadcast.run, dead_code.run]


def spread(length, rank, axis):
    shape = [1] * rank
    shape[axis] = length
    return call(mx.arange, length, dtype=DType("int64")).reshape(*shape)


def test_a_mask_indexed_by_whole_ranges_gets_new_axes():
    def fn(mask):
        return call("getitem", mask, (spread(B, 4, 0), spread(T, 4, 3)))

    graph = build(fn, ("bool", ("B", "T")))
    check(graph, PASSES, [MASK])
    assert body(graph) == "%1 = getitem(%0, (:, None, None))\nreturn(%1)"


def test_a_table_indexed_by_repeated_positions_is_a_slice():
    def fn(x, w):
        ids = call(mx.tile, call(mx.expand_dims, call(mx.arange, T), 0), (B, 1))
        return x + call("getitem", w, (ids,))

    graph = build(fn, ("float32", ("B", "T", 4)), weights=W)
    check(graph, PASSES, [X], tensors=W)
    assert body(graph) == "%1 = getitem(@w, (:T,))\n%2 = mx.add(%0, %1)\nreturn(%2)"


def test_a_repeat_that_is_seen_stays():
    def fn(x, w):
        ids = call(mx.broadcast_to, call(mx.arange, T), (B, T))
        return x * 2.0, call("getitem", w, (ids,))

    graph = build(fn, ("float32", ("B", "T", 4)), weights=W)
    check(graph, PASSES, [X], tensors=W)
    assert targets(graph) == ["mx.multiply", "getitem", "mx.broadcast_to"]


def test_a_later_start_and_an_inner_axis():
    def fn(x):
        part = call("getitem", x, (slice(None), call(mx.arange, 1, 4)))
        return part, call(mx.take, x, call(mx.arange, 2, 4), axis=-1)

    graph = build(fn, ("float32", ("B", 5, 4)))
    check(graph, PASSES, [X])
    assert body(graph) == (
        "%1 = getitem(%0, (:, 1:4))\n%2 = getitem(%0, (..., 2:4))\nreturn(%1, %2)"
    )


def test_one_constant_place_is_a_slice_of_one():
    def fn(x, last, second):
        return (
            call("getitem", x, (slice(None), slice(None), last)),
            call("getitem", x, (slice(None), second)),
            call("getitem", x, (slice(None), call(mx.array, (-7,)))),
        )

    buffers = {"last": torch.tensor([-1]), "second": torch.tensor([[1]])}
    graph = build(fn, ("float32", ("B", 5, 4)), buffers=buffers)
    run_pass(graph, *PASSES, tensors=buffers)
    assert body(graph).startswith("%1 = getitem(%0, (..., -1:))\n%2 = getitem(%0, (:, None, 1:2))")
    assert "mx.array" in targets(graph)  # past the end


def test_the_last_of_any_length_stays():
    def fn(x):
        at = call(mx.arange, T - 1, T)
        return call("getitem", x, (slice(None), at))

    graph = build(fn, ("float32", ("B", "T", 4)))
    before = str(graph)
    check(graph, [ranges.run], [X])
    assert str(graph) == before


def test_near_misses_stay():
    """Pairs of positions, axes out of order, reversed, stepped, data, one frozen place."""

    def fn(x, ids):
        t = call(mx.arange, T)
        return (
            call("getitem", x, (call(mx.arange, 3), call(mx.arange, 3))),
            call("getitem", x, (spread(B, 2, 1), spread(T, 2, 0))),
            call("getitem", x, (slice(None), T - 1 - t)),
            call("getitem", x, (slice(None), call(mx.arange, 0, 5, 2))),
            call("getitem", x, (ids,)),
            call("getitem", x, (call(mx.zeros, (2,), dtype=DType("int32")),)),
            call("getitem", x, (spread(B, 3, 0), slice(None), spread(4, 3, 1))),
        )

    graph = build(fn, ("float32", ("B", "T", 4)), ("int64", (3,)))
    before = str(graph)
    check(graph, [ranges.run], [X, np.arange(3)])
    assert str(graph) == before


def test_a_range_past_the_end_stays():
    graph = build(lambda x: call("getitem", x, (call(mx.arange, 7),)), ("float32", (5, 4)))
    before = str(graph)
    ranges.run(graph, PassReport("ranges"))
    assert str(graph) == before
