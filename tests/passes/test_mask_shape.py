"""Masks lose their repeats and what always holds; what others read keeps its shape."""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.graph import call, symbol
from pytorch_to_mlx.passes.clean import dead_code
from pytorch_to_mlx.passes.fuse import mask_shape
from tests.passes.helpers import body, build, check, targets

RNG = np.random.default_rng(6)
Q = RNG.normal(size=(3, 2, 5, 4)).astype(np.float32)
KEEP = np.ones((3, 5), bool)
KEEP[1, 3:] = False
BIAS = RNG.normal(size=(5, 5, 2)).astype(np.float32)
B, T = symbol("B"), symbol("T")
QS = ("float32", ("B", 2, "T", 4))
KS = ("bool", ("B", "T"))
PASSES = [mask_shape.run, dead_code.run]


def attend(q, mask):
    return call(mx.fast.scaled_dot_product_attention, q, q, q, scale=0.5, mask=mask)


def always():
    return call(mx.greater_equal, call(mx.arange, T).reshape(1, 1, T, 1), 0)


def keys(keep):
    return call("getitem", keep, (slice(None), None, None))


def test_a_condition_that_always_holds_goes():
    def fn(q, keep):
        mask = call(mx.logical_and, always(), keys(keep))
        out = attend(q, mask)
        return call("ops.zero_masked_rows", out, mask)

    graph = build(fn, QS, KS)
    check(graph, PASSES, [Q, KEEP], rtol=1e-6)
    assert body(graph) == (
        "%2 = getitem(%1, (:, None, None))\n"
        "%3 = mx.fast.scaled_dot_product_attention(%0, %0, %0, scale=0.5, mask=%2)\n"
        "%4 = ops.zero_masked_rows(%3, %2)\nreturn(%4)"
    )


def test_a_repeat_below_a_transpose_goes():
    def fn(q, bias, keep):
        wide = call(mx.broadcast_to, call(mx.expand_dims, bias, 2), (T, T, B, 2))
        seen = call(mx.broadcast_to, keys(keep), (B, 1, T, T))
        mask = call(mx.where, seen, wide.transpose(2, 3, 0, 1), -3e38)
        return attend(q, mask)

    graph = build(fn, QS, ("float32", ("T", "T", 2)), KS)
    check(graph, PASSES, [Q, BIAS, KEEP], rtol=1e-6)
    assert "mx.broadcast_to" not in targets(graph)
    assert graph.nodes[2].target == "mx.transpose"
    assert graph.nodes[2].output.dims == (1, 2, T, T)


def test_a_repeat_from_fewer_axes_keeps_the_rank():
    def fn(q, plane):
        seen = call(mx.broadcast_to, plane, (B, 1, T, T)).transpose(0, 1, 3, 2)
        return attend(q, seen)

    graph = build(fn, QS, ("bool", ("T", "T")))
    plane = np.tri(5, dtype=bool).T
    check(graph, PASSES, [Q, plane], rtol=1e-6)
    assert targets(graph)[:2] == ["getitem", "mx.transpose"]


def test_near_misses_stay():
    """A mask that is returned too, one that becomes the values, a condition that may fail."""

    def returned(q, keep):
        mask = call(mx.logical_and, always(), keys(keep))
        return attend(q, mask), mask

    def counted(q, keep):
        wide = call(mx.broadcast_to, keys(keep), (B, 1, T, T))
        return attend(q, wide), call(mx.sum, wide, axis=0)

    def late(q, keep):
        early = call(mx.less, call(mx.arange, T).reshape(1, 1, T, 1), 100)
        return attend(q, call(mx.logical_and, early, keys(keep)))

    def either(q, keep):
        return attend(q, call(mx.logical_or, always(), keys(keep)))

    for fn in (returned, counted, late, either):
        graph = build(fn, QS, KS)
        before = str(graph)
        check(graph, PASSES, [Q, KEEP])
        assert str(graph) == before, fn.__name__
