"""Reads an ONNX model: bytes to a checked ``ModelProto`` with its functions inlined.

Files are foreign data. External tensors are read from below the model's own folder only, by
relative paths without ``..`` that no link leads out of.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
from onnx import checker, inliner, shape_inference

from pytorch_to_mlx.errors import SourceError

#: The largest model that onnx's checker and shape inference take (a protobuf limit).
LARGEST_PROTO = 2**31 - 1
#: How deep bodies of control flow may nest.
DEEPEST = 32
#: What the checker says of ops that are not ONNX's own, and of what all runtimes take.
_NOT_OURS = ("No opset import", "No Op registered", "in initializer but not in graph input")


def read_model(
    source: str | os.PathLike[str] | onnx.ModelProto,
) -> tuple[onnx.ModelProto, Path | None]:
    """The model and the folder that its external tensors are relative to.

    Raises:
        SourceError: no such file, no ONNX model, or one that breaks ONNX's rules.
    """
    if isinstance(source, onnx.ModelProto):
        model, folder = onnx.ModelProto(), None
        model.CopyFrom(source)
    else:
        path = Path(source)
        model, folder = _parse(path), path.resolve().parent
    if not model.HasField("graph"):
        raise SourceError("the ONNX model has no graph", hint="it is cut short or damaged")
    _limit_depth(model.graph, 0)
    return model, folder


def _parse(path: Path) -> onnx.ModelProto:
    from google.protobuf.message import DecodeError

    try:
        return onnx.load_model(str(path), load_external_data=False)
    except FileNotFoundError as error:
        raise SourceError(f"no such file: {path}") from error
    except (DecodeError, ValueError, OSError, RecursionError) as error:
        raise SourceError(
            f"{path} is no ONNX model, or damaged: {str(error)[:200]}",
            hint="download or export it again",
        ) from error


def _limit_depth(graph: onnx.GraphProto, depth: int) -> None:
    if depth > DEEPEST:
        raise SourceError(f"the ONNX model nests bodies deeper than {DEEPEST}")
    for node in graph.node:
        for a in node.attribute:
            for sub in (*([a.g] if a.HasField("g") else ()), *a.graphs):
                _limit_depth(sub, depth + 1)


def prepared(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """The model with its own functions inlined and types inferred, and notes on what was not.

    Raises:
        SourceError: it breaks ONNX's rules.
    """
    notes: list[str] = []
    in_order(model.graph)
    small = model.ByteSize() < LARGEST_PROTO
    if small:
        notes += _check(model)
    if model.functions:
        try:
            model = inliner.inline_local_functions(model)
        except (ValueError, RuntimeError) as error:
            raise SourceError(f"its functions cannot be inlined: {str(error)[:300]}") from error
    if small:
        try:
            model = shape_inference.infer_shapes(model, data_prop=True)
        except (shape_inference.InferenceError, ValueError, RuntimeError) as error:
            notes.append(f"onnx could not infer its shapes: {_line(error)}")
    return model, notes


def _check(model: onnx.ModelProto) -> list[str]:
    """Breaches of form are refused; ops of other domains are not ONNX's to judge."""
    try:
        checker.check_model(_without_external(model))
    except checker.ValidationError as error:
        if any(words in str(error) for words in _NOT_OURS):
            return [f"onnx's checker: {_line(error)}"]
        raise SourceError(f"the ONNX model breaks ONNX's rules: {_line(error)}") from error
    except (RuntimeError, ValueError) as error:
        return [f"onnx's checker: {_line(error)}"]
    return []


def in_order(graph: onnx.GraphProto) -> None:
    """Puts nodes behind those that make what they take, their bodies' too, as ONNX asks for (tools
    append some at the end); what goes in circles stays for the checker."""
    makers = {name: i for i, n in enumerate(graph.node) for name in n.output if name}
    waits = [
        {makers[name] for name in _taken(n) if name in makers} - {i}
        for i, n in enumerate(graph.node)
    ]
    if all(j < i for i, before in enumerate(waits) for j in before):
        return
    order: dict[int, None] = {}
    for start in range(len(waits)):
        stack = [(start, False)]
        open_: set[int] = set()
        while stack:
            i, leaving = stack.pop()
            if leaving:
                order[i] = None
            elif i not in order and i not in open_:
                open_.add(i)
                stack.append((i, True))
                stack += [(j, False) for j in sorted(waits[i], reverse=True) if j not in order]
    nodes = [onnx.NodeProto() for _ in graph.node]
    for new, i in zip(nodes, order, strict=True):
        new.CopyFrom(graph.node[i])
    del graph.node[:]
    graph.node.extend(nodes)


def _taken(node: onnx.NodeProto) -> set[str]:
    """What a node takes, and what its bodies take from outside."""
    found = {name for name in node.input if name}
    for a in node.attribute:
        for body in (*([a.g] if a.HasField("g") else ()), *a.graphs):
            inner = set().union(*(_taken(n) for n in body.node), {o.name for o in body.output})
            made = {name for n in body.node for name in n.output}
            found |= inner - made - {i.name for i in body.input}
    return found


def _without_external(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its external tensors empty: their places are judged where they are read."""
    outside = onnx.TensorProto.EXTERNAL
    if not any(t.data_location == outside for t in model.graph.initializer):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for t in copy.graph.initializer:
        if t.data_location == outside:
            name, kind = t.name, t.data_type
            t.Clear()
            t.name, t.data_type, t.raw_data = name, kind, b""
            t.dims.append(0)
    return copy


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0][:300]


def opsets_of(model: onnx.ModelProto) -> dict[str, int]:
    """Opset by domain; the standard domain is ``""``."""
    found = {
        ("" if o.domain == "ai.onnx" else o.domain): int(o.version) for o in model.opset_import
    }
    if not found:
        found[""] = 1
    return found


def external_file(location: str, folder: Path | None) -> Path:
    """The file of an external tensor.

    Raises:
        SourceError: it is not inside the model's folder, or missing.
    """
    if folder is None:
        raise SourceError(
            "the model keeps tensors in other files",
            hint="pass its path, or load it with its data: onnx.load(path)",
        )
    wanted = Path(location)
    if not location or wanted.is_absolute() or ".." in wanted.parts or "\\" in location:
        raise SourceError(f"external tensor data must lie in the model's folder, not {location!r}")
    path = folder / wanted
    resolved = path.resolve()
    if not resolved.is_relative_to(folder.resolve()):
        raise SourceError(f"external tensor data {location!r} links out of the model's folder")
    if not resolved.is_file():
        raise SourceError(f"external tensor data {location!r} is missing beside the model")
    return resolved


def external_bytes(tensor: onnx.TensorProto, folder: Path | None) -> bytes:
    """The raw data of an external tensor.

    Raises:
        SourceError: its file, offset or length is wrong.
    """
    entries: dict[str, Any] = {e.key: e.value for e in tensor.external_data}
    path = external_file(entries.get("location", ""), folder)
    try:
        offset = int(entries.get("offset", 0) or 0)
        length = int(entries["length"]) if entries.get("length") else path.stat().st_size - offset
    except ValueError as error:
        raise SourceError(
            f"the place of the external tensor {tensor.name!r} is no number"
        ) from error
    if offset < 0 or length < 0 or offset + length > path.stat().st_size:
        raise SourceError(f"the external tensor {tensor.name!r} lies outside its file")
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
