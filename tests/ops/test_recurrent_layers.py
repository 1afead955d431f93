"""ops.recurrent_layers against the functions of ops.recurrent, which torch checks."""

from __future__ import annotations

import mlx.core as mx
import pytest
from mlx.utils import tree_map

from pytorch_to_mlx.ops import recurrent as functions
from pytorch_to_mlx.ops import recurrent_layers as layers

CASES = {
    "lstm": lambda **k: layers.LSTMLayer(4, 6, **k),
    "projected": lambda **k: layers.LSTMLayer(4, 6, projection_size=3, **k),
    "gru": lambda **k: layers.GRULayer(4, 6, **k),
    "tanh": lambda **k: layers.RNNLayer(4, 6, **k),
    "relu": lambda **k: layers.RNNLayer(4, 6, nonlinearity="relu", **k),
}


def by_function(kind: str, layer: layers.LSTMLayer, x: mx.array) -> tuple[mx.array, ...]:
    """What torch's function of the same weights gives, batch first."""
    D, B, H = layer.directions, x.shape[0], layer.hidden_size
    parts = [layer.Wx, layer.Wh]
    if kind == "gru" and layer.bx is not None:
        parts += [layer.bx, layer.bh]
    elif kind != "gru" and layer.bias is not None:
        parts += [layer.bias, mx.zeros_like(layer.bias)]
    biased = len(parts) == 4
    parts += [layer.Wp] if kind == "projected" else []
    params = tuple(p for d in zip(*(mx.split(p, D) for p in parts), strict=True) for p in d)
    states = [mx.zeros((D, B, 3 if kind == "projected" else H), x.dtype)]
    name = {"tanh": "rnn_tanh", "relu": "rnn_relu", "projected": "lstm"}.get(kind, kind)
    states += [mx.zeros((D, B, H), x.dtype)] if name == "lstm" else []
    function = getattr(functions, name)
    y, *ends = function(x.swapaxes(0, 1), *states, params, has_biases=biased, bidirectional=D == 2)
    return (y.swapaxes(0, 1), *ends)


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float16], ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("kind", CASES)
def test_same_as_the_function(kind: str, both: bool, bias: bool, dtype: mx.Dtype) -> None:
    mx.random.seed(0)
    layer = CASES[kind](bidirectional=both, bias=bias)
    draw = lambda p: (mx.random.normal(p.shape) / 2).astype(dtype)  # noqa: E731
    layer.update(tree_map(draw, layer.parameters()))
    # Five chained steps, each rounded to the dtype on both sides.
    tolerance = {mx.float32: 2e-6, mx.bfloat16: 5e-2, mx.float16: 6e-3}[dtype]
    for batch, steps in ((2, 5), (1, 1), (3, 2)):
        x = mx.random.normal((batch, steps, 4)).astype(dtype)
        got, want = layer(x), by_function(kind, layer, x)
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            assert g.dtype == dtype
            assert g.shape == w.shape
            scale = max(1.0, mx.abs(w).max().item())
            assert mx.abs(g - w).max().item() <= tolerance * scale
