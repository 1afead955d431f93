"""Slices of a graph end at their limit, however long the chain that a value hangs on is."""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.graph import call
from pytorch_to_mlx.passes import evaluate
from tests.passes.helpers import build


def chain(x, length: int):
    for _ in range(length):
        x = call(mx.sin, x) + x
    return x


def test_a_long_chain_has_no_slice_beyond_the_limit() -> None:
    graph = build(lambda x: chain(x, 40), ("float32", ("B", 4)))
    out = graph.ret.args[0]
    assert evaluate.slice_of(out, limit=79) is None
    whole = evaluate.slice_of(out, limit=80)
    assert whole is not None
    assert len(whole.nodes) == 80
