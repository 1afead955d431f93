"""An ONNX model in another floating precision: tensors, casts, constants and declared types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from pytorch_to_mlx.errors import CaptureError

TYPES = {
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
}
#: Attributes that name an element type.
_NAMING = {"to", "dtype", "output_dtype", "stash_type", "softmax_precision"}


def recast_model(model: onnx.ModelProto, dtype: str) -> onnx.ModelProto:
    """A copy whose floats of every plain precision are of ``dtype``; its tensors must be inside.

    Raises:
        CaptureError: the dtype is none of float16, bfloat16, float32, float64.
    """
    if dtype not in TYPES:
        raise CaptureError(f"an ONNX model cannot be run in {dtype}")
    target = TYPES[dtype]
    table = dict.fromkeys(TYPES.values(), target)
    out = onnx.ModelProto()
    out.CopyFrom(model)
    for function in out.functions:
        _nodes(function.node, table)
    _graph(out.graph, table)
    return out


def _graph(graph: onnx.GraphProto, table: Mapping[int, int]) -> None:
    for tensor in graph.initializer:
        _tensor(tensor, table)
    for sparse in graph.sparse_initializer:
        _tensor(sparse.values, table)
    del graph.value_info[:]
    for info in (*graph.input, *graph.output):
        for t in _tensor_types(info.type):
            t.elem_type = table.get(t.elem_type, t.elem_type)
    _nodes(graph.node, table)


def _tensor_types(type_: onnx.TypeProto) -> Iterator[onnx.TypeProto.Tensor]:
    kind = type_.WhichOneof("value")
    if kind == "tensor_type":
        yield type_.tensor_type
    elif kind in ("sequence_type", "optional_type"):
        yield from _tensor_types(getattr(type_, kind).elem_type)


def _nodes(nodes: object, table: Mapping[int, int]) -> None:
    for node in nodes:  # type: ignore[attr-defined]
        if node.op_type == "Constant":
            _float_constant(node, table)
        for a in node.attribute:
            if a.name in _NAMING and a.type == onnx.AttributeProto.INT and a.i in table:
                a.i = table[a.i]
            if a.HasField("t"):
                _tensor(a.t, table)
            for sub in (*([a.g] if a.HasField("g") else ()), *a.graphs):
                _graph(sub, table)


def _float_constant(node: onnx.NodeProto, table: Mapping[int, int]) -> None:
    """``value_float(s)`` are float32 whatever the model's precision."""
    for a in list(node.attribute):
        if a.name in ("value_float", "value_floats"):
            values = np.float32(a.f) if a.name == "value_float" else np.array(a.floats, np.float32)
            tensor = numpy_helper.from_array(np.asarray(values))
            node.attribute.remove(a)
            node.attribute.append(onnx.helper.make_attribute("value", tensor))


def _tensor(tensor: TensorProto, table: Mapping[int, int]) -> None:
    number = table.get(tensor.data_type, tensor.data_type)
    if number == tensor.data_type:
        return
    name = {v: k for k, v in TYPES.items()}[number]
    array = clamped(numpy_helper.to_array(tensor), name)
    array = array.astype(onnx.helper.tensor_dtype_to_np_dtype(number))
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def clamped(array: np.ndarray, dtype: str) -> np.ndarray:
    """The array with what is finite but beyond ``dtype`` at that type's bounds: the lowest float32
    that masks are made of must not become an infinity."""
    if dtype != "float16":
        return array
    top = np.asarray(65504, array.dtype)
    return np.where(np.isfinite(array), np.clip(array, -top, top), array)
