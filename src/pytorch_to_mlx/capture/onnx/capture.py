"""An ONNX model as :class:`Captured`: the same contract as torch's programs have."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from pytorch_to_mlx.capture.onnx.load import prepared, read_model
from pytorch_to_mlx.capture.onnx.program import (
    Input,
    OnnxProgram,
    build_program,
    graph_inputs,
    new_symbol,
)
from pytorch_to_mlx.capture.onnx.tensors import MlxTensors, held_constants
from pytorch_to_mlx.capture.onnx.types import element_name
from pytorch_to_mlx.capture.program import Captured
from pytorch_to_mlx.errors import CaptureError, InputError, SourceError
from pytorch_to_mlx.graph import Tree
from pytorch_to_mlx.graph.dims import is_static

FRONTEND = "onnx"
#: What numpy takes.
HIGHEST_RANK = 64


def capture_onnx(
    source: str | os.PathLike[str] | onnx.ModelProto,
    given: Mapping[str, Any] | None = None,
    *,
    name: str = "",
    sizes: Mapping[str, tuple[int, ...]] | None = None,
) -> Captured:
    """Reads a model; ``given`` maps inputs to example arrays (needed where a rank is not declared,
    and for the length of sequences).

    Sizes with a ``dim_param`` share one symbol a name, unknown ones get symbols of their own;
    ``sizes`` fixes those of inputs.

    Raises:
        SourceError: it is no valid ONNX model.
        CaptureError: the rank of an input is not declared and no example shows it.
    """
    model, folder = read_model(source)
    fix_sizes(model, sizes or {})
    held = held_constants(model.graph)
    model, notes = prepared(model)
    program = build_program(model, folder)
    program.held = held
    declare_inputs(program, given or {})
    label = name or _model_name(source, model)
    tensors: dict[str, np.ndarray] = {n: t.array for n, t in program.initializers.items()}
    program.tensors = tensors
    captured = Captured(
        program=program,
        name=label,
        tensors=MlxTensors(tensors, program.edited),
        in_tree=Tree(
            "dict",
            tuple(i.argument for i in program.inputs),
            tuple(i.tree for i in program.inputs),
        ),
        out_tree=Tree("none"),
        input_names=[n for _, n in sorted(_leaf_names(program))],
        frontend=FRONTEND,
    )
    captured.output_names = output_names(model)
    captured.classes = {"": label}
    captured.persistent = set(tensors) | held
    captured.dims = _dims(program)
    captured.warnings.extend(notes)
    return captured


def fix_sizes(model: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]]) -> None:
    """Declares the shapes of inputs."""
    for info in model.graph.input:
        if info.name in sizes:
            type_ = info.type.tensor_type
            type_.ClearField("shape")
            for n in sizes[info.name]:
                type_.shape.dim.add().dim_value = int(n)


def output_names(model: onnx.ModelProto) -> list[str]:
    """Names of the outputs, in order."""
    return [o.name for o in model.graph.output]


def _model_name(source: Any, model: onnx.ModelProto) -> str:
    stem = model.graph.name
    if (
        stem in ("", "main_graph", "torch_jit", "torch-jit-export", "graph")
        or not stem[0].isalpha()
    ):
        stem = "model" if isinstance(source, onnx.ModelProto) else Path(source).stem
    words = [w for w in re.split(r"[^0-9A-Za-z]+", stem) if w]
    text = "".join(w[0].upper() + w[1:] for w in words)
    return text if text and text[0].isalpha() else "Model"


# -- inputs ----------------------------------------------------------------------------------------


def declare_inputs(program: OnnxProgram, given: Mapping[str, Any]) -> None:
    """Arguments, nesting, element types and sizes of the inputs."""
    count = 0
    taken: set[str] = set()
    infos = graph_inputs(program)
    known = {i.name for i in infos}
    unknown = sorted(set(given) - known)
    if unknown:
        raise InputError(f"the model takes no input {unknown[0]!r}; it takes {sorted(known)}")
    for info in infos:
        argument = _argument(info.name, taken)
        spec = Input(info.name, argument, Tree("none"))
        example = given.get(info.name)
        spec.tree, count = _nest(program, spec, info.type, example, info.name in given, count)
        program.inputs.append(spec)


def _argument(name: str, taken: set[str]) -> str:
    """A Python name for an input."""
    from keyword import iskeyword

    text = re.sub(r"[^0-9A-Za-z_]+", "_", name).strip("_") or "x"
    text = f"x_{text}" if text[0].isdigit() else text
    text = f"{text}_" if iskeyword(text) or text in ("self", "mx", "nn", "math") else text
    out, n = text, 2
    while out in taken:
        out, n = f"{text}_{n}", n + 1
    taken.add(out)
    return out


def _nest(
    program: OnnxProgram,
    spec: Input,
    type_: onnx.TypeProto,
    example: Any,
    has_example: bool,
    count: int,
) -> tuple[Tree, int]:
    """The nesting of one input; sequences have as many elements as the example."""
    kind = type_.WhichOneof("value")
    if kind == "optional_type":
        if has_example and example is None:
            return Tree("none"), count
        return _nest(program, spec, type_.optional_type.elem_type, example, has_example, count)
    if kind == "sequence_type":
        if not has_example or not isinstance(example, (list, tuple)):
            raise CaptureError(
                f"the input {spec.name!r} is a sequence, whose length the model does not say",
                hint="pass example inputs",
            )
        children = []
        for item in example:
            shared = dict(program.symbols)
            tree, count = _nest(program, spec, type_.sequence_type.elem_type, item, True, count)
            children.append(tree)
            _forget(program, shared)
        return Tree("list", children=tuple(children)), count
    if kind != "tensor_type":
        raise CaptureError(f"the input {spec.name!r} is a {kind}, which has no arrays")
    spec.leaves[count] = _tensor(program, spec, type_.tensor_type, example)
    return Tree("leaf", index=count), count + 1


def _forget(program: OnnxProgram, shared: dict[str, Any]) -> None:
    """Elements of a sequence have sizes of their own: what one was the first to name is forgotten.

    The symbols stay taken under other names.
    """
    for wish in [w for w in program.symbols if w not in shared]:
        made = program.symbols.pop(wish)
        program.symbols[f"{wish} of {made}"] = made


def _tensor(
    program: OnnxProgram, spec: Input, type_: onnx.TypeProto.Tensor, example: Any
) -> tuple[str, tuple[Any, ...]]:
    element = element_name(type_.elem_type)
    if not type_.HasField("shape"):
        if example is None:
            raise CaptureError(
                f"the rank of the input {spec.name!r} is not declared", hint="pass example inputs"
            )
        rank = np.asarray(example).ndim
        return element, tuple(new_symbol(program, f"{spec.argument}_{a}") for a in range(rank))
    if len(type_.shape.dim) > HIGHEST_RANK:
        raise SourceError(f"the input {spec.name!r} has {len(type_.shape.dim)} dimensions")
    dims: list[Any] = []
    for axis, d in enumerate(type_.shape.dim):
        if d.HasField("dim_value") and d.dim_value >= 0:
            dims.append(int(d.dim_value))
        elif d.dim_param:
            made = program.symbols.get(d.dim_param) or new_symbol(program, d.dim_param)
            program.named_sizes.add(str(made))
            dims.append(made)
        else:
            dims.append(new_symbol(program, f"{spec.argument}_{axis}"))
    return element, tuple(dims)


def _leaf_names(program: OnnxProgram) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []

    def visit(tree: Tree, name: str) -> None:
        if tree.kind == "leaf":
            found.append((tree.index, name))
        for i, child in enumerate(tree.children):
            visit(child, f"{name}.{i}")

    for spec in program.inputs:
        visit(spec.tree, spec.argument)
    return found


def _dims(program: OnnxProgram) -> dict[str, Any]:
    """Which input dims each symbol stands for, as ``Captured.dims`` describes them."""
    symbols: dict[str, dict[str, Any]] = {}
    fixed: list[dict[str, Any]] = []
    names = dict(_leaf_names(program))
    for spec in program.inputs:
        for index, (_, dims) in spec.leaves.items():
            for axis, d in enumerate(dims):
                where = f"{names[index]}:{axis}"
                if is_static(d):
                    fixed.append({"where": where, "size": int(d), "reason": "fixed in the model"})
                    continue
                entry = symbols.setdefault(
                    str(d), {"where": [], "min": 1, "max": None, "multiple_of": 1, "size": None}
                )
                entry["where"].append(where)
    return {"symbols": symbols, "static": fixed}
