"""A range scattered at a permutation is its argsort; other scatters stay."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from pytorch_to_mlx.graph import call, symbol
from pytorch_to_mlx.graph.build import call_many
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.clean import dead_code
from pytorch_to_mlx.passes.fuse import inverse_permutation
from tests.passes.helpers import build, check, targets

N = symbol("N")
X = np.random.default_rng(7).normal(size=(9,)).astype(np.float32)
PASSES = [inverse_permutation.run, dead_code.run]
I64 = DType("int64")


def places(x):
    values, order = call_many("ops.sort", 2, x, -1, False)
    values.shape, values.dtype = x.shape, x.dtype
    order.shape, order.dtype = x.shape, I64
    return order


def scattered(order, at, values, **kwargs):
    out = call("ops.index_put", call(mx.zeros_like, order), (at,), values, **kwargs)
    out.shape, out.dtype = order.shape, I64
    return out


def test_the_way_back_of_a_sort():
    def fn(x):
        order = places(x)
        return scattered(order, order, call(mx.arange, N, dtype=I64))

    graph = build(fn, ("float32", ("N",)))
    check(graph, PASSES, [X])
    assert targets(graph) == ["ops.sort", "mx.argsort", "mx.astype"]


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: scattered(places(x), places(x), call(mx.arange, 1, N + 1, dtype=I64)),
        lambda x: scattered(places(x), places(x), call(mx.arange, N, dtype=I64), accumulate=True),
        lambda x: scattered(places(x), x.astype(I64), call(mx.arange, N, dtype=I64)),
    ],
)
def test_near_misses_stay(fn):
    """Numbers from one, sums, indices that may repeat."""
    graph = build(fn, ("float32", ("N",)))
    inverse_permutation.run(graph, PassReport("inverse"))
    assert "ops.index_put" in targets(graph)
