"""What a model says of itself, looked through before native code works on it.

Refused are programs without an end, those that a few lines blow up to millions of nodes, and
tensors that lie in other places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from onnx import AttributeProto, TensorProto

from pytorch_to_mlx.capture.onnx.external import external_file
from pytorch_to_mlx.errors import SourceError

#: How deep bodies of control flow may nest, and functions call each other.
DEEPEST, DEEPEST_CALL = 32, 100
#: Nodes of a model with its functions written out.
MOST_NODES = 200_000

Key = tuple[str, str, str]


def survey(model: onnx.ModelProto, folder: Path | None) -> None:
    """Looks through a model whose external tensors are relative to ``folder``; sizes that are
    negative become unknown.

    Raises:
        SourceError: it is refused.
    """
    _texts(model)
    _opsets(model)
    _Survey(model, folder).run()


def _texts(message: Any) -> None:
    """Every name is text: protobuf gives bytes where it is not UTF-8."""
    strings, inner = _fields(message.DESCRIPTOR)
    for name, many in strings:
        value = getattr(message, name)
        for text in value if many else (value,):
            if not isinstance(text, str):
                raise SourceError(f"the ONNX model has a {name} that is no text: {text[:60]!r}")
    for name, many in inner:
        if many:
            for part in getattr(message, name):
                _texts(part)
        elif message.HasField(name):
            _texts(getattr(message, name))


@cache
def _fields(kind: Any) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """Names of the fields that hold text, and of those that hold messages; whether many of them."""
    texts = [f for f in kind.fields if f.type == FieldDescriptor.TYPE_STRING]
    inner = [f for f in kind.fields if f.message_type is not None]
    return [(f.name, f.is_repeated) for f in texts], [(f.name, f.is_repeated) for f in inner]


def _opsets(model: onnx.ModelProto) -> None:
    """Versions that exist, one a domain."""
    newest = onnx.defs.onnx_opset_version()
    seen: dict[str, int] = {}
    for o in model.opset_import:
        domain = _plain(o.domain)
        if seen.setdefault(domain, o.version) != o.version:
            raise SourceError(f"the ONNX model imports two opsets of {domain or 'ai.onnx'}")
        if o.version < 1:
            raise SourceError(f"the ONNX model is of opset {o.version}, which does not exist")
        if not domain and o.version > newest:
            raise SourceError(
                f"the ONNX model is of opset {o.version}, and onnx knows them up to {newest} here",
                hint="pip install --upgrade onnx",
            )


class _Survey:
    """Counts nodes as if every function were written out where it is called."""

    def __init__(self, model: onnx.ModelProto, folder: Path | None) -> None:
        self.model = model
        self.folder = folder
        self.functions: dict[Key, onnx.FunctionProto] = {}
        self.sizes: dict[Key, int] = {}
        self.calling: list[Key] = []

    def run(self) -> None:
        for f in self.model.functions:
            key = (_plain(f.domain), f.name, f.overload)
            if not key[0] and onnx.defs.has(f.name):
                raise SourceError(f"the ONNX model defines the standard op {f.name} itself")
            if key in self.functions:
                raise SourceError(f"the ONNX model defines the function {f.name} twice")
            self.functions[key] = f
        self._graph(self.model.graph, 0)
        for key in self.functions:
            self._function(key)

    def _graph(self, graph: onnx.GraphProto, depth: int) -> int:
        if depth > DEEPEST:
            raise SourceError(f"the ONNX model nests bodies deeper than {DEEPEST}")
        for info in (*graph.input, *graph.output, *graph.value_info):
            _unknown_sizes(info.type)
        self._tensors(graph.initializer)
        self._tensors(t for s in graph.sparse_initializer for t in (s.values, s.indices))
        return self._nodes(graph.node, depth)

    def _nodes(self, nodes: Iterable[onnx.NodeProto], depth: int) -> int:
        count = 0
        for n in nodes:
            count += 1
            key = (_plain(n.domain), n.op_type, n.overload)
            if key in self.functions:
                count += self._function(key)
            for a in n.attribute:
                self._tensors(_tensors_of(a))
                for sub in (*([a.g] if a.HasField("g") else ()), *a.graphs):
                    count += self._graph(sub, depth + 1)
            if count > MOST_NODES:
                raise SourceError(f"the ONNX model has more than {MOST_NODES:,} nodes")
        return count

    def _function(self, key: Key) -> int:
        if key in self.sizes:
            return self.sizes[key]
        if key in self.calling:
            raise SourceError(f"the function {key[1]} of the ONNX model calls itself")
        if len(self.calling) >= DEEPEST_CALL:
            raise SourceError(f"functions of the ONNX model call each other {DEEPEST_CALL} deep")
        self.calling.append(key)
        self.sizes[key] = self._nodes(self.functions[key].node, 0)
        self.calling.pop()
        return self.sizes[key]

    def _tensors(self, tensors: Iterable[TensorProto]) -> None:
        for t in tensors:
            if t.data_location == TensorProto.EXTERNAL:
                external_file(
                    next((e.value for e in t.external_data if e.key == "location"), ""),
                    self.folder,
                )


def _unknown_sizes(type_: onnx.TypeProto) -> None:
    """Negative sizes, which some exporters write for unknown ones, are cleared: onnx's shape
    inference would allocate by them."""
    kind = type_.WhichOneof("value")
    if kind in ("sequence_type", "optional_type"):
        _unknown_sizes(getattr(type_, kind).elem_type)
    elif kind in ("tensor_type", "sparse_tensor_type"):
        for d in getattr(type_, kind).shape.dim:
            if d.dim_value < 0:
                d.ClearField("dim_value")


def _tensors_of(a: AttributeProto) -> Iterator[Any]:
    if a.HasField("t"):
        yield a.t
    if a.HasField("sparse_tensor"):
        yield from (a.sparse_tensor.values, a.sparse_tensor.indices)
    yield from a.tensors
    for s in a.sparse_tensors:
        yield from (s.values, s.indices)


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
