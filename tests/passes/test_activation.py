"""Activations written out are recognised by their values."""

from __future__ import annotations

import math

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from pytorch_to_mlx.graph import call
from pytorch_to_mlx.passes.clean import dead_code
from pytorch_to_mlx.passes.fuse import activation
from tests.passes.helpers import body, build, check, targets

X = np.linspace(-9, 9, 24).reshape(4, 6).astype(np.float32)
SPEC = ("float32", ("B", 6))
PASSES = [activation.run, dead_code.run]
C = math.sqrt(2 / math.pi)


def tanh_gelu(x, k=0.044715):
    return 0.5 * x * (1.0 + call(mx.tanh, (x + call(mx.power, x, 3) * k) * C))


FORMS = {
    "gelu": [
        lambda x: x * 0.5 * (1.0 + call(mx.erf, x / math.sqrt(2))),
        lambda x: 0.5 * (x * (call(mx.erf, x * math.sqrt(0.5)) + 1)),
        lambda x: x * ((1.0 + call(mx.erf, x / math.sqrt(2))) * 0.5),
    ],
    "gelu_approx": [tanh_gelu,
        lambda x: x * 0.5 * (1.0 + call(mx.tanh, x * C * (1 + 0.044715 * x * x))),
    ],
    "gelu_fast_approx": [lambda x: x * call(mx.sigmoid, 1.702 * x)],
    "silu": [
        lambda x: x * call(mx.sigmoid, x),
        lambda x: x / (1 + call(mx.exp, -x)),
    ],
    "softplus": [lambda x: call(mx.logaddexp, x, 0)],
    "mish": [lambda x: x * call(mx.tanh, call(nn.softplus, x))],
    "hardswish": [
        lambda x: x * call(nn.relu6, x + 3) / 6,
        lambda x: x * call(mx.clip, x + 3, 0, 6) / 6,
    ],
}  # fmt: skip


@pytest.mark.parametrize("name, form", [(n, f) for n, fs in FORMS.items() for f in fs])
def test_forms(name, form):
    graph = build(form, SPEC)
    check(graph, PASSES, [X], rtol=2e-6)
    assert body(graph) == f"%1 = nn.{name}(%0)\nreturn(%1)"


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x * call(mx.sigmoid, 1.5 * x),
        lambda x: tanh_gelu(x, 0.0447),
        lambda x: x * (1.0 + call(mx.erf, x / math.sqrt(2))),
        lambda x: x * call(nn.relu6, x + 3),
        lambda x: call(mx.abs, x) * 0.5,
    ],
)
def test_near_misses_stay(form):
    graph = build(form, SPEC)
    before = targets(graph)
    check(graph, PASSES, [X])
    assert targets(graph) == before


def test_a_gate_is_no_activation():
    graph = build(lambda x, y: y * call(mx.sigmoid, x), SPEC, SPEC)
    check(graph, PASSES, [X, X + 1])
    assert targets(graph) == ["mx.sigmoid", "mx.multiply"]


def test_swiglu_keeps_its_product():
    graph = build(lambda x, y: x * call(mx.sigmoid, x) * y, SPEC, SPEC)
    check(graph, PASSES, [X, X + 1], rtol=2e-6)
    assert targets(graph) == ["nn.silu", "mx.multiply"]
