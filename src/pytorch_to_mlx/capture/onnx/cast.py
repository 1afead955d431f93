"""An ONNX model whose weights and computation are of another floating precision, for ``dtype=``.

All floats become of it but for two kinds, each cast where it meets the rest:

- what is computed of integers and vectors of constants alone (positions, their frequencies, masks)
  stays in float32: bfloat16 cannot count beyond 256;
- inputs that an op has in float32 only (the scales of ``Resize``, say).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pytorch_to_mlx.capture.onnx.load import opsets_of
from pytorch_to_mlx.capture.onnx.recast import TYPES, clamped, recast_model

#: Ops that a float32 part may go through; the rest of the model begins behind them.
_PASSING = frozenset(
    "Abs Add Ceil Clip Concat Cos Div Exp Expand Flatten Floor Identity Log MatMul Max Min Mul Neg "
    "Pow Range Reciprocal Reshape Round Sin Slice Split Sqrt Squeeze Sub Tile Transpose Unsqueeze "
    "Where".split()
)
_INTEGERS = frozenset(
    [
        TensorProto.BOOL,
        *(getattr(TensorProto, f"{u}INT{n}") for u in ("", "U") for n in (8, 16, 32, 64)),
    ]
)


def cast_model(model: onnx.ModelProto, dtype: str) -> onnx.ModelProto:
    """A copy of a model (functions inlined, types inferred, tensors inside) in ``dtype``.

    Raises:
        CaptureError: the dtype is none of float16, bfloat16, float32, float64.
    """
    out = recast_model(model, dtype)
    types = _types(model.graph)
    if dtype in ("float16", "bfloat16"):
        _keep_float32(model.graph, out.graph, types, dtype)
        newest = dtype == "bfloat16"  # older opsets have it nowhere
        opsets = {} if newest else opsets_of(model)
        _fit(out.graph, types, dtype, opsets)
    return out


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    """Element types by name, where they are known."""
    found = {t.name: t.data_type for t in graph.initializer}
    for info in (*graph.input, *graph.output, *graph.value_info):
        if info.type.HasField("tensor_type"):
            found[info.name] = info.type.tensor_type.elem_type
    for node in graph.node:
        for name, value in _constant(node).items():
            found[name] = helper.np_dtype_to_tensor_dtype(value.dtype)
    return found


def _constant(node: onnx.NodeProto) -> dict[str, np.ndarray]:
    if node.op_type != "Constant" or node.domain:
        return {}
    for a in node.attribute:
        if a.name == "value":
            return {node.output[0]: numpy_helper.to_array(a.t)}
        if a.name in ("value_float", "value_floats"):
            value = a.f if a.name == "value_float" else list(a.floats)
            return {node.output[0]: np.array(value, np.float32)}
    return {}


# -- parts in float32 ------------------------------------------------------------------------------


def _keep_float32(
    before: onnx.GraphProto, after: onnx.GraphProto, types: Mapping[str, int], dtype: str
) -> None:
    """Puts float32 parts back into a graph that has been recast, and casts what leaves them."""
    vectors = _vectors(before)
    inside, wide = _float32_part(before, types, vectors)
    if not inside:
        return
    added: dict[str, np.ndarray] = {}
    nodes: list[onnx.NodeProto] = []
    for i, node in enumerate(after.node):
        if i not in inside:
            nodes.append(node)
            continue
        kept = onnx.NodeProto()
        kept.CopyFrom(before.node[i])
        for at, name in enumerate(kept.input):
            if name in wide:
                kept.input[at] = _wide(name)
            elif name in vectors and types.get(name) == TensorProto.FLOAT:
                added[_wide(name)] = clamped(vectors[name], dtype)
                kept.input[at] = _wide(name)
        outs = [(at, name) for at, name in enumerate(kept.output) if name in wide]
        for at, name in outs:
            kept.output[at] = _wide(name)
        nodes.append(kept)
        nodes += [_cast(_wide(name), name, TYPES[dtype], kept.name) for _, name in outs]
    fresh = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del after.node[:]
    after.node.extend(fresh)
    after.initializer.extend(numpy_helper.from_array(a, n) for n, a in added.items())


def _vectors(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Constants with at most one axis longer than 1."""
    found = {t.name: numpy_helper.to_array(t) for t in graph.initializer if _is_vector(t.dims)}
    for node in graph.node:
        found |= {n: v for n, v in _constant(node).items() if _is_vector(v.shape)}
    return found


def _is_vector(dims: Iterable[int]) -> bool:
    return sum(d > 1 for d in dims) <= 1


def _float32_part(
    graph: onnx.GraphProto, types: Mapping[str, int], vectors: Mapping[str, np.ndarray]
) -> tuple[set[int], set[str]]:
    """The nodes that compute float32 of integers and vectors of constants, by position, and the
    values that they make."""
    held = {t.name for t in graph.initializer} | set(vectors)
    inside: set[int] = set()
    wide: set[str] = set()
    for i, node in enumerate(graph.node):
        outs = [o for o in node.output if types.get(o) == TensorProto.FLOAT]
        if node.domain or not outs:
            continue
        if node.op_type == "Cast":
            source = node.input[0]
            starts = types.get(source) in _INTEGERS and source not in held
        else:
            floats = [n for n in node.input if n and types.get(n) not in _INTEGERS]
            starts = node.op_type in _PASSING and any(n in wide for n in floats)
            starts = starts and all(n in wide or n in vectors for n in floats)
        if starts:
            inside.add(i)
            wide.update(outs)
    return inside, wide


def _wide(name: str) -> str:
    return f"{name}_float32"


def _cast(source: str, result: str, to: int, near: str) -> onnx.NodeProto:
    """A cast that belongs to the module of the node that it stands beside."""
    return helper.make_node("Cast", [source], [result], f"{near or result}_cast", to=to)


# -- ops that lack the precision -------------------------------------------------------------------


def _fit(
    graph: onnx.GraphProto, types: Mapping[str, int], dtype: str, opsets: Mapping[str, int]
) -> None:
    """Casts inputs to float32 for ops that have them in nothing less, and their results back."""
    known = {**types, **_types(graph)}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for a in node.attribute:
            for body in (*([a.g] if a.HasField("g") else ()), *a.graphs):
                _fit(body, known, dtype, opsets)
        schema = _schema(node, opsets)
        if schema is None or node.op_type in ("Cast", "Constant"):
            nodes.append(node)
        else:
            nodes += _fitted(node, schema, known, dtype)
    fresh = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del graph.node[:]
    graph.node.extend(fresh)


def _fitted(
    node: onnx.NodeProto, schema: onnx.defs.OpSchema, known: Mapping[str, int], dtype: str
) -> list[onnx.NodeProto]:
    """A node and the casts around it."""
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    low = TYPES[dtype]
    before, after = [], []

    def wants_float(formals: Sequence[onnx.defs.OpSchema.FormalParameter], at: int) -> bool:
        kind = formals[min(at, len(formals) - 1)].type_str
        kinds = allowed.get(kind, {kind})
        return "tensor(float)" in kinds and f"tensor({dtype})" not in kinds

    for at, name in enumerate(node.input):
        floats = known.get(name, low) in (low, TensorProto.FLOAT)
        if name and floats and wants_float(schema.inputs, at):
            node.input[at] = f"{name}_for_{node.output[0]}"
            before.append(_cast(name, node.input[at], TensorProto.FLOAT, node.name))
    for at, name in enumerate(node.output):
        if name and wants_float(schema.outputs, at):
            node.output[at] = _wide(name)
            after.append(_cast(_wide(name), name, low, node.name))
    return [*before, node, *after]


def _schema(node: onnx.NodeProto, opsets: Mapping[str, int]) -> onnx.defs.OpSchema | None:
    """The op's schema in the model's opset; the newest where no opsets are given."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        if domain in opsets:
            return onnx.defs.get_schema(node.op_type, opsets[domain], domain)
        return onnx.defs.get_schema(node.op_type, domain)
    except onnx.defs.SchemaError:
        return None
