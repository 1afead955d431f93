"""An ONNX model with every kind of layer that quantizing meets."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.onnx_frontend.conftest import build, helper

WIDTH, WORDS, HEADS = 64, 96, 4


def reader(seed: int = 0) -> Any:
    """A table, a block of attention and feed-forward, a convolution over time, a head."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    weights: dict[str, np.ndarray] = {
        "table.weight": rng.standard_normal((WORDS, WIDTH)).astype(np.float32),
        "split": np.array([0, 0, HEADS, -1]),
        "joined": np.array([0, 0, -1]),
        "scale": np.array(0.25, np.float32),
        "conv.weight": weight(WIDTH, WIDTH, 3) / 2,
        "head.weight": weight(WIDTH, 20),
    }
    nodes: list[Any] = []
    node = helper.make_node

    def add(op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        out = f"{name}_output"
        nodes.append(node(op, inputs, [out], name, **attributes))
        return out

    def linear(x: str, path: str, rows: int, columns: int) -> str:
        weights[f"{path}.weight"], weights[f"{path}.bias"] = weight(rows, columns), weight(columns)
        at = "/" + path.replace(".", "/")
        y = add("MatMul", [x, f"{path}.weight"], f"{at}/MatMul")
        return add("Add", [f"{path}.bias", y], f"{at}/Add")

    def norm(x: str, path: str) -> str:
        weights[f"{path}.weight"] = 1 + weight(WIDTH) / 4
        weights[f"{path}.bias"] = weight(WIDTH)
        given = [x, f"{path}.weight", f"{path}.bias"]
        return add("LayerNormalization", given, f"/{path}/LayerNormalization")

    def heads(x: str, path: str, perm: list[int]) -> str:
        x = add("Reshape", [linear(x, path, WIDTH, WIDTH), "split"], f"/mix/Reshape_{path[-1]}")
        return add("Transpose", [x], f"/mix/Transpose_{path[-1]}", perm=perm)

    x = add("Gather", ["table.weight", "ids"], "/table/Gather")
    y = norm(x, "first")
    q, v = (heads(y, f"mix.{p}", [0, 2, 1, 3]) for p in "qv")
    k = heads(y, "mix.k", [0, 2, 3, 1])
    scores = add("Mul", [add("MatMul", [q, k], "/mix/MatMul"), "scale"], "/mix/Mul")
    mixed = add("MatMul", [add("Softmax", [scores], "/mix/Softmax"), v], "/mix/MatMul_1")
    mixed = add("Transpose", [mixed], "/mix/Transpose", perm=[0, 2, 1, 3])
    mixed = linear(add("Reshape", [mixed, "joined"], "/mix/Reshape"), "mix.o", WIDTH, WIDTH)
    x = add("Add", [x, mixed], "/Add")
    wide = add("Relu", [linear(norm(x, "second"), "wide", WIDTH, 2 * WIDTH)], "/Relu")
    x = add("Add", [x, linear(wide, "narrow", 2 * WIDTH, WIDTH)], "/Add_1")
    turned = add("Transpose", [x], "/conv/Transpose", perm=[0, 2, 1])
    c = add("Conv", [turned, "conv.weight"], "/conv/Conv", pads=[1, 1])
    x = add("Tanh", [add("Transpose", [c], "/conv/Transpose_1", perm=[0, 2, 1])], "/Tanh")
    nodes.append(node("MatMul", [x, "head.weight"], ["y"], "/head/MatMul"))
    return build(
        nodes,
        {"ids": ("i", ["batch", "time"])},
        {"y": ("f", ["batch", "time", 20])},
        weights,
        opset=17,
        name="reader",
    )
