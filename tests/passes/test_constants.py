"""Broadcasts, constants and integer widths."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import torch

from pytorch_to_mlx.graph import call, symbol
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes.clean import broadcast, constants, dead_code, identity, narrow_ints
from tests.passes.helpers import body, build, check, targets

X = np.arange(6, dtype=np.float32).reshape(2, 3)
SPEC = ("float32", ("B", 3))
I64, F32 = DType("int64"), DType("float32")
B, T = symbol("B"), symbol("T")


def test_broadcasts_that_happen_anyway_go():
    graph = build(lambda x, y: x * call(mx.broadcast_to, y, (B, 3)), SPEC, ("float32", (1, 3)))
    check(graph, [broadcast.run, dead_code.run], [X, X[:1]])
    assert body(graph) == "%2 = mx.multiply(%0, %1)\nreturn(%2)"


def test_broadcasts_that_make_the_shape_stay():
    def fn(x):
        y = call(mx.broadcast_to, x, (4, 3))
        return y + call(mx.broadcast_to, x, (4, 3)), call(mx.sin, y)

    graph = build(fn, ("float32", (1, 3)))
    check(graph, [broadcast.run, dead_code.run], [X[:1]])
    assert targets(graph).count("mx.broadcast_to") >= 1


def test_constants_become_numbers():
    graph = build(lambda x: x / call(mx.sqrt, call(mx.full, (), 64.0, dtype=F32)), SPEC)
    check(graph, [constants.run, dead_code.run], [X])
    assert body(graph) == "%1 = mx.divide(%0, 8.0)\nreturn(%1)"


def test_constants_that_promote_or_round_stay():
    for dtype, value in (("float32", 0.1), ("float16", 0.1)):
        other = {"float32": "float16", "float16": "float32"}[dtype]
        graph = build(
            lambda x, dtype=dtype, value=value: x * call(mx.array, value, dtype=DType(dtype)),
            (other, (2, 3)),
        )
        check(graph, [constants.run, dead_code.run], [X.astype(other)])
        assert targets(graph) == ["mx.array", "mx.multiply"]


def test_identity_after_constants():
    graph = build(lambda x: call(mx.sin, x * call(mx.array, 1.0, dtype=F32)), SPEC)
    check(graph, [constants.run, identity.run, dead_code.run], [X])
    assert targets(graph) == ["mx.sin"]


W = {"w": torch.randn(5, 4)}


def test_positions_for_an_embedding_go_narrow():
    def fn(x, w):
        at = call(mx.expand_dims, call(mx.arange, B, dtype=I64), 0)
        return call("ops.embedding", w, at)

    graph = build(fn, SPEC, weights=W)
    check(graph, [narrow_ints.run], [X], tensors=W)
    assert body(graph).startswith("%1 = mx.arange(B)\n")


def test_argmax_for_an_index_loses_its_cast():
    def fn(x, w):
        return call("getitem", w, (call(mx.argmax, x, axis=1).astype(I64),))

    graph = build(fn, SPEC, weights=W)
    check(graph, [narrow_ints.run, dead_code.run], [X], tensors=W)
    assert targets(graph) == ["mx.argmax", "getitem"]


def test_integers_that_come_out_or_are_computed_with_stay_wide():
    def fn(x, w):
        at = call(mx.arange, B, dtype=I64)
        return call("ops.embedding", w, at), at * 3, call(mx.argmax, x, axis=1).astype(I64)

    graph = build(fn, SPEC, weights=W)
    before = str(graph)
    check(graph, [narrow_ints.run, dead_code.run], [X], tensors=W)
    assert str(graph) == before


def test_positions_are_compared_and_subtracted_narrow():
    def fn(x):
        at = call(mx.arange, T, dtype=I64)
        rows, columns = call(mx.expand_dims, at, 1), call(mx.expand_dims, at, 0)
        distance = call(mx.abs, columns - rows) + 1
        seen = call(mx.less_equal, columns, rows)
        return seen, call(mx.log, distance.astype(F32)), x * at, call(mx.less, distance, 3)

    graph = build(fn, ("float32", ("B", "T")))
    check(graph, [narrow_ints.run, dead_code.run], [X])
    assert "int64" not in str(graph)


def test_wide_partners_keep_the_result_wide():
    def fn(ids):
        at = call(mx.arange, T, dtype=I64)
        return ids + at, call(mx.where, call(mx.less, ids, at), ids, at - 1)

    graph = build(fn, ("int64", ("B", "T")))
    check(graph, [narrow_ints.run, dead_code.run], [np.arange(6).reshape(2, 3)])
    assert body(graph).startswith("%1 = mx.arange(T)\n")
    assert [v.dtype for v in graph.ret.args] == ["int64", "int64"]


def test_widened_integers():
    def fn(flags, x):
        which = flags.astype(I64) - 1
        return call(mx.equal, which, 0), x * flags.astype(I64)

    graph = build(fn, ("bool", ("B", 3)), SPEC)
    check(graph, [narrow_ints.run, dead_code.run], [np.array([[True, False, True]] * 2), X])
    assert "int64" not in str(graph)


def test_what_may_not_fit_stays_wide():
    """Doubled four times over, added to data of 32 bits, multiplied, summed up."""

    def fn(x, ids):
        at = call(mx.arange, T, dtype=I64)
        for _ in range(4):
            at = at + at
        row = call(mx.arange, T, dtype=I64)
        return (
            call(mx.greater, at, 5),
            call(mx.greater, ids.astype(I64) + row, 5),
            call(mx.greater, row * row, 5),
            call(mx.greater, call(mx.sum, row), 5),
        )

    graph = build(fn, SPEC, ("int32", ("B", "T")))
    check(graph, [narrow_ints.run, dead_code.run], [X, np.full((2, 3), 2**31 - 1, np.int32)])
    wide = [n.args[0].dtype for n in graph.nodes if n.target == "mx.greater"]
    assert wide == ["int64"] * 4


def test_unsigned_indices_are_not_compared_with_negative_numbers():
    def fn(x):
        at = call(mx.argmax, x, axis=1).astype(I64)
        return call(mx.greater, at, -1)

    graph = build(fn, SPEC)
    check(graph, [narrow_ints.run, dead_code.run], [X])
    assert "mx.astype" in targets(graph)


def test_a_mask_is_not_repeated_for_attention():
    spec = ("float32", ("B", 2, "T", 4))

    def fn(q, k, v, mask):
        wide = call(mx.broadcast_to, mask, (B, 1, T, T))
        out = call(mx.fast.scaled_dot_product_attention, q, k, v, scale=1.0, mask=wide)
        return call("ops.zero_masked_rows", out, wide)

    graph = build(fn, spec, spec, spec, ("float32", ("T", "T")))
    x = np.random.default_rng(9).normal(size=(3, 2, 5, 4)).astype(np.float32)
    check(graph, [broadcast.run, dead_code.run], [x, x + 1, x - 1, x[0, 0] @ x[0, 1].T], rtol=1e-6)
    assert "mx.broadcast_to" not in targets(graph)


def test_a_filled_array_becomes_its_number():
    graph = build(lambda x: call(mx.minimum, x, call(mx.full, (B, 3), 2.0, dtype=F32)), SPEC)
    check(graph, [constants.run, dead_code.run], [X])
    assert body(graph) == "%1 = mx.minimum(%0, 2.0)\nreturn(%1)"


def test_whole_numbers_are_added_at_once():
    def fn(ids):
        return ids - 1 + 2, ids + 3 - 3, 5 + (ids - 9)

    graph = build(fn, ("int64", ("B", 3)))
    check(graph, [constants.run, dead_code.run], [np.arange(6).reshape(2, 3)])
    assert body(graph) == "%1 = mx.add(%0, 1)\n%2 = mx.subtract(%0, 4)\nreturn(%1, %0, %2)"


def test_sums_that_round_or_are_read_between_stay():
    def fn(x, ids):
        between = ids - 1
        return x - 1.0 + 2.0, between + 2, between, 2 - (ids + 1)

    graph = build(fn, SPEC, ("int64", ("B", 3)))
    before = body(graph)
    check(graph, [constants.run, dead_code.run], [X, np.arange(6).reshape(2, 3)])
    assert body(graph) == before


def test_what_stored_numbers_give_is_a_number():
    tensors = {"scale": torch.tensor(16.0)}
    graph = build(lambda x, scale: x / call(mx.sqrt, scale), SPEC, buffers=tensors)
    graph.params["scale"].kind = "constant"
    check(graph, [constants.run, dead_code.run], [X], tensors=tensors)
    assert body(graph) == "%1 = mx.divide(%0, 4.0)\nreturn(%1)"


def test_stored_numbers_of_forward_become_numbers():
    """Constants of forward only: a buffer may be changed, a weight may be trained."""

    def fn(x, scale, offset):
        return x / scale, x * offset

    tensors = {"scale": torch.tensor(2.5), "offset": torch.tensor(0.5)}
    graph = build(fn, SPEC, buffers=tensors)
    graph.params["scale"].kind = "constant"
    check(graph, [constants.run, dead_code.run], [X], tensors=tensors)
    assert body(graph) == ("%1 = mx.divide(%0, 2.5)\n%2 = mx.multiply(%0, @offset)\nreturn(%1, %2)")
    integers = {"scale": torch.tensor(3), "offset": torch.tensor(1000)}
    graph = build(fn, SPEC, buffers=integers)
    for param in graph.params.values():
        param.kind = "constant"
    check(graph, [constants.run, dead_code.run], [X], tensors=integers)
    assert "@offset" in body(graph)
