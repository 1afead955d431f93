"""Attributes of a node as Python values."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto

from pytorch_to_mlx.capture.onnx.tensors import dense, read_tensor
from pytorch_to_mlx.lower.onnx._context import node
from pytorch_to_mlx.lower.onnx._dtypes import element_name
from pytorch_to_mlx.lower.onnx._values import Known
from pytorch_to_mlx.lower.registry import Unsupported


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Names to ints, floats, strings, tuples of these, :class:`Known` tensors and ``GraphProto``s.

    Raises:
        Unsupported: an attribute is of a kind that no lowering takes.
    """
    return {a.name: value_of(a) for a in node.attribute}


def value_of(a: AttributeProto) -> Any:
    kind = a.type
    if kind == AttributeProto.FLOAT:
        return shortest(a.f)
    if kind == AttributeProto.INT:
        return int(a.i)
    if kind == AttributeProto.STRING:
        return text(a.s)
    if kind == AttributeProto.FLOATS:
        return tuple(shortest(v) for v in a.floats)
    if kind == AttributeProto.INTS:
        return tuple(int(v) for v in a.ints)
    if kind == AttributeProto.STRINGS:
        return tuple(text(v) for v in a.strings)
    if kind == AttributeProto.GRAPH:
        return a.g
    if kind == AttributeProto.TENSOR:
        return tensor(a.t)
    if kind == AttributeProto.SPARSE_TENSOR:
        return sparse(a.sparse_tensor)
    if kind == AttributeProto.TENSORS:
        return tuple(tensor(t) for t in a.tensors)
    if kind == AttributeProto.TYPE_PROTO:
        return a.tp
    raise Unsupported(f"the attribute {a.name} of kind {AttributeProto.AttributeType.Name(kind)}")


def shortest(value: float) -> float:
    """The number that a person would write for a float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def tensor(t: onnx.TensorProto) -> Known:
    return Known(read_tensor(t, node().lowering.program.folder), element_name(t.data_type))


def sparse(t: onnx.SparseTensorProto) -> Known:
    """A sparse tensor as the dense one that it stands for."""
    folder = node().lowering.program.folder
    return Known(dense(t, folder), element_name(t.values.data_type))
