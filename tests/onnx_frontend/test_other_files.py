"""ONNX files of other tools: converted without inputs, proven, and read as code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import pytorch_to_mlx as p2m

pytest.importorskip("onnxruntime")
from tests.onnx_frontend import other_files
from tests.onnx_frontend.other_files import build, floats, info, node

#: Builder, and lines that the code must have.
FILES: dict[Callable[[Path], Any], list[str]] = {
    other_files.tensorflow: [
        "self.conv2d = nn.Conv2d(3, 8, 3, stride=2)",
        "self.dense = nn.Linear",
    ],
    other_files.opset_9: ["self.w = nn.Conv2d(3, 8, 3, padding=1)", ".reshape(N, -1)"],
    other_files.opset_7: ["hardtanh(x[:, :6])", "pad_at(", "((1, 1),), (2,)"],
    other_files.resize_to_the_input: ["sizes=(H, W)"],
    other_files.scikit_learn: ["mx.array((10, 20, 30), dtype=mx.int64)", "self.coefficients(("],
    other_files.captures: ["for _ in ", "if (mx.sum(h) > 0.0).item():", "nn.relu(self.V1(h))"],
    other_files.constants_only: [
        "nn.Linear(20, 16)",
        "nn.Linear(16, 7)\n",
        "for layer in self.layers",
    ],
    other_files.half_with_islands: ["class Encoder(", "for layer in self.layer:"],
    other_files.dynamically_quantized: ["class Encoder(", "dynamic_quantize_linear("],
    other_files.optimised_for_transformers: ["self.word_embeddings = nn.Embedding(120, 32)"],
    other_files.optimised_by_a_session: ["self.layers = [Block() for _ in range(2)]", "nn.gelu("],
}


@pytest.mark.parametrize("make", FILES, ids=lambda f: f.__name__)
def test_converted_and_proven(make: Callable[[Path], Any], tmp_path: Path) -> None:
    onnx.save(make(tmp_path), tmp_path / "model.onnx")
    converted = p2m.convert(tmp_path / "model.onnx")
    proof = p2m.validate(converted)
    assert proof.passed, proof.summary()
    assert proof.perturbation["checked"] > 0
    for line in FILES[make]:
        assert line in converted.code, converted.code


def squeezing() -> onnx.ModelProto:
    """``x.squeeze(2)`` of a size that the exporter did not know."""
    squeeze = [node("Squeeze", ["c", "axes"], ["s"])]
    keep = [node("Identity", ["c"], ["k"])]
    branches = {
        "then_branch": onnx.helper.make_graph(squeeze, "t", [], [info("s", None)]),
        "else_branch": onnx.helper.make_graph(keep, "e", [], [info("k", None)]),
    }
    nodes = [
        node("Conv", ["x", "w"], ["c"], "/conv/Conv", kernel_shape=[4], strides=[4]),
        node("Shape", ["c"], ["shape"], "/Shape"),
        node("Gather", ["shape", "two"], ["size"], "/Gather", axis=0),
        node("Equal", ["size", "one"], ["single"], "/Equal"),
        node("If", ["single"], ["z"], "/If", **branches),
        node("Gemm", ["z", "fw", "fb"], ["y"], "/fc/Gemm", transB=1),
    ]
    weights = {"w": floats(5, 2, 4), "fw": floats(3, 5), "fb": floats(3)}
    weights |= {"two": np.array(2), "one": np.array(1), "axes": np.array([2])}
    return build(nodes, [info("x", ["N", 2, "L"])], [info("y", ["N", 3])], weights, 13)


def test_a_size_that_decides_the_rank_is_bounded() -> None:
    """The branch that the example takes; at other sizes code and package raise."""
    import mlx.core as mx

    converted = p2m.convert(squeezing(), (floats(2, 2, 5),))
    proof = p2m.validate(converted)
    assert proof.passed, proof.summary()
    limits = converted.config["dims"]["symbols"]["L"]
    assert (limits["min"], limits["max"], limits["bounded"]) == (4, 7, True)
    assert {c.sizes["L"] for c in proof.cases} > {5}
    assert "where this model was converted for 1" in converted.code
    with pytest.raises(ValueError, match="a size of 2, where this model was converted for 1"):
        converted.package.model(mx.zeros((1, 2, 8)))
    with pytest.raises(p2m.ConversionError, match="must be from 4 to 7"):
        converted(mx.zeros((1, 2, 8)))


def test_a_size_that_decides_between_values_stays_a_branch() -> None:
    """Ranks agree, so both branches stay and the size decides in the emitted code."""
    then = [node("Mul", ["x", "a"], ["m"])]
    other = [node("Sub", ["x", "a"], ["s"])]
    branches = {
        "then_branch": onnx.helper.make_graph(then, "t", [], [info("m", ["N", 4])]),
        "else_branch": onnx.helper.make_graph(other, "e", [], [info("s", ["N", 4])]),
    }
    nodes = [
        node("Shape", ["x"], ["shape"], end=1),
        node("Greater", ["shape", "three"], ["many"]),
        node("If", ["many"], ["y"], **branches),
    ]
    weights = {"a": floats(4), "three": np.array([3])}
    model = build(nodes, [info("x", ["N", 4])], [info("y", ["N", 4])], weights, 16)
    converted = p2m.convert(model)
    proof = p2m.validate(converted, sizes=[{"N": 3}, {"N": 4}, {"N": 9}])
    assert proof.passed, proof.summary()
    assert "if N > 3:" in converted.code


def test_inputs_that_are_compared_are_drawn_so() -> None:
    """A switch that only accepts one number: drawn inputs find it."""
    then = [node("MatMul", ["x", "w"], ["m"])]
    other = [node("Gather", ["x", "far"], ["g"], axis=1), node("Add", ["g", "zero"], ["o"])]
    branches = {
        "then_branch": onnx.helper.make_graph(then, "t", [], [info("m", ["N", 4])]),
        "else_branch": onnx.helper.make_graph(other, "e", [], [info("o", ["N", 4])]),
    }
    nodes = [
        node("Reshape", ["rate", "flat"], ["r"]),
        node("Equal", ["r", "wanted"], ["is"]),
        node("If", ["is"], ["y"], **branches),
    ]
    weights = {"w": floats(6, 4), "far": np.array([9, 9, 9, 9]), "zero": np.zeros(1, np.float32)}
    weights |= {"flat": np.array([1]), "wanted": np.array([44100])}
    rate = info("rate", [], onnx.TensorProto.INT64)
    model = build(nodes, [info("x", ["N", 6]), rate], [info("y", ["N", 4])], weights, 16)
    converted = p2m.convert(model)
    assert converted.captured.example_inputs["rate"] == 44100
    assert "== 44100).item():" in converted.code


def test_nodes_in_any_order() -> None:
    nodes = [node("Relu", ["a"], ["y"]), node("MatMul", ["x", "w"], ["a"])]
    model = build(nodes, [info("x", ["N", 3])], [info("y", ["N", 2])], {"w": floats(3, 2)}, 17)
    assert p2m.validate(p2m.convert(model)).passed
    circle = [node("Relu", ["b"], ["a"]), node("MatMul", ["a", "w"], ["b"])]
    model = build(circle, [info("x", ["N", 3])], [info("b", ["N", 2])], {"w": floats(2, 2)}, 17)
    with pytest.raises(p2m.ConversionError, match="sorted"):
        p2m.convert(model)
