"""Rotary embeddings recognised by their tables."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
import torch

from pytorch_to_mlx.graph import call, symbol
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes import evaluate
from pytorch_to_mlx.passes.clean import dead_code, views
from pytorch_to_mlx.passes.fuse import rope
from tests.passes.helpers import body, build, outputs, run_pass, targets

X = np.random.default_rng(6).normal(size=(2, 3, 11, 8)).astype(np.float32)
SPEC = ("float32", ("B", 3, "T", 8))
PASSES = [rope.run, dead_code.run, views.run, dead_code.run]
T = symbol("T")
F32 = DType("float32")
FULL = slice(None)


def frequencies(base=10000.0, n=4):
    return {"inv_freq": 1.0 / base ** (torch.arange(n) / n)}


def angles(inv_freq, start=0, positions=None):
    at = call(mx.arange, start, T + start, dtype=F32) if positions is None else positions
    return call("getitem", at, (FULL, None)) * inv_freq


def last(x, *index):
    return call("getitem", x, (Ellipsis, *index))


def half(x, n=4):
    return call(mx.concatenate, (-last(x, slice(n, None)), last(x, slice(None, n))), axis=-1)


def halves(x, inv_freq, factor=1.0, **where):
    a = angles(inv_freq, **where)
    table = call(mx.concatenate, (a, a), axis=-1)
    n = table.dims[-1] // 2
    return x * (call(mx.cos, table) * factor) + half(x, n) * (call(mx.sin, table) * factor)


def split_halves(x, inv_freq):
    a = angles(inv_freq)
    c, s = call(mx.cos, a), call(mx.sin, a)
    one, two = call(mx.split, x, 2, axis=-1)
    return call(mx.concatenate, (one * c - two * s, two * c + one * s), axis=-1)


def interleaved(x, inv_freq):
    a = call(mx.repeat, angles(inv_freq), 2, axis=-1)
    odd, even = last(x, slice(1, None, 2)), last(x, slice(None, None, 2))
    turned = call(mx.stack, (-odd, even), axis=-1).reshape(*x.dims)
    return x * call(mx.cos, a) + turned * call(mx.sin, a)


def interleaved_pairs(x, inv_freq):
    a = angles(inv_freq)
    c, s = call(mx.cos, a), call(mx.sin, a)
    two = x.reshape(*x.dims[:-1], 4, 2)
    even, odd = last(two, 0), last(two, 1)
    return call(mx.stack, (even * c - odd * s, odd * c + even * s), axis=-1).reshape(*x.dims)


def run(fn, buffers, spec=SPEC, x=X, extra=()):
    """Runs the passes; results agree to the rounding of float32 angles."""
    graph = build(fn, spec, *(s for s, _ in extra), buffers=buffers)
    given = [x, *(v for _, v in extra)]
    before = outputs(graph, given, buffers)
    report = run_pass(graph, *PASSES, tensors=buffers)
    tensors = dict(buffers)
    for p in graph.params.values():
        if p.recipe is not None:
            tensors[p.path] = torch.from_numpy(np.array(evaluate.tensor(p)))
    after = outputs(graph, given, tensors)
    np.testing.assert_allclose(after[0], before[0], atol=5e-6)
    return graph, report


@pytest.mark.parametrize("base", [10000.0, 500000.0, 12345.0])
@pytest.mark.parametrize("fn", [halves, split_halves, interleaved, interleaved_pairs])
def test_forms(fn, base):
    graph, _ = run(fn, frequencies(base))
    traditional = fn in (interleaved, interleaved_pairs)
    assert body(graph) == (
        f"%1 = mx.fast.rope(%0, 8, traditional={traditional}, base={base}, scale=1.0, offset=0)\n"
        "return(%1)"
    )


def test_part_of_the_features():
    def fn(x, inv_freq):
        turned = halves(last(x, slice(None, 4)), inv_freq)
        return call(mx.concatenate, (turned, last(x, slice(4, None))), axis=-1)

    graph, _ = run(fn, frequencies(n=2))
    assert body(graph).startswith("%1 = mx.fast.rope(%0, 4, traditional=False, base=10000.0")
    assert targets(graph) == ["mx.fast.rope"]


def test_other_frequencies_are_kept_as_an_array():
    graph, _ = run(halves, {"inv_freq": torch.tensor([1.0, 0.3, 0.02, 0.0001])})
    assert "base=None, scale=1.0, offset=0, freqs=@rope_freqs" in body(graph)


def test_positions_divided_by_a_factor_become_the_scale():
    graph, _ = run(halves, {"inv_freq": frequencies()["inv_freq"] / 4})
    assert "base=10000.0, scale=0.25" in body(graph)


def test_an_attention_factor_stays_a_product():
    graph, _ = run(lambda x, inv_freq: halves(x, inv_freq, factor=1.25), frequencies())
    assert targets(graph) == ["mx.fast.rope", "mx.multiply"]


def test_heads_after_the_positions():
    def fn(x, inv_freq):
        a = call("getitem", angles(inv_freq), (FULL, None))
        table = call(mx.concatenate, (a, a), axis=-1)
        y = x * call(mx.cos, table) + half(x) * call(mx.sin, table)
        return y.transpose(0, 2, 1, 3)

    spec = ("float32", ("B", "T", 3, 8))
    graph, _ = run(fn, frequencies(), spec, X.transpose(0, 2, 1, 3).copy())
    assert targets(graph) == ["mx.transpose", "mx.fast.rope"]


def refused(fn, buffers=None, extra=()):
    graph, report = run(fn, buffers or frequencies(), extra=extra)
    assert "mx.fast.rope" not in targets(graph)
    return report.refusals[0][1] if report.refusals else ""


def test_positions_from_an_input_are_refused():
    positions = np.arange(11, dtype=np.float32)
    reason = refused(
        lambda x, positions, inv_freq: halves(x, inv_freq, positions=positions),
        extra=[(("float32", ("T",)), positions)],
    )
    assert "input" in reason


def test_near_misses_are_refused():
    assert "positions 0, 1, 2" in refused(lambda x, inv_freq: halves(x, inv_freq, start=3))

    def wrong_sign(x, inv_freq):
        a = angles(inv_freq)
        table = call(mx.concatenate, (a, a), axis=-1)
        turned = (last(x, slice(4, None)), -last(x, slice(None, 4)))
        return x * call(mx.cos, table) + call(mx.concatenate, turned, axis=-1) * call(mx.sin, table)

    assert refused(wrong_sign) == ""


def test_learned_frequencies_are_refused():
    weights = frequencies()
    graph = build(halves, SPEC, weights=weights)
    report = run_pass(graph, *PASSES, tensors=weights)
    assert "learned" in report.refusals[0][1]
    assert "mx.fast.rope" not in targets(graph)


def low_precision(x, inv_freq, positions=F32):
    at = call(mx.arange, T, dtype=F32).astype(positions).astype(F32)
    a = call("getitem", at, (FULL, None)) * inv_freq
    table = call(mx.concatenate, (a, a), axis=-1)
    c, s = (call(f, table).astype(DType("float16")) for f in (mx.cos, mx.sin))
    c, s = (call("getitem", v, (None, None)) for v in (c, s))
    return x * c + half(x) * s


def test_tables_cast_to_half_precision():
    buffers = frequencies()
    graph = build(low_precision, ("float16", ("B", 3, "T", 8)), buffers=buffers)
    x = X.astype(np.float16)
    before = outputs(graph, [x], buffers)[0]
    run_pass(graph, *PASSES, tensors=buffers)
    after = outputs(graph, [x], buffers)[0]
    assert targets(graph) == ["mx.fast.rope"]
    # The source rounds the table and both products to half precision.
    np.testing.assert_allclose(after, before, atol=4e-3)


def test_rounded_positions_are_refused():
    def fn(x, inv_freq):
        return low_precision(x, inv_freq, DType("bfloat16"))

    graph = build(fn, ("float16", ("B", 3, "T", 8)), buffers=frequencies())
    report = run_pass(graph, *PASSES, tensors=frequencies())
    # From 256 on bfloat16 skips positions; shorter arrays do not show it.
    assert "mx.fast.rope" not in targets(graph)
    assert "positions 0, 1, 2" in report.refusals[0][1]
