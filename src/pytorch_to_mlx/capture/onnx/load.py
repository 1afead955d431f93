"""Reads an ONNX model: bytes to a checked ``ModelProto`` with its functions inlined.

Files are foreign data: what a model says is surveyed before anything else works on it.
"""

from __future__ import annotations

import os
from pathlib import Path

import onnx
from onnx import checker, inliner, shape_inference

from pytorch_to_mlx.capture.onnx.survey import survey
from pytorch_to_mlx.errors import SourceError

#: The largest model that onnx's checker and shape inference take (a protobuf limit).
LARGEST_PROTO = 2**31 - 1
#: What the checker says of ops that are not ONNX's own, and of what all runtimes take.
_NOT_OURS = ("No opset import", "No Op registered", "in initializer but not in graph input")


def read_model(
    source: str | os.PathLike[str] | onnx.ModelProto,
) -> tuple[onnx.ModelProto, Path | None]:
    """The model and the folder that its external tensors are relative to.

    Raises:
        SourceError: no such file, no ONNX model, or one that :func:`survey` refuses.
    """
    if isinstance(source, onnx.ModelProto):
        model, folder = onnx.ModelProto(), None
        model.CopyFrom(source)
    else:
        path = Path(source)
        model, folder = _parse(path), path.resolve().parent
    if not model.HasField("graph"):
        raise SourceError("the ONNX model has no graph", hint="it is cut short or damaged")
    survey(model, folder)
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
        except MemoryError as error:
            raise SourceError("the sizes that the ONNX model claims fit no memory") from error
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
