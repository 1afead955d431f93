"""Chains of reshapes and transposes take the shortest way; what cannot be shorter stays."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from pytorch_to_mlx.graph import call, symbol
from pytorch_to_mlx.passes import axes
from pytorch_to_mlx.passes.clean import dead_code, view_chains
from tests.passes.helpers import body, build, check, targets

B, T = symbol("B"), symbol("T")
PASSES = [view_chains.run, dead_code.run]
X = np.arange(3 * 5 * 32, dtype=np.float32).reshape(3, 5, 32)
SPEC = ("float32", ("B", "T", 32))


def heads(x):
    return x.transpose(1, 0, 2).reshape(T, 4 * B, 8).transpose(1, 0, 2).reshape(B, 4, T, 8)


def test_heads_by_way_of_the_batch():
    graph = build(heads, SPEC)
    check(graph, PASSES, [X])
    assert body(graph) == (
        "%1 = mx.reshape(%0, (B, T, 4, 8))\n%2 = mx.transpose(%1, (0, 2, 1, 3))\nreturn(%2)"
    )


@pytest.mark.parametrize(
    "fn, expected",
    [
        (lambda x: heads(x).transpose(0, 2, 1, 3).reshape(B, T, 32), []),
        (
            lambda x: heads(x).transpose(2, 0, 1, 3).reshape(T, B, 32).transpose(1, 0, 2),
            [],
        ),
        (
            lambda x: x.reshape(B, T, 4, 8).transpose(0, 1, 3, 2).reshape(B, T, 32).reshape(B, -1),
            ["mx.reshape", "mx.transpose", "mx.reshape"],
        ),
        (
            lambda x: call(mx.expand_dims, x.transpose(0, 2, 1), 1).transpose(0, 1, 3, 2),
            ["mx.reshape"],
        ),
        (
            lambda x: call(mx.expand_dims, x.reshape(B, T, 4, 8).transpose(0, 2, 1, 3), 1),
            ["mx.reshape", "mx.transpose"],
        ),
        (
            lambda x: x.transpose(1, 0, 2).reshape(T, B, 1, 32).transpose(0, 2, 1, 3),
            ["mx.reshape", "mx.transpose"],
        ),
    ],
)  # fmt: skip
def test_shortest(fn, expected):
    graph = build(fn, SPEC)
    check(graph, PASSES, [X])
    assert targets(graph) == expected


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x.transpose(1, 0, 2).reshape(T, B * 32),
        lambda x: x.reshape(B, T, 4, 8).transpose(0, 2, 1, 3).reshape(B * 4, T, 8),
        lambda x: x.transpose(1, 0, 2).reshape(T, B, 4, 8),
    ],
)
def test_no_shorter_way(fn):
    graph = build(fn, SPEC)
    before = body(graph)
    check(graph, PASSES, [X])
    assert body(graph) == before


def test_what_others_read_is_not_passed():
    def fn(x):
        folded = x.transpose(1, 0, 2).reshape(T, 4 * B, 8)
        return folded.transpose(1, 0, 2).reshape(B, 4, T, 8), folded

    graph = build(fn, SPEC)
    check(graph, PASSES, [X])
    assert len(targets(graph)) == 4


def test_sizes_that_do_not_divide_end_a_chain():
    def fn(x):
        return x.reshape(6, B).transpose(1, 0).reshape(6, B).transpose(1, 0)

    graph = build(fn, ("float32", ("B", 6)))
    check(graph, PASSES, [np.arange(24, dtype=np.float32).reshape(4, 6)])
    assert targets(graph) == ["mx.reshape", "mx.transpose", "mx.reshape", "mx.transpose"]


@pytest.mark.parametrize(
    "a, b, expected", [(12, 4, 3), (12, 5, None), (4 * B, B, 4), (B, 4, None), (B * T, T, B)]
)
def test_quotient(a, b, expected):
    assert axes.quotient(a, b) == expected
