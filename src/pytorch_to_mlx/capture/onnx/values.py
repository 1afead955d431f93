"""Values within an ONNX graph on one call of the original, and the nodes that make them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import onnx

from pytorch_to_mlx.capture.onnx.reference import OnnxReference, start, whole_model


def with_outputs(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """A copy of the model that gives out just the named values of its graph."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    del out.graph.output[:]
    out.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    return out


def values_at(
    model: onnx.ModelProto, names: Sequence[str], feed: Mapping[str, Any]
) -> dict[str, Any]:
    """The named values of the graph, computed as the model is written.

    Raises:
        CaptureError: the model cannot be run; and what the runtime raises.
    """
    if not names:
        return {}
    results = start(with_outputs(model, names))(feed)
    return dict(zip(names, results, strict=True))


def shapes_at(
    model: onnx.ModelProto, names: Sequence[str], feed: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
    """The shapes of named tensors of the graph; the tensors themselves are not kept."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    shapes = [f"{name} (shape)" for name in names]
    for name, shape in zip(names, shapes, strict=True):
        out.graph.node.append(onnx.helper.make_node("Shape", [name], [shape]))
    found = values_at(out, shapes, feed)
    return {n: tuple(int(d) for d in found[s]) for n, s in zip(names, shapes, strict=True)}


def graph_values(
    reference: OnnxReference, names: Sequence[str], inputs: Mapping[str, Any]
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The model of lowering with its tensors inside, and by name the inputs, initializers and named
    values of one call: arrays, and lists of them.

    Raises:
        CaptureError: the model is too large, or cannot be run.
    """
    program = reference.program
    model = whole_model(reference, program.model)
    feed = reference.feed(inputs)
    found: dict[str, Any] = dict(feed)
    for name, tensor in program.initializers.items():
        found[name] = program.edited.get(name, tensor.array)
    found |= values_at(model, names, feed)
    return model, {n: _arrays(v) for n, v in found.items() if v is not None}


def _arrays(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_arrays(v) for v in value]
    return np.asarray(value)


# -- nodes -----------------------------------------------------------------------------------------


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """The node that makes each value of a graph (not those within bodies)."""
    return {name: node for node in graph.node for name in node.output if name}


def taken(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node takes, those that its bodies take from outside them too."""
    yield from (name for name in node.input if name)
    for a in node.attribute:
        for body in (*([a.g] if a.HasField("g") else ()), *a.graphs):
            inside = {i.name for i in (*body.input, *body.initializer)}
            inside |= {s.values.name for s in body.sparse_initializer}
            for inner in body.node:
                yield from (name for name in taken(inner) if name not in inside)
                inside |= set(inner.output)
            yield from (o.name for o in body.output if o.name not in inside)


def part_of(
    model: onnx.ModelProto, result: str, given: Set[str]
) -> tuple[onnx.ModelProto, list[str]]:
    """The nodes that compute a value from ``given`` ones as a model of their own, and the values
    that it takes. The node that makes the value is always in it.
    """
    makers = producers(model.graph)
    wanted: set[str] = set()  # first outputs: a node has no other identity
    needs: dict[str, None] = {}
    todo = [result]
    while todo:
        node = makers[todo.pop()]
        if _identity(node) in wanted:
            continue
        wanted.add(_identity(node))
        for name in taken(node):
            if name in given or name not in makers:
                needs.setdefault(name)
            else:
                todo.append(name)
    out = onnx.ModelProto(ir_version=model.ir_version)
    out.opset_import.extend(model.opset_import)
    out.graph.name = "part"
    out.graph.node.extend(n for n in model.graph.node if _identity(n) in wanted)
    for node in out.graph.node:
        del node.metadata_props[:]
    out.graph.output.append(onnx.ValueInfoProto(name=result))
    return out, list(needs)


def _identity(node: onnx.NodeProto) -> str:
    return next((o for o in node.output if o), "")


def declare(model: onnx.ModelProto, name: str, value: Any) -> None:
    """Makes a value an input of the model, with its type and shape."""
    element = onnx.helper.np_dtype_to_tensor_dtype
    if isinstance(value, list):
        kind = element(value[0].dtype) if value else onnx.TensorProto.FLOAT
        info = onnx.helper.make_tensor_sequence_value_info(name, kind, None)
    else:
        info = onnx.helper.make_tensor_value_info(name, element(value.dtype), value.shape)
    model.graph.input.append(info)


def written(model: onnx.ModelProto) -> str | None:
    """The model in ONNX's text, if reading that gives the same model again."""
    from onnx import parser, printer

    try:
        text = printer.to_text(model)
        again = parser.parse_model(text)
    except Exception:  # noqa: BLE001 (the printer and the parser raise classes of their own)
        return None
    return text if _plain(again) == _plain(model) and '"""' not in text else None


def _plain(model: onnx.ModelProto) -> bytes:
    """Its bytes, the standard domain left out wherever it may be."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    for node in out.graph.node:
        if not node.domain:
            node.ClearField("domain")
    for opset in out.opset_import:
        if not opset.domain:
            opset.ClearField("domain")
    return out.SerializeToString(deterministic=True)
