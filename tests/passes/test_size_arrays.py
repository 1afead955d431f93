"""Sizes that travel as arrays."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import torch

from pytorch_to_mlx.graph import call, symbol
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes.clean import dead_code, size_arrays
from tests.passes.helpers import body, build, check, run_pass, targets

I64 = DType("int64")
T = symbol("T")
X = np.arange(5, dtype=np.int64)
PASSES = [size_arrays.run, dead_code.run]


def item(value, name="u0"):
    out = call("host.item", value)
    out.shape, out.kind, out.symbol = (), "int", symbol(name)
    return out.symbol


def test_an_item_of_sizes_is_a_size():
    def fn(x):
        twice = call(mx.array, T, dtype=I64) * 2
        return call(mx.broadcast_to, x, (item(twice), T))

    graph = build(fn, ("int64", ("T",)))
    check(graph, PASSES, [X])
    assert body(graph) == "%1 = mx.broadcast_to(%0, (2*T, T))\nreturn(%1)"
    assert graph.nodes[0].output.dims == (2 * T, T)


def test_items_of_items():
    def fn(x):
        first = item(call(mx.array, T, dtype=I64) + 3)
        second = item(call(mx.minimum, call(mx.array, first, dtype=I64), 6), "u1")
        return call(mx.broadcast_to, x, (second, T))

    graph = build(fn, ("int64", ("T",)))
    check(graph, PASSES, [X])
    assert targets(graph) == ["mx.broadcast_to"]
    assert "min(6, T + 3)" in body(graph)


def test_a_size_is_added_as_a_number():
    graph = build(lambda x: x + call(mx.array, T, dtype=I64), ("int64", ("T",)))
    check(graph, PASSES, [X])
    assert body(graph) == "%1 = mx.add(%0, T)\nreturn(%1)"


def test_lengths_between_items_are_known_too():
    def fn(x):
        part = call("getitem", x, (slice(0, item(call(mx.array, T, dtype=I64) - 2)),))
        part.shape = (symbol("u7"),)
        return call(mx.abs, part)

    graph = build(fn, ("int64", ("T",)))
    graph.nodes[-2].output.shape = (symbol("u7"),)
    check(graph, PASSES, [X])
    assert graph.nodes[-2].output.dims == graph.nodes[-3].output.dims
    assert str(graph.nodes[-2].output.dims[0]) == "T - 2"


def test_what_data_decides_and_other_dtypes_stay():
    def fn(x):
        scale = call(mx.array, T, dtype=DType("float32"))
        return call(mx.broadcast_to, x, (item(call(mx.max, x)), T)), x.astype(scale.dtype) * scale

    graph = build(fn, ("int64", ("T",)))
    before = targets(graph)
    run_pass(graph, *PASSES)
    assert targets(graph) == before


def test_sizes_of_a_traced_model():
    from tests.lower.harness import lower

    class Spans(torch.nn.Module):
        def forward(self, x):
            span = torch.tensor(x.shape[0])
            return x[: (span + 1) // 2], x + span

    _, graph = lower(Spans(), torch.arange(6))
    run_pass(graph, *PASSES)
    assert "host.item" not in targets(graph)
