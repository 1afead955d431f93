"""ONNX models with modules in their node names, rich in ops that can be got wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.onnx_frontend.conftest import build, helper

node = helper.make_node


def _draw(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: (rng.standard_normal(s) / 2).astype(np.float32) for n, s in shapes.items()}


def reader() -> Any:
    """Token ids to scores, through one block of attention written out."""
    shapes = {"emb.weight": (12, 8), "norm.weight": (8,), "norm.bias": (8,), "head.weight": (8, 8)}
    shapes |= {"head.bias": (8,), **{f"attn.{p}": (8, 8) for p in "qkv"}}
    weights = _draw(shapes, 0)
    weights |= {
        "two": np.array([2]),
        "four": np.array([4]),
        "zero": np.array(0),
        "one": np.array(1),
    }
    weights |= {"minus": np.array([-1]), "ax2": np.array([2]), "from": np.array([3])}
    weights |= {"end": np.array([1 << 60]), "scale": np.array(2.0, "f"), "low": np.array(-9.0, "f")}
    heads = []
    for p in "qkv":
        heads += [
            node("MatMul", ["n", f"attn.{p}"], [p], f"/attn/{p}/MatMul"),
            node("Reshape", [p, "split"], [f"{p}_split"], f"/attn/Reshape_{p}"),
            node(
                "Transpose", [f"{p}_split"], [f"{p}_h"], f"/attn/Transpose_{p}", perm=[0, 2, 1, 3]
            ),
        ]
    nodes = [
        node("Gather", ["emb.weight", "ids"], ["e"], "/emb/Gather"),
        node("LayerNormalization", ["e", "norm.weight", "norm.bias"], ["n"], "/norm/LayerNorm"),
        node("Shape", ["n"], ["shape"], "/attn/Shape", start=0, end=2),
        node("Concat", ["shape", "two", "four"], ["split"], "/attn/Concat", axis=0),
        *heads,
        node("Transpose", ["k_h"], ["k_t"], "/attn/Transpose", perm=[0, 1, 3, 2]),
        node("MatMul", ["q_h", "k_t"], ["s"], "/attn/MatMul"),
        node("Div", ["s", "scale"], ["d"], "/attn/Div"),
        node("Less", ["d", "low"], ["far"], "/attn/Less"),
        node("Where", ["far", "low", "d"], ["w"], "/attn/Where"),
        node("Softmax", ["w"], ["p"], "/attn/Softmax", axis=-1),
        node("MatMul", ["p", "v_h"], ["o"], "/attn/MatMul_1"),
        node("Transpose", ["o"], ["o_t"], "/attn/Transpose_1", perm=[0, 2, 1, 3]),
        node("Concat", ["shape", "minus"], ["joined"], "/attn/Concat_1", axis=0),
        node("Reshape", ["o_t", "joined"], ["a"], "/attn/Reshape_1"),
        node("Sub", ["a", "n"], ["r"], "/Sub"),
        node("Slice", ["r", "from", "end", "ax2"], ["tail"], "/Slice"),
        node("Slice", ["r", "ax2", "from", "ax2"], ["head"], "/Slice_1"),
        node("Concat", ["tail", "head", "a", "n"], ["c"], "/Concat", axis=-1),
        node("CumSum", ["c", "one"], ["u"], "/CumSum"),
        node("Tanh", ["u"], ["t"], "/act/Tanh"),
        node("ReduceMean", ["t"], ["m"], "/ReduceMean", axes=[1], keepdims=0),
        node("Slice", ["m", "zero8", "eight", "minus"], ["m8"], "/Slice_2"),
        node("Gemm", ["m8", "head.weight", "head.bias"], ["y"], "/head/Gemm", alpha=0.5, transB=1),
    ]
    weights |= {"zero8": np.array([0]), "eight": np.array([8])}
    return build(nodes, {"ids": ("i", ["batch", "time"])}, {"y": ("f", ["batch", 8])}, weights, 17)


def vision() -> Any:
    """Images through a convolution, a batch norm, padding and pooling."""
    shapes = {"conv.weight": (6, 3, 3, 3), "conv.bias": (6,), "bn.weight": (6,), "bn.bias": (6,)}
    shapes |= {"bn.mean": (6,), "up.weight": (6, 4, 2, 2), "fc.weight": (4, 5), "fc.bias": (5,)}
    weights = _draw(shapes, 1)
    weights["bn.var"] = np.abs(_draw({"v": (6,)}, 2)["v"]) + 0.5
    weights |= {"pads": np.array([0, 0, 1, 0, 0, 0, 0, 2]), "low": np.array(-0.5, "f")}
    weights |= {"high": np.array(0.75, "f"), "scales": np.array([1, 1, 2, 2], "f")}
    nodes = [
        node("Conv", ["x", "conv.weight", "conv.bias"], ["c"], "/conv/Conv", pads=[1, 0, 1, 0]),
        node(
            "BatchNormalization",
            ["c", "bn.weight", "bn.bias", "bn.mean", "bn.var"],
            ["b"],
            "/bn/BatchNorm",
        ),
        node("Relu", ["b"], ["r"], "/act/Relu"),
        node("Pad", ["r", "pads"], ["p"], "/Pad"),
        node(
            "AveragePool",
            ["p"],
            ["a"],
            "/pool/AveragePool",
            kernel_shape=[3, 3],
            strides=[2, 2],
            pads=[1, 1, 1, 1],
            count_include_pad=1,
        ),
        node("ConvTranspose", ["a", "up.weight"], ["t"], "/up/ConvTranspose", strides=[2, 2]),
        node("Resize", ["t", "", "scales"], ["z"], "/Resize", mode="linear"),
        node("Clip", ["z", "low", "high"], ["l"], "/Clip"),
        node("GlobalAveragePool", ["l"], ["g"], "/GlobalAveragePool"),
        node("Flatten", ["g"], ["f"], "/Flatten"),
        node("MatMul", ["f", "fc.weight"], ["m"], "/fc/MatMul"),
        node("Add", ["m", "fc.bias"], ["y"], "/fc/Add"),
    ]
    return build(nodes, {"x": ("f", ["batch", 3, 9, 8])}, {"y": ("f", ["batch", 5])}, weights, 17)


def tagger() -> Any:
    """A recurrent layer and what is made of its states."""
    shapes = {"lstm.w": (1, 24, 4), "lstm.r": (1, 24, 6), "lstm.b": (1, 48), "out": (6, 3)}
    weights = _draw(shapes, 3) | {"one": np.array([1]), "k": np.array([2])}
    nodes = [
        node("Transpose", ["x"], ["xt"], "/Transpose", perm=[1, 0, 2]),
        node("LSTM", ["xt", "lstm.w", "lstm.r", "lstm.b"], ["s", "h"], "/lstm/LSTM", hidden_size=6),
        node("Squeeze", ["s", "one"], ["q"], "/lstm/Squeeze"),
        node("MatMul", ["q", "out"], ["m"], "/out/MatMul"),
        node("LogSoftmax", ["m"], ["y"], "/LogSoftmax", axis=-1),
        node("ReduceMax", ["h"], ["top"], "/ReduceMax", axes=[0], keepdims=0),
        node("TopK", ["top", "k"], ["best", "where"], "/TopK"),
    ]
    outputs = {"y": ("f", ["time", "batch", 3]), "best": ("f", ["batch", 2])}
    return build(nodes, {"x": ("f", ["batch", "time", 4])}, outputs, weights, 17)


MODELS = {"reader": reader, "vision": vision, "tagger": tagger}
