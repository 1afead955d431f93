"""Indices and conditions recognised by their values."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
import sympy
import torch

from pytorch_to_mlx.graph import Graph, Node, call, dims, symbol
from pytorch_to_mlx.graph.build import Builder, attach_outputs
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import IF, RETURN, Value
from pytorch_to_mlx.passes import evaluate
from pytorch_to_mlx.passes.clean import broadcast, cse, dead_code, identity
from pytorch_to_mlx.passes.fuse import known_values
from tests.passes.helpers import body, build, check, run_pass, targets

W = {"w": torch.randn(40, 4)}
X = np.random.default_rng(8).normal(size=(3, 5, 4)).astype(np.float32)
SPEC = ("float32", ("B", "T", 4))
B, T = symbol("B"), symbol("T")
I64 = DType("int64")
PASSES = [known_values.run, broadcast.run, dead_code.run]


def counted(offset=1):
    ones = call(mx.ones, (B, T))
    return (call(mx.cumsum, ones, axis=1) * ones).astype(I64) + offset


def test_a_size_that_divides_by_zero_has_no_shape():
    s = sympy.Symbol("s", integer=True, positive=True)
    dim = sympy.floor(8 / (s - 3))
    with pytest.raises(ZeroDivisionError):
        dims.evaluate(dim, {s: 3})
    x = Value((2, dim), "float32")
    assert evaluate.shape_at(x, {s: 3}) is None
    assert evaluate.shape_at(x, {s: 5}) == [2, 4]


def test_counted_positions_are_a_range():
    graph = build(lambda x, w: x + call("ops.embedding", w, counted()), SPEC, weights=W)
    check(graph, PASSES, [X], tensors=W)
    assert body(graph) == (
        "%1 = mx.arange(2, T + 2)\n%2 = ops.embedding(@w, %1)\n%3 = mx.add(%0, %2)\nreturn(%3)"
    )


def test_positions_from_a_stored_table():
    buffers = {"ids": torch.arange(30)[None]}

    def fn(x, w, ids):
        part = call("getitem", ids, (slice(None), slice(None, T)))
        return x + call("ops.embedding", w, part)

    graph = build(fn, SPEC, weights=W, buffers=buffers)
    check(graph, PASSES, [X], tensors={**W, **buffers})
    assert targets(graph) == ["mx.arange", "ops.embedding", "mx.add"]


def test_other_and_data_dependent_indices_stay():
    def fn(x, ids, w):
        return call("ops.embedding", w, counted() * 2), call("ops.embedding", w, ids)

    graph = build(fn, SPEC, ("int64", ("B", "T")), weights=W)
    before = str(graph)
    check(graph, PASSES, [X, np.ones((3, 5), np.int64)], tensors=W)
    assert str(graph) == before


def test_conditions_that_always_hold():
    def fn(x):
        i = call(mx.arange, T)
        always = call(mx.expand_dims, call(mx.greater_equal, i, 0), 1)
        sometimes = call(mx.expand_dims, call(mx.less, i, 1000), 1)
        return call(mx.where, always, x, 0.0), call(mx.where, sometimes, x, 0.0)

    graph = build(fn, SPEC)
    check(graph, PASSES, [X])
    assert targets(graph).count("mx.where") == 1


def test_passes_reach_into_branches():
    graph = Graph()
    x = Value((2, 3), DType("float32"), hint="x")
    graph.inputs = [x]
    branches = {}
    for name in ("then", "else"):
        sub = Graph()
        with Builder(sub) as builder:
            call(mx.exp, x)
            y = call(mx.sin, x * 1) + call(mx.sin, x)
            builder.add(Node(RETURN, (y,)))
        branches[name] = sub
    with Builder(graph) as builder:
        test = call(mx.any, x)
        node = Node(IF, (test,), subgraphs=branches)
        attach_outputs(node, [Value((2, 3), DType("float32"))])
        builder.add(node)
        builder.add(Node(RETURN, (node.output,)))
    run_pass(graph, identity.run, cse.run, dead_code.run)
    for sub in branches.values():
        assert [n.target for n in sub.nodes] == ["mx.sin", "mx.add", RETURN]


def test_places_in_order_are_the_array():
    """As exporters write ``mask[batch_index, position]``."""

    def grid(*sizes):
        whole = (*sizes, 1)
        rows = call("mx.arange", B, dtype=I64).reshape(B, 1, 1)
        columns = call("mx.arange", T, dtype=I64).reshape(1, 1, T)
        return [call("mx.broadcast_to", v.reshape(*v.dims, 1), whole) for v in (rows, columns)]

    def fn(x):
        places = call("mx.concatenate", tuple(grid(B, 1, T)), axis=-1)
        flat = call("mx.arange", B * T, dtype=I64).reshape(B, 1, T)
        rows = call("mx.take", x.reshape(B * T, 4), flat, axis=0)
        return call("ops.gather_nd", x, places), rows

    graph = build(fn, SPEC)
    check(graph, PASSES, [X])
    assert "ops.gather_nd" not in targets(graph)
    assert "mx.take" not in targets(graph)


def test_places_in_another_order_stay():
    def fn(x):
        columns = 1 - call("mx.arange", 2, dtype=I64).reshape(1, 2, 1)
        rows = call("mx.broadcast_to", call("mx.arange", B, dtype=I64).reshape(B, 1, 1), (B, 2, 1))
        turned = call("mx.broadcast_to", columns, (B, 2, 1))
        return call("ops.gather_nd", x, call("mx.concatenate", (rows, turned), axis=-1))

    graph = build(fn, SPEC)
    check(graph, PASSES, [X])
    assert "ops.gather_nd" in targets(graph)
