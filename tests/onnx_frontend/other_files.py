"""ONNX files as other tools write them, built node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.onnx_frontend import real_models

node = helper.make_node
draw = np.random.default_rng(0)
Shape = Sequence[Any] | None


def floats(*shape: int) -> np.ndarray:
    return draw.standard_normal(shape).astype(np.float32)


def info(name: str, shape: Shape, kind: int = onnx.TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Mapping[str, np.ndarray],
    opset: int,
    ir_version: int = 8,
) -> onnx.ModelProto:
    held = [numpy_helper.from_array(a, n) for n, a in weights.items()]
    graph = helper.make_graph(list(nodes), "main_graph", list(inputs), list(outputs), held)
    opsets = [helper.make_operatorsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def tensorflow(folder: Path) -> onnx.ModelProto:
    """As tf2onnx writes a Keras model: paths without a slash in front, transposes at the ends,
    ``ReadVariableOp`` for weights."""
    top, variable = "StatefulPartitionedCall/cnn", "ReadVariableOp:0"
    kernel = [f"{top}/conv2d{i}/Conv2D/{variable}" for i in ("", "_1")]
    bias = f"{top}/conv2d/BiasAdd/{variable}"
    dense = [f"{top}/dense/{op}/{variable}" for op in ("MatMul", "BiasAdd")]
    same: dict[str, Any] = {"auto_pad": "SAME_UPPER", "kernel_shape": [3, 3]}
    nodes = [
        node("Transpose", ["input_1:0"], ["t"], "Transpose__10", perm=[0, 3, 1, 2]),
        node(
            "Conv", ["t", kernel[0], bias], ["c"], f"{top}/conv2d/BiasAdd", strides=[2, 2], **same
        ),
        node("Relu", ["c"], ["r"], f"{top}/conv2d/Relu"),
        node("Conv", ["r", kernel[1]], ["d"], f"{top}/conv2d_1/Conv2D", **same),
        node("Transpose", ["d"], ["u"], "Transpose__14", perm=[0, 2, 3, 1]),
        node("ReduceMean", ["u"], ["m"], f"{top}/pooling/Mean", axes=[1, 2], keepdims=0),
        node("MatMul", ["m", dense[0]], ["n"], f"{top}/dense/MatMul"),
        node("Add", ["n", dense[1]], ["o"], f"{top}/dense/BiasAdd"),
        node("Softmax", ["o"], ["Identity:0"], f"{top}/dense/Softmax", axis=-1),
    ]
    weights = {kernel[0]: floats(8, 3, 3, 3), bias: floats(8), kernel[1]: floats(8, 8, 3, 3)}
    weights |= {dense[0]: floats(8, 5), dense[1]: floats(5)}
    shape = ["unk__50", 32, 32, 3]
    return build(nodes, [info("input_1:0", shape)], [info("Identity:0", ["n", 5])], weights, 13)


def opset_9(folder: Path) -> onnx.ModelProto:
    """An exporter of 2019: weights among the inputs, Upsample, chains of Shape and Gather."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], "Conv_0", kernel_shape=[3, 3], pads=[1] * 4),
        node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], "BatchNormalization_1"),
        node("LeakyRelu", ["n"], ["r"], "LeakyRelu_2", alpha=0.1),
        node("MaxPool", ["r"], ["p"], "MaxPool_3", kernel_shape=[2, 2], strides=[2, 2]),
        node("Upsample", ["p", "factors"], ["u"], "Upsample_4", mode="nearest"),
        node("Concat", ["u", "r"], ["cat"], "Concat_5", axis=1),
        node("Shape", ["cat"], ["shape"], "Shape_6"),
        node("Constant", [], ["i"], "Constant_7", value=numpy_helper.from_array(np.array(0))),
        node("Gather", ["shape", "i"], ["count"], "Gather_8", axis=0),
        node("Unsqueeze", ["count"], ["counts"], "Unsqueeze_9", axes=[0]),
        node("Constant", [], ["k"], "Constant_10", value=numpy_helper.from_array(np.array([-1]))),
        node("Concat", ["counts", "k"], ["target"], "Concat_11", axis=0),
        node("GlobalAveragePool", ["cat"], ["g"], "GlobalAveragePool_12"),
        node("Reshape", ["g", "target"], ["f"], "Reshape_13"),
        node("Gemm", ["f", "fw", "fb"], ["y"], "Gemm_14", transB=1),
    ]
    weights = {"w": floats(8, 3, 3, 3), "s": floats(8), "b": floats(8), "m": floats(8)}
    weights |= {"v": np.abs(floats(8)) + 1, "factors": np.array([1, 1, 2, 2], np.float32)}
    weights |= {"fw": floats(4, 16), "fb": floats(4)}
    inputs = [info("x", ["N", 3, "H", "W"]), *(info(n, a.shape) for n, a in weights.items())]
    return build(nodes, inputs, [info("y", ["N", 4])], weights, 9, ir_version=4)


def opset_7(folder: Path) -> onnx.ModelProto:
    """Settings as attributes; the weights are not among the inputs, as the old format wants."""
    nodes = [
        node("Slice", ["x"], ["s"], axes=[1], starts=[0], ends=[6]),
        node("Clip", ["s"], ["c"], min=-1.0, max=1.0),
        node("Unsqueeze", ["c"], ["u"], axes=[1]),
        node("Pad", ["u"], ["p"], pads=[0, 0, 1, 0, 0, 1], mode="reflect"),
        node("Conv", ["p", "w", "b"], ["v"], kernel_shape=[3]),
        node("PRelu", ["v", "slope"], ["r"]),
        node("Dropout", ["r"], ["d"], ratio=0.5),
        node("ReduceMax", ["d"], ["m"], axes=[2], keepdims=0),
        node("MatMul", ["m", "fw"], ["f"]),
        node("LogSoftmax", ["f"], ["y"], axis=1),
    ]
    weights = {"w": floats(4, 1, 3), "b": floats(4), "slope": floats(4, 1), "fw": floats(4, 3)}
    return build(nodes, [info("x", ["n", 8])], [info("y", ["n", 3])], weights, 7, ir_version=3)


def resize_to_the_input(folder: Path) -> onnx.ModelProto:
    """The sizes of Resize come from the input's shape, by slices and a Concat."""
    options = {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}
    nodes = [
        node("Conv", ["x", "w"], ["c"], "/stem/Conv", strides=[2, 2], pads=[1] * 4),
        node("Shape", ["x"], ["of_x"], "/Shape"),
        node("Slice", ["of_x", "two", "four", "zero"], ["space"], "/Slice"),
        node("Shape", ["c"], ["of_c"], "/Shape_1"),
        node("Slice", ["of_c", "zero", "two", "zero"], ["rest"], "/Slice_1"),
        node("Concat", ["rest", "space"], ["sizes"], "/Concat", axis=0),
        node("Resize", ["c", "", "", "sizes"], ["y"], "/Resize", **options),
    ]
    weights = {"w": floats(5, 3, 3, 3), "two": np.array([2]), "four": np.array([4])}
    weights["zero"] = np.array([0])
    image = ["N", 3, "H", "W"]
    return build(nodes, [info("x", image)], [info("y", ["N", 5, "H", "W"])], weights, 13)


def scikit_learn(folder: Path) -> onnx.ModelProto:
    """A scaler and a logistic regression: labels and probabilities."""
    nodes = [
        node("Sub", ["X", "mean"], ["a"], "Su_Sub"),
        node("Div", ["a", "scale"], ["b"], "Di_Div"),
        node("MatMul", ["b", "coefficients"], ["c"], "MatMul"),
        node("Add", ["c", "intercept"], ["raw"], "Add"),
        node("Softmax", ["raw"], ["probabilities"], "Softmax", axis=1),
        node("ArgMax", ["raw"], ["at"], "ArgMax", axis=1, keepdims=0),
        node("Gather", ["classes", "at"], ["label"], "ArrayFeatureExtractor"),
    ]
    weights = {"mean": floats(4), "scale": np.abs(floats(4)) + 0.5, "coefficients": floats(4, 3)}
    weights |= {"intercept": floats(3), "classes": np.array([10, 20, 30])}
    outputs = [info("label", [None], onnx.TensorProto.INT64), info("probabilities", [None, 3])]
    return build(nodes, [info("X", [None, 4])], outputs, weights, 15)


def captures(folder: Path) -> onnx.ModelProto:
    """A Loop and an If whose bodies take values and weights from outside."""
    boolean, whole = onnx.TensorProto.BOOL, onnx.TensorProto.INT64
    body = helper.make_graph(
        [
            node("MatMul", ["h", "W"], ["a"]),
            node("Add", ["a", "x"], ["b"]),
            node("Tanh", ["b"], ["next"]),
            node("Identity", ["next"], ["kept"]),
            node("Identity", ["go"], ["on"]),
        ],
        "body",
        [info("i", [], whole), info("go", [], boolean), info("h", ["N", 6])],
        [info("on", [], boolean), info("next", ["N", 6]), info("kept", ["N", 6])],
    )
    near = [node("MatMul", ["last", "V1"], ["n1"]), node("Relu", ["n1"], ["n2"])]
    far = [node("MatMul", ["last", "V2"], ["f1"]), node("Tanh", ["f1"], ["f2"])]
    branches = {
        "then_branch": helper.make_graph(near, "near", [], [info("n2", ["N", 3])]),
        "else_branch": helper.make_graph(far, "far", [], [info("f2", ["N", 3])]),
    }
    nodes = [
        node("Loop", ["steps", "true", "x"], ["last", "all"], "loop", body=body),
        node("ReduceSum", ["last"], ["total"], keepdims=0),
        node("Greater", ["total", "nothing"], ["positive"]),
        node("If", ["positive"], ["y"], "if", **branches),
    ]
    weights = {"W": floats(6, 6) * 0.3, "V1": floats(6, 3), "V2": floats(6, 3)}
    weights |= {"steps": np.array(4), "true": np.array(True), "nothing": np.array(0, np.float32)}
    outputs = [info("y", ["N", 3]), info("all", ["S", "N", 6])]
    return build(nodes, [info("x", ["N", 6])], outputs, weights, 16)


# -- made of an exported encoder ---------------------------------------------------------------


def _encoder(folder: Path, opset: int) -> Path:
    return real_models.export(real_models.bert(), folder / "encoder.onnx", opset, newer=False)


def constants_only(folder: Path) -> onnx.ModelProto:
    """Weights as Constant nodes, nodes numbered: as paddle2onnx does."""
    path = real_models.export(real_models.tagger(), folder / "t.onnx", 13, newer=False)
    model = onnx.load(path)
    held = [node("Constant", [], [t.name], value=t) for t in model.graph.initializer]
    rest = list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend([*held, *rest])
    for i, n in enumerate(model.graph.node):
        n.name = f"p2o.{n.op_type}.{i}"
    return model


def half_with_islands(folder: Path) -> onnx.ModelProto:
    """float16 but for the norms and the softmax, with casts around those, which onnxruntime's
    tool appends behind all other nodes."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    blocked = ["LayerNormalization", "Softmax"]
    model = onnx.load(_encoder(folder, 17))
    return convert_float_to_float16(model, keep_io_types=True, op_block_list=blocked)


def dynamically_quantized(folder: Path) -> onnx.ModelProto:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(_encoder(folder, 17)), str(folder / "quantized.onnx"))
    return onnx.load(folder / "quantized.onnx")


def optimised_for_transformers(folder: Path) -> onnx.ModelProto:
    """Attention, EmbedLayerNormalization and the like of com.microsoft."""
    from onnxruntime.transformers.optimizer import optimize_model

    path = str(_encoder(folder, 14))
    return optimize_model(path, model_type="bert", num_heads=4, hidden_size=32).model


def optimised_by_a_session(folder: Path) -> onnx.ModelProto:
    """What onnxruntime saves of the graph that it runs: FusedMatMul, BiasGelu, FusedGemm."""
    import onnxruntime as ort

    path = real_models.export(real_models.vit(), folder / "vit.onnx", 17, newer=False)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx")
