"""LSTM, GRU and RNN against onnxruntime, in all the forms that ONNX has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx.helper import make_node  # noqa: E402

from pytorch_to_mlx import onnx_backend  # noqa: E402

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
T, B, I, H = 5, 3, 4, 2


def network(model: Any, op: str, attributes: dict[str, Any], given: set[str]) -> Any:
    """A model of one recurrent node with random weights, and inputs for it."""
    rng = np.random.default_rng(7)
    ways = 2 if attributes.get("direction") == "bidirectional" else 1
    rows = GATES[op] * H
    weights: dict[str, Any] = {
        "W": rng.standard_normal((ways, rows, I)),
        "R": rng.standard_normal((ways, rows, H)),
    }
    if "B" in given:
        weights["B"] = rng.standard_normal((ways, 2 * rows))
    if "P" in given:
        weights["P"] = rng.standard_normal((ways, 3 * H))
    weights = {k: v.astype(np.float32) for k, v in weights.items()}
    inputs: dict[str, Any] = {"x": ("f", ["T", "B", I])}
    feeds: dict[str, Any] = {"x": rng.standard_normal((T, B, I)).astype(np.float32)}
    if "lengths" in given:
        weights["lengths"] = np.array([5, 2, 3], np.int32)
    for name in ("h0", "c0"):
        if name in given:
            inputs[name] = ("f", [ways, "B", H])
            feeds[name] = rng.standard_normal((ways, B, H)).astype(np.float32)
    wanted = ["x", "W", "R", "B", "lengths", "h0", *(["c0", "P"] if op == "LSTM" else [])]
    names = [n if n in inputs or n in weights else "" for n in wanted]
    outs = ["y", "h", "c"][: 3 if op == "LSTM" else 2]
    node = make_node(op, names, outs, hidden_size=H, **attributes)
    outputs = {"y": ("f", ["T", ways, "B", H]), **{n: ("f", [ways, "B", H]) for n in outs[1:]}}
    return model([node], inputs, outputs, weights), feeds


def compare(m: Any, feeds: dict[str, Any]) -> Any:
    session = onnxruntime.InferenceSession(m.SerializeToString())
    rep = onnx_backend.prepare(m)
    for have, want in zip(rep.run(feeds), session.run(None, feeds), strict=True):
        assert (have.dtype, have.shape) == (want.dtype, want.shape)
        np.testing.assert_allclose(have, want, rtol=2e-5, atol=2e-6)
    return rep.declared.text


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_every_direction_with_states_and_lengths(model, op, direction):
    compare(*network(model, op, {"direction": direction}, {"B", "h0", "c0"}))
    compare(*network(model, op, {"direction": direction}, {"B", "lengths"}))
    compare(*network(model, op, {"direction": direction}, set()))


@pytest.mark.parametrize(
    ("op", "attributes", "layer"),
    [
        ("LSTM", {"direction": "bidirectional"}, "LSTMLayer"),
        ("LSTM", {"direction": "reverse"}, "LSTMLayer"),
        ("GRU", {"linear_before_reset": 1}, "GRULayer"),
        ("RNN", {"activations": ["Relu"]}, "RNNLayer"),
    ],
)
def test_what_torch_has_becomes_the_same_layers(model, op, attributes, layer):
    text = compare(*network(model, op, attributes, {"B"}))
    assert f"= {layer}(" in text


@pytest.mark.parametrize(
    ("op", "attributes", "given"),
    [
        ("LSTM", {}, {"B", "P"}),
        ("LSTM", {"direction": "bidirectional"}, {"B", "P", "lengths", "h0", "c0"}),
        ("LSTM", {"clip": 0.3}, {"B"}),
        ("LSTM", {"input_forget": 1}, {"B"}),
        ("LSTM", {"activations": ["HardSigmoid", "Softsign", "Relu"]}, {"B"}),
        ("LSTM", {"activations": ["Sigmoid", "ScaledTanh", "Affine"],
                  "activation_alpha": [0.7, 0.5], "activation_beta": [1.2, 0.1]}, {"B"}),
        ("GRU", {"clip": 0.3, "linear_before_reset": 1}, {"B"}),
        ("GRU", {"activations": ["Sigmoid", "LeakyRelu"], "activation_alpha": [0.2]}, {"B"}),
        ("GRU", {"activations": ["Sigmoid", "Tanh", "HardSigmoid", "Softplus"],
                 "activation_alpha": [0.3], "activation_beta": [0.4],
                 "direction": "bidirectional"}, {"B", "lengths"}),
        ("RNN", {"activations": ["Elu"], "activation_alpha": [0.5]}, {"B"}),
        ("RNN", {"activations": ["ThresholdedRelu"], "activation_alpha": [0.1]}, {"B"}),
        ("RNN", {"clip": 0.2}, {"B"}),
    ],
)  # fmt: skip
def test_activations_clipping_and_peepholes(model, op, attributes, given):
    compare(*network(model, op, attributes, given))


def test_the_layers_of_one_module_are_a_list(model):
    """torch writes a stack layer by layer, its weights only numbered."""
    rng = np.random.default_rng(5)
    weights, nodes, last = {}, [], "x"
    for k, size in enumerate((I, H)):
        names = [f"onnx::LSTM_{10 * k + j}" for j in range(2)]
        shapes = ((1, 4 * H, size), (1, 4 * H, H))
        for name, shape in zip(names, shapes, strict=True):
            weights[name] = rng.standard_normal(shape).astype(np.float32)
        end = "/tagger/LSTM" + (f"_{k}" if k else "")
        nodes.append(make_node("LSTM", [last, *names], [f"y{k}"], name=end, hidden_size=H))
        last = f"flat{k}"
        squeezed = make_node("Squeeze", [f"y{k}", "one"], [last], name=f"/tagger/Squeeze_{k}")
        nodes.append(squeezed)
    weights["one"] = np.array([1], np.int64)
    m = model(nodes, {"x": ("f", ["T", "B", I])}, {last: ("f", ["T", "B", H])}, weights)
    text = compare(m, {"x": rng.standard_normal((T, B, I)).astype(np.float32)})
    assert "self.layers = [LSTMLayer(4, 2, bias=False), LSTMLayer(2, 2, bias=False)]" in text
