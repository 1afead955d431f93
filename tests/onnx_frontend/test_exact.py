"""Products of 8-bit codes that would saturate in onnxruntime on some processors."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper, parser

from pytorch_to_mlx.capture.onnx.exact import with_exact_products

A = np.full((2, 9), 255, np.uint8)
B = np.full((9, 3), 127, np.int8)


def run(model: onnx.ModelProto, **feed: np.ndarray) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    moved = with_exact_products(model)
    onnx.checker.check_model(moved)
    return ort.InferenceSession(moved.SerializeToString(), options).run(None, feed)[0]


def test_products_without_zero_points() -> None:
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
        g (uint8[2,9] a, int8[9,3] b) => (int32[2,3] y) { y = MatMulInteger(a, b) }""")
    assert (run(model, a=A, b=B) == 9 * 255 * 127).all()
    assert [n.op_type for n in model.graph.node] == ["MatMulInteger"]  # the given one stays


def test_a_zero_point_for_each_column() -> None:
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
        g (uint8[2,9] a, int8[9,3] b, uint8 za, int8[3] zb) => (int32[2,3] y)
        { y = MatMulInteger(a, b, za, zb) }""")
    points = np.array([-3, 0, 90], np.int8)
    got = run(model, a=A, b=B, za=np.array(2, np.uint8), zb=points)
    np.testing.assert_array_equal(got[0], 9 * 253 * (127 - points.astype(np.int32)))


def test_signed_codes_in_and_out() -> None:
    """The result of a convolution of int8 is int8 again."""
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
        g (int8[1,9,1,1] x, float s, int8 z, int8[2,9,1,1] w, float sw, int8 zw, float sy, int8 zy)
        => (int8[1,2,1,1] y) { y = QLinearConv(x, s, z, w, sw, zw, sy, zy) }""")
    one, zero = np.array(1, np.float32), np.array(0, np.int8)
    x, w = np.full((1, 9, 1, 1), -128, np.int8), np.full((2, 9, 1, 1), -128, np.int8)
    scale, point = np.array(9 * 128, np.float32), np.array(-5, np.int8)
    got = run(model, x=x, s=one, z=zero, w=w, sw=one, zw=zero, sy=scale, zy=point)
    assert got.dtype == np.int8
    assert got.ravel().tolist() == [123, 123]  # 128 - 5


def test_products_in_a_branch_and_of_weights() -> None:
    weight = numpy_helper.from_array(B, "w")
    product = helper.make_node("MatMulInteger", ["a", "w"], ["p"])
    y = helper.make_tensor_value_info("p", TensorProto.INT32, [2, 3])
    body = helper.make_graph([product], "then", [], [y])
    zeros = numpy_helper.from_array(np.zeros((2, 3), np.int32), "zeros")
    other = helper.make_graph(
        [helper.make_node("Constant", [], ["q"], value=zeros)], "else", [],
        [helper.make_tensor_value_info("q", TensorProto.INT32, [2, 3])],
    )  # fmt: skip
    branch = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=other)
    inputs = [
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        helper.make_tensor_value_info("a", TensorProto.UINT8, [2, 9]),
    ]
    out = helper.make_tensor_value_info("y", TensorProto.INT32, [2, 3])
    graph = helper.make_graph([branch], "g", inputs, [out], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert (run(model, c=np.array(True), a=A) == 9 * 255 * 127).all()
    assert (run(model, c=np.array(False), a=A) == 0).all()


def test_models_without_products_stay() -> None:
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
        g (float[2] x) => (float[2] y) { y = Relu(x) }""")
    assert with_exact_products(model) is model
