"""Quantized ops, judged by ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
import pytorch_to_mlx as p2m
from tests.onnx_frontend.against_runtime import check, floats, rng
from tests.onnx_frontend.conftest import build, helper


def codes(*shape: int, kind: str = "uint8") -> np.ndarray:
    bounds = np.iinfo(kind)
    return rng.integers(bounds.min, bounds.max + 1, shape).astype(kind)


def scalar(value: float, kind: str = "float32") -> np.ndarray:
    return np.array(value, kind)


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("axis", [None, 0, 2])
def test_codes_and_back(kind, axis):
    x = floats(3, 4, 5) * 3
    count = () if axis is None else (x.shape[axis],)
    scale = (rng.random(count) + 0.5).astype(np.float32) / 20
    zero = np.asarray(codes(*count, kind=kind))
    given = {"scale": scale, "zero": zero}
    options: dict[str, Any] = {"domain": "", "weights": ("scale", "zero")}
    options |= {} if axis is None else {"axis": axis}
    check("QuantizeLinear", {"x": x, **given}, **options)
    check("DequantizeLinear", {"x": codes(3, 4, 5, kind=kind), **given}, **options)


def test_halves_go_to_the_even_code():
    x = np.array([0.25, 0.75, 1.25, -0.25, -0.75, 200.0, -200.0], np.float32)
    given = {"x": x, "scale": scalar(0.5), "zero": scalar(3, "uint8")}
    check("QuantizeLinear", given, domain="")


def test_products_of_codes_are_exact():
    a, b = codes(3, 700), codes(700, 5, kind="int8")
    given = {"a": a, "b": b, "za": scalar(130, "uint8"), "zb": scalar(-7, "int8")}
    check("MatMulInteger", given, domain="", rtol=0)
    check("MatMulInteger", {"a": np.full_like(a, 255), "b": np.full((700, 5), 255, np.uint8)},
          domain="", rtol=0)  # fmt: skip


def test_linear_ops():
    a = {"a": codes(3, 4), "sa": scalar(0.02), "za": scalar(120, "uint8")}
    y = {"sy": scalar(0.2), "zy": scalar(9, "uint8")}
    b = {"b": codes(4, 5), "sb": scalar(0.03), "zb": scalar(100, "uint8")}
    check("QLinearMatMul", {**a, **b, **y}, domain="")
    check("QGemm", {**a, **b, "c": None, **y})
    check("QGemm", {**a, **b, "c": codes(5).astype(np.int32)}, alpha=0.5)
    same = {**b, "b": codes(3, 4)}
    check("QLinearAdd", {**a, **same, **y})
    check("QLinearMul", {**a, **same, **y})
    check("QLinearSigmoid", {**a, "sy": scalar(1 / 256), "zy": scalar(0, "uint8")})
    check("QLinearLeakyRelu", {**a, **y}, alpha=0.2)
    check("QLinearConcat", {**y, **a, **same}, axis=1)
    image = {**a, "a": codes(1, 3, 6, 6)}
    check("QLinearGlobalAveragePool", {**image, **y})
    kernel = {"w": codes(4, 3, 3, 3, kind="int8"), "sw": scalar(0.01), "zw": scalar(0, "int8")}
    bias = {"b": rng.integers(-500, 500, 4).astype(np.int32)}
    check("QLinearConv", {**image, **kernel, **y, **bias}, domain="", pads=[1, 1, 1, 1])


@pytest.mark.parametrize("groups", [1, 3])
def test_convolutions_of_codes_are_exact(groups):
    x, w = codes(2, 300, 9, 8), codes(6, 300 // groups, 3, 2)
    given = {"x": x, "w": w, "zx": scalar(7, "uint8"), "zw": scalar(200, "uint8")}
    options = {"strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2], "group": groups}
    check("ConvInteger", given, domain="", rtol=0, **options)


def test_products_with_numbers_as_result():
    a, b = codes(3, 4), codes(4, 5, kind="int8")
    b_scale, b_zero = floats(5) ** 2, codes(5, kind="int8")
    given = {"a": a, "b": b, "sa": scalar(0.02), "sb": b_scale, "za": scalar(120, "uint8")}
    check("MatMulIntegerToFloat", {**given, "zb": b_zero, "bias": floats(5)})
    dynamic = {"a": floats(3, 4), "b": b, "sb": scalar(0.02), "zb": scalar(3, "int8")}
    check("DynamicQuantizeMatMul", dynamic, weights=("b", "sb", "zb"))
    check("DynamicQuantizeLinear", {"x": floats(3, 4)}, outputs=3, domain="")


def test_attention_of_codes():
    given = {
        "x": codes(2, 5, 16),
        "w": codes(16, 48, kind="int8"),
        "b": floats(48),
        "sx": scalar(0.01),
        "sw": scalar(0.01),
        "mask": np.array([[1] * 5, [1, 1, 1, 0, 0]], np.int32),
        "zx": scalar(127, "uint8"),
        "zw": scalar(0, "int8"),
    }
    check("QAttention", given, num_heads=2, weights=("w", "zw"))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("inputs", "block"), [(128, 32), (100, 32), (64, 16), (512, 128)])
@pytest.mark.parametrize("zeros", ["none", "packed"])
def test_weights_in_blocks(bits, inputs, block, zeros):
    rows, blocks = 6, -(-inputs // block)
    given: dict[str, Any] = {
        "x": floats(2, 3, inputs),
        "w": codes(rows, blocks, block * bits // 8),
        "scales": floats(rows, blocks) / 4,
    }
    if zeros == "packed":
        given["zeros"] = codes(rows, -(-blocks * bits // 8))
    sizes = {"K": inputs, "N": rows, "bits": bits, "block_size": block}
    check("MatMulNBits", given, weights=tuple(given)[1:], rtol=1e-3, **sizes)


def test_rows_of_a_table_in_blocks():
    given = {
        "table": codes(10, 32),
        "at": np.array([[1, 2], [9, 0]], np.int64),
        "scales": floats(10, 2),
    }
    options = {"gather_axis": 0, "quantize_axis": 1, "block_size": 32, "bits": 4}
    check("GatherBlockQuantized", given, weights=("table", "scales"), **options)
    zeros = {**given, "zeros": codes(10, 1)}
    check("GatherBlockQuantized", zeros, weights=("table", "scales", "zeros"), **options)


def test_weights_held_as_codes_become_layers():
    """Quantized convolutions, as onnxruntime.quantization writes them: the arrays between keep the
    layout of MLX's layers."""
    import onnxruntime as ort
    from onnx.helper import make_graph, make_model, make_node, make_operatorsetid
    from onnx.helper import make_tensor_value_info as info
    from onnx.numpy_helper import from_array

    from pytorch_to_mlx import onnx_backend

    weights = {"s": scalar(0.05), "z": scalar(3, "int8")}
    nodes, last = [], "image"
    for i in (1, 2):
        weights[f"c{i}.weight_quantized"] = codes(4, 4, 3, 3, kind="int8")
        weights[f"c{i}.weight_scale"] = (floats(4) ** 2 / 100).astype(np.float32)
        weights[f"c{i}.weight_zero"] = np.zeros(4, np.int8)
        kernel = [f"c{i}.weight_{n}" for n in ("quantized", "scale", "zero")]
        nodes += [
            make_node("QuantizeLinear", [last, "s", "z"], [f"q{i}"]),
            make_node("DequantizeLinear", [f"q{i}", "s", "z"], [f"d{i}"]),
            make_node("DequantizeLinear", kernel, [f"w{i}"], axis=0),
            make_node("Conv", [f"d{i}", f"w{i}"], [f"y{i}"], name=f"/c{i}/Conv"),
        ]
        last = f"y{i}"
    graph = make_graph(
        nodes,
        "g",
        [info("image", 1, ["B", 4, 8, 8])],
        [info("y2", 1, ["B", 4, 4, 4])],
        [from_array(np.asarray(v), n) for n, v in weights.items()],
    )
    model = make_model(graph, opset_imports=[make_operatorsetid("", 17)], ir_version=8)
    x = floats(2, 4, 8, 8)
    prepared = onnx_backend.prepare(model)
    (actual,) = prepared.run([x])
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    np.testing.assert_allclose(actual, session.run(None, {"image": x})[0], rtol=1e-4, atol=1e-5)
    text = prepared.converted({"image": x}).text
    body = text[text.index("def __call__") :]
    assert text.count("nn.Conv2d(4, 4, 3") == 2
    assert body.count("transpose") == 2


def test_codes_between_layers_are_a_layer_each() -> None:
    """What ``quantize_static`` writes between the layers; a scale for each channel stays a call."""
    draw = np.random.default_rng(0)
    fc = draw.standard_normal((6, 4)).astype("f")
    weights = {
        "fc.weight": fc,
        "x_scale": np.float32(0.02),
        "x_zero_point": np.int8(3),
        "h_scale": np.float32(0.05),
        "h_zero_point": np.uint8(128),
        "rows_scale": np.linspace(0.01, 0.04, 4, dtype="f"),
        "rows_zero_point": np.zeros(4, np.int8),
    }

    def through(x: str, y: str, codes: str, **options: int) -> list[Any]:
        pair = [f"{codes}_scale", f"{codes}_zero_point"]
        return [
            helper.make_node("QuantizeLinear", [x, *pair], [f"{y}_codes"], **options),
            helper.make_node("DequantizeLinear", [f"{y}_codes", *pair], [y], **options),
        ]

    nodes = [
        *through("x", "xq", "x"),
        helper.make_node("MatMul", ["xq", "fc.weight"], ["h"]),
        *through("h", "hq", "h"),
        helper.make_node("Relu", ["hq"], ["r"]),
        *through("r", "y", "rows", axis=1),
    ]
    model = build(nodes, {"x": ("f", ["n", 6])}, {"y": ("f", ["n", 4])}, weights, opset=17)
    converted = p2m.convert(model, (draw.standard_normal((3, 6)).astype("f"),))
    assert "self.x_codes = ThroughCodes(-128, 127)" in converted.code
    assert "self.h_codes = ThroughCodes(0, 255)" in converted.code
    body = converted.code.partition('"""x: float32[')[2]
    assert body.count("quantize_linear(") == 2  # one there, one back: of the rows
    report = p2m.validate(converted)
    assert report.passed, report.summary()
