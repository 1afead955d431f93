"""ONNX models whose products of 8-bit codes onnxruntime computes exactly.

On x86 processors without VNNI its products of unsigned by signed codes saturate at 16 bits. Signed
codes and their zero points moved by 128 are unsigned ones of the same numbers, whose products are
exact everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_OWN = "com.microsoft"
_HALF = 128

#: Where an op has its codes and their zero points, and the zero point of its result.
_Places = tuple[tuple[tuple[int, int], ...], int | None]
PRODUCTS: Mapping[tuple[str, str], _Places] = {
    ("", "MatMulInteger"): (((0, 2), (1, 3)), None),
    ("", "ConvInteger"): (((0, 2), (1, 3)), None),
    ("", "QLinearMatMul"): (((0, 2), (3, 5)), 7),
    ("", "QLinearConv"): (((0, 2), (3, 5)), 7),
    (_OWN, "QGemm"): (((0, 2), (3, 5)), 8),
    (_OWN, "MatMulIntegerToFloat"): (((0, 4), (1, 5)), None),
    (_OWN, "DynamicQuantizeMatMul"): (((1, 3),), None),
    (_OWN, "QAttention"): (((0, 6), (1, 7)), None),
}


@cache
def saturates() -> bool:
    """Whether onnxruntime's products saturate on this processor."""
    import onnxruntime as ort

    inputs = [
        helper.make_tensor_value_info("a", TensorProto.UINT8, [1, 8]),
        helper.make_tensor_value_info("b", TensorProto.INT8, [8, 1]),
    ]
    output = helper.make_tensor_value_info("y", TensorProto.INT32, [1, 1])
    node = helper.make_node("MatMulInteger", ["a", "b"], ["y"])
    graph = helper.make_graph([node], "product", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"a": np.full((1, 8), 255, np.uint8), "b": np.full((8, 1), 127, np.int8)}
    return int(session.run(None, feed)[0].item()) != 8 * 255 * 127


def has_products(graph: onnx.GraphProto) -> bool:
    """Whether a graph, or the body of a node, multiplies codes."""
    return any(
        _key(node) in PRODUCTS or any(has_products(body) for body in _bodies(node))
        for node in graph.node
    )


def with_exact_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the signed codes of its products moved; the same one where it has none."""
    if not has_products(model.graph):
        return model
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    _Mover(model).move(moved.graph, {})
    return moved


class _Mover:
    def __init__(self, model: onnx.ModelProto) -> None:
        names = {n for graph in _graphs(model.graph) for n in _names(graph)}
        self.names = names
        self.inferred = _types(onnx.shape_inference.infer_shapes(model).graph)

    def move(self, graph: onnx.GraphProto, outer: Mapping[str, int]) -> None:
        types = {**outer, **self.inferred, **_types(graph)}
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            for body in _bodies(node):
                self.move(body, types)
            after: list[onnx.NodeProto] = []
            if _key(node) in PRODUCTS:
                after = self._product(node, types, nodes)
            nodes += [node, *after]
        del graph.node[:]
        graph.node.extend(nodes)

    def _product(
        self, node: onnx.NodeProto, types: Mapping[str, int], before: list[onnx.NodeProto]
    ) -> list[onnx.NodeProto]:
        """Changes a node's inputs, whose makers go ``before``; gives what comes after it."""
        pairs, result = PRODUCTS[_key(node)]
        given = [*node.input]
        point = given[result] if result is not None and len(given) > result else ""
        signed = result is not None and types.get(point) == TensorProto.INT8
        for codes, zero in pairs:
            if types.get(given[codes]) != TensorProto.INT8:
                continue
            given += [""] * (zero + 1 - len(given))
            given[codes] = self._shifted(given[codes], _HALF, TensorProto.UINT8, before)
            given[zero] = (
                self._shifted(given[zero], _HALF, TensorProto.UINT8, before)
                if given[zero]
                else self._constant(np.array(_HALF, np.uint8), before)
            )
        after: list[onnx.NodeProto] = []
        if signed and types.get(node.input[0]) == TensorProto.INT8:  # codes in and out are alike
            assert result is not None
            given[result] = self._shifted(point, _HALF, TensorProto.UINT8, before)
            wanted, node.output[0] = node.output[0], self._fresh(node.output[0])
            self._shifted(node.output[0], -_HALF, TensorProto.INT8, after, wanted)
        del node.input[:]
        node.input.extend(given)
        return after

    def _shifted(
        self, name: str, by: int, kind: int, into: list[onnx.NodeProto], wanted: str = ""
    ) -> str:
        wide, moved = self._fresh(name), self._fresh(name)
        wanted = wanted or self._fresh(name)
        step = self._constant(np.array(by, np.int32), into)
        into += [
            helper.make_node("Cast", [name], [wide], to=TensorProto.INT32),
            helper.make_node("Add", [wide, step], [moved]),
            helper.make_node("Cast", [moved], [wanted], to=kind),
        ]
        return wanted

    def _constant(self, value: np.ndarray, into: list[onnx.NodeProto]) -> str:
        name = self._fresh("constant")
        tensor = numpy_helper.from_array(value, name)
        into.append(helper.make_node("Constant", [], [name], value=tensor))
        return name

    def _fresh(self, name: str) -> str:
        number = len(self.names)
        while (free := f"{name}_moved_{number}") in self.names:
            number += 1
        self.names.add(free)
        return free


def _key(node: onnx.NodeProto) -> tuple[str, str]:
    return ("" if node.domain == "ai.onnx" else node.domain, node.op_type)


def _bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [g for a in node.attribute for g in ([a.g] if a.HasField("g") else a.graphs)]


def _graphs(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    inner = [g for node in graph.node for body in _bodies(node) for g in _graphs(body)]
    return [graph, *inner]


def _names(graph: onnx.GraphProto) -> list[str]:
    found: list[Any] = [*graph.initializer, *graph.input]
    return [x.name for x in found] + [n for node in graph.node for n in node.output]


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    """Element types of the values of a graph and of its bodies, as far as the model tells."""
    found: dict[str, int] = {}
    for inner in _graphs(graph):
        for value in (*inner.input, *inner.value_info, *inner.output):
            if value.type.HasField("tensor_type"):
                found[value.name] = value.type.tensor_type.elem_type
        found |= {t.name: t.data_type for t in inner.initializer}
    return found
