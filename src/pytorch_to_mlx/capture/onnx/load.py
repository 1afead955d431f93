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
        if "No opset import" in str(error) or "No Op registered" in str(error):
            return [f"onnx's checker: {_line(error)}"]
        raise SourceError(f"the ONNX model breaks ONNX's rules: {_line(error)}") from error
    except (RuntimeError, ValueError) as error:
        return [f"onnx's checker: {_line(error)}"]
    return []


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
