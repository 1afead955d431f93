"""Function bodies that operator schemas define: what an op without a lowering is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import defs, helper

from pytorch_to_mlx.graph.dims import is_static
from pytorch_to_mlx.lower.onnx._common import element

#: How deep function bodies may hold ops that are functions themselves.
DEEPEST = 8


def function_body(
    node: onnx.NodeProto, opset: int, inputs: Sequence[Any], opsets: Mapping[str, int]
) -> onnx.FunctionProto | None:
    """The body with this node's attributes put in, or None where the schema has none."""
    try:
        schema = defs.get_schema(node.op_type, opset, node.domain)
    except defs.SchemaError:
        return None
    body = None
    if schema.has_function:
        body = schema.get_function_with_opset_version(
            _version(schema.function_opset_versions, opset)
        )
        body = onnx.FunctionProto.FromString(body)
    elif schema.has_context_dependent_function:
        version = _version(schema.context_dependent_function_opset_versions, opset)
        types = [_type(v).SerializeToString() for v in inputs]
        raw = schema.get_context_dependent_function_with_opset_version(
            version, node.SerializeToString(), types
        )
        body = onnx.FunctionProto.FromString(raw) if raw else None
    return None if body is None else _with_attributes(body, node, schema)


def _version(versions: Sequence[int], opset: int) -> int:
    fitting = [v for v in versions if v <= opset]
    return max(fitting) if fitting else min(versions)


def _type(value: Any) -> onnx.TypeProto:
    """The type of a value as ONNX writes it; sizes only where they are numbers."""
    if value is None:
        return onnx.TypeProto()
    if isinstance(value, list):
        return helper.make_sequence_type_proto(_type(value[0]) if value else onnx.TypeProto())
    shape = [int(d) if is_static(d) else None for d in value.dims]
    return helper.make_tensor_type_proto(data_type(element(value)), shape)


def data_type(name: str) -> int:
    """ONNX's number of an element type."""
    names = {"float32": "FLOAT", "float64": "DOUBLE"}
    return onnx.TensorProto.DataType.Value(names.get(name, name.upper()))


def _with_attributes(
    body: onnx.FunctionProto, node: onnx.NodeProto, schema: Any
) -> onnx.FunctionProto:
    """The body with references to the function's attributes replaced by their values."""
    given = {a.name: a for a in node.attribute}
    for a in body.attribute_proto:
        given.setdefault(a.name, a)
    for name, a in schema.attributes.items():
        if a.default_value.type != onnx.AttributeProto.UNDEFINED:
            given.setdefault(name, a.default_value)
    out = onnx.FunctionProto()
    out.CopyFrom(body)
    _substitute(out.node, given)
    return out


def _substitute(nodes: Any, given: Mapping[str, onnx.AttributeProto]) -> None:
    for n in nodes:
        kept = []
        for a in n.attribute:
            if a.ref_attr_name:
                if a.ref_attr_name in given:
                    new = onnx.AttributeProto()
                    new.CopyFrom(given[a.ref_attr_name])
                    new.name = a.name
                    kept.append(new)
                continue
            if a.HasField("g"):
                _substitute(a.g.node, given)
            kept.append(a)
        copies = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in kept]
        del n.attribute[:]
        n.attribute.extend(copies)
