"""Dead code, no-ops, repeated calls and chains of views."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.graph import Frame, call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes.clean import cse, dead_code, identity, views
from pytorch_to_mlx.passes.clean.views import compose, short
from tests.passes.helpers import body, build, check, run_pass, targets

F32 = ("float32", (2, 3))
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_dead_code_goes_with_its_producers():
    def fn(x):
        call(mx.exp, call(mx.cos, x))
        return call(mx.sin, x)

    graph = build(fn, F32)
    report = run_pass(graph, dead_code.run)
    assert body(graph) == "%1 = mx.sin(%0)\nreturn(%1)"
    assert report.applied == 2


def test_dead_code_keeps_what_a_size_needs():
    import sympy

    def fn(x):
        n = call("mx.sum", x)
        n.symbol, n.kind = sympy.Symbol("u0", integer=True, positive=True), "int"
        return call(mx.zeros, (n.symbol,))

    graph = build(fn, F32)
    run_pass(graph, dead_code.run)
    assert targets(graph) == ["mx.sum", "mx.zeros"]


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: call("mx.astype", x, DType("float32")),
        lambda x: x.reshape(2, 3),
        lambda x: call(mx.broadcast_to, x, (2, 3)),
        lambda x: x.transpose(0, 1),
        lambda x: x * 1,
        lambda x: 1.0 * x,
        lambda x: x + 0,
        lambda x: x - 0.0,
        lambda x: x / 1,
        lambda x: call(mx.negative, -x),
        lambda x: call("getitem", x, (slice(None), Ellipsis)),
        lambda x: call("getitem", x, (slice(0, None), slice(None))),
        lambda x: call(mx.concatenate, (x,), axis=1),
        lambda x: call(mx.concatenate, (x, call(mx.zeros, (0, 3))), axis=0),
        lambda x: call(mx.pad, x, ((0, 0), (0, 0))),
        lambda x: x * call(mx.array, 1.0),
    ],
)
def test_identity(fn):
    graph = build(lambda x: call(mx.sin, fn(x)), F32)
    check(graph, [views.run, identity.run, dead_code.run], [X])
    assert body(graph) == "%1 = mx.sin(%0)\nreturn(%1)"


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x.reshape(3, 2),
        lambda x: x * call(mx.ones, (2, 2, 3)),  # a constant, but it adds an axis
        lambda x: x + 1e-30,
        lambda x: 0 - x,
        lambda x: 1 / (x + 1),
        lambda x: x.astype(DType("float16")).astype(DType("float32")),  # rounds
        lambda x: call(mx.pad, x, ((0, 1), (0, 0))),
        lambda x: call("getitem", x, (slice(1, None),)),
    ],
)
def test_identity_keeps_what_changes_something(fn):
    graph = build(fn, F32)
    before = str(graph)
    report = run_pass(graph, identity.run)
    assert str(graph) == before
    assert report.applied == 0


def test_casts_that_lose_nothing_become_one():
    graph = build(lambda x: x.astype(DType("int64")).astype(DType("float32")), ("int32", (2, 3)))
    check(graph, [identity.run, dead_code.run], [X.astype(np.int32)])
    assert targets(graph) == ["mx.astype"]
    back = build(lambda x: -x.astype(DType("float32")).astype(DType("float16")), ("float16", (2,)))
    check(back, [identity.run, dead_code.run], [np.ones(2, np.float16)])
    assert targets(back) == ["mx.negative"]


def test_cse_shares_in_the_common_scope():
    from pytorch_to_mlx.graph import Builder, Graph, Node

    graph = Graph()
    with Builder(graph) as builder:
        outs = []
        for i in range(2):
            builder.scope = (Frame("", "M"), Frame("layers", "L"), Frame(f"layers.{i}", "B"))
            outs.append(call(mx.sin, call(mx.arange, 4, dtype=DType("float32"))))
        builder.add(Node("return", (outs[0], outs[1])))
    run_pass(graph, cse.run, dead_code.run)
    assert targets(graph) == ["mx.arange", "mx.sin"]
    assert [n.scope[-1].path for n in graph.nodes[:2]] == ["layers", "layers"]


def test_cse_tells_numbers_apart_and_leaves_random_calls():
    def fn(x):
        return (
            call(mx.add, x, 1),
            call(mx.add, x, 1.0),
            call(mx.add, x, 0.0),
            call(mx.add, x, -0.0),
            call("mx.random.normal", (2, 3)),
            call("mx.random.normal", (2, 3)),
        )

    graph = build(fn, F32)
    assert run_pass(graph, cse.run).applied == 0


def test_cse_leaves_calls_that_count():
    """Each has its own name for what it finds, and what follows is written with that name."""

    class M(torch.nn.Module):
        def forward(self, x):
            first, second = torch.nonzero(x > 0), torch.nonzero(x > 0)
            return first.sum(0), second + first.shape[0], torch.unique(x) * 2, torch.unique(x) + 1

    module = M()
    converted = p2m.convert(module, (torch.tensor([1.0, -1.0, 2.0, 2.0, 0.0]),))
    other = torch.tensor([3.0, -1.0, 3.0, 0.5, 4.0, -2.0])
    for got, want in zip(converted(other), module(other), strict=True):
        np.testing.assert_array_equal(np.array(got), want.numpy())


def test_views_merge():
    def fn(x):
        a = x.transpose(0, 2, 1).transpose(0, 2, 1)
        c = a.reshape(2, 12).reshape(2, 2, 6)
        return call("getitem", call("getitem", c, (slice(0, 1),)), (0, slice(None), None))

    graph = build(fn, ("float32", (2, 3, 4)))
    check(graph, [views.run, dead_code.run], [np.arange(24, dtype=np.float32).reshape(2, 3, 4)])
    assert body(graph) == (
        "%1 = mx.reshape(%0, (2, 2, 6))\n%2 = getitem(%1, (0, :, None))\nreturn(%2)"
    )


def test_unsqueezes_become_one_subscript():
    graph = build(
        lambda x: call(mx.expand_dims, call(mx.expand_dims, x, 1), -1), ("float32", ("B", 4))
    )
    check(graph, [views.run, dead_code.run], [np.ones((3, 4), np.float32)])
    assert body(graph) == "%1 = getitem(%0, (:, None, :, None))\nreturn(%1)"


def test_transposes_go_below_new_axes():
    def fn(x):
        wide = call(mx.expand_dims, x, 2)
        moved = call("getitem", x, (None, slice(None), None))
        return wide.transpose(2, 3, 0, 1), moved.transpose(1, 0, 2, 3, 4)

    graph = build(fn, ("float32", (2, 3, 4)))
    check(graph, [views.run, dead_code.run], [np.arange(24, dtype=np.float32).reshape(2, 3, 4)])
    assert body(graph) == (
        "%1 = mx.transpose(%0, (2, 0, 1))\n%2 = getitem(%1, (None,))\n"
        "%3 = getitem(%0, (:, None, None))\nreturn(%2, %3)"
    )


def test_transposes_stay_above_parts():
    def fn(x):
        part = call("getitem", x, (slice(0, 1), None))
        return part.transpose(1, 2, 0, 3)

    graph = build(fn, ("float32", (2, 3, 4)))
    before = str(graph)
    check(graph, [views.run, dead_code.run], [np.ones((2, 3, 4), np.float32)])
    assert str(graph) == before


def test_joints_with_true_and_false():
    def fn(x):
        yes, no = call(mx.array, True), call(mx.array, False)
        return (
            call(mx.logical_and, yes, x),
            call(mx.logical_or, x, no),
            call(mx.logical_and, x, no),
        )

    graph = build(fn, ("bool", (3,)))
    check(graph, [identity.run, dead_code.run], [np.array([True, False, True])])
    assert targets(graph) == ["mx.array", "mx.logical_and"]


def test_swapaxes_and_permute_cancel():
    graph = build(
        lambda x: call(mx.sin, call(mx.swapaxes, x.transpose(0, 2, 1), 1, 2)),
        ("float32", (2, 3, 4)),
    )
    check(graph, [views.run, dead_code.run], [np.ones((2, 3, 4), np.float32)])
    assert targets(graph) == ["mx.sin"]


_INDICES = [
    (slice(None), 1, None),
    (None, slice(2, None), slice(None)),
    (slice(1, 5), None, slice(None)),
    (slice(None, None, 2), slice(0, 3)),
    (slice(-3, None), slice(None)),
    (2, slice(1, None)),
]
_SECOND = [
    (slice(1, 3),),
    (0,),
    (None, slice(None, 2)),
    (slice(None), slice(1, None)),
    (slice(None), None, slice(0, 2)),
    (slice(None), 0),
    (slice(-2, None),),
]


def _rank(index, of):
    used = sum(1 for i in index if i is not None)
    return of - used + sum(1 for i in index if not isinstance(i, int))


def _axes(index):
    return sum(1 for i in index if i is not None)


@pytest.mark.parametrize(
    "first, second",
    [(a, b) for a in _INDICES for b in _SECOND if _axes(b) <= _rank(a, 2)],
)
def test_compose_equals_two_subscripts(first, second):
    x = np.arange(48).reshape(6, 8)
    full_first = first + (slice(None),) * (2 - sum(i is not None for i in first))
    want = x[full_first][second]
    rank = x[full_first].ndim
    full_second = second + (slice(None),) * (rank - sum(i is not None for i in second))
    index = compose(full_first, full_second)
    if index is not None:
        np.testing.assert_array_equal(x[index], want)
        np.testing.assert_array_equal(x[short(index)], want)
