"""An ONNX model as lowering takes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from pytorch_to_mlx.capture.onnx.load import opsets_of
from pytorch_to_mlx.capture.onnx.prefixes import Prefixes
from pytorch_to_mlx.capture.onnx.tensors import Paths, Tensor, better_names, dense, read_tensor
from pytorch_to_mlx.capture.onnx.types import element_name
from pytorch_to_mlx.errors import CaptureError
from pytorch_to_mlx.graph import Tree
from pytorch_to_mlx.graph.dims import symbol


@dataclass
class Input:
    """A graph input: ONNX's name, the argument's, its nesting (leaves hold positions among all
    array inputs), and element type and dims by leaf position."""

    name: str
    argument: str
    tree: Tree
    leaves: dict[int, tuple[str, tuple[Any, ...]]] = field(default_factory=dict)


@dataclass
class OnnxProgram:
    """``tensors`` holds what weights are made of, by initializer name (constants join as lowering
    makes weights of them); ``symbols`` the size symbols by ``dim_param``."""

    model: onnx.ModelProto
    opsets: dict[str, int]
    folder: Path | None
    inputs: list[Input] = field(default_factory=list)
    initializers: dict[str, Tensor] = field(default_factory=dict)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    symbols: dict[str, Any] = field(default_factory=dict)
    named_sizes: set[str] = field(default_factory=set)  # those symbols that the model names
    paths: Paths = field(default_factory=Paths)
    prefixes: Prefixes = field(default_factory=Prefixes)
    held: set[str] = field(default_factory=set)  # constants that are weights all the same
    edited: dict[str, np.ndarray] = field(default_factory=dict)  # in place of the file's own

    def path_of(self, name: str) -> str:
        """The path of a weight of this name."""
        return self.paths.path(self.prefixes.plain(name))

    def read_tensor(self, proto: Any) -> tuple[str, Tensor]:
        """Name and numbers of an initializer, dense or sparse."""
        sparse = isinstance(proto, onnx.SparseTensorProto)
        inner = proto.values if sparse else proto
        array = dense(proto, self.folder) if sparse else read_tensor(proto, self.folder)
        return inner.name, Tensor(array, element_name(inner.data_type), self.path_of(inner.name))

    def declared(
        self, info: onnx.ValueInfoProto, symbols: dict[str, Any]
    ) -> tuple[str, tuple[Any, ...] | None] | None:
        """Element type and dims of a tensor (None for those unknown); None for other types."""
        if not info.type.HasField("tensor_type"):
            return None
        t = info.type.tensor_type
        if not t.elem_type:
            return None
        if not t.HasField("shape"):
            return element_name(t.elem_type), None
        return element_name(t.elem_type), tuple(size_of(d, symbols) for d in t.shape.dim)


def size_of(dim: Any, symbols: dict[str, Any]) -> Any:
    """A number, the symbol of a ``dim_param`` that an input has, or None."""
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return symbols.get(dim.dim_param) if dim.dim_param else None


def build_program(model: onnx.ModelProto, folder: Path | None) -> OnnxProgram:
    """Reads the initializers; inputs come from :func:`declare_inputs`."""
    program = OnnxProgram(model, opsets_of(model), folder, prefixes=Prefixes(model.graph))
    names = better_names(model.graph, program.prefixes.plain)
    for proto in (*model.graph.initializer, *model.graph.sparse_initializer):
        sparse = isinstance(proto, onnx.SparseTensorProto)
        inner = proto.values if sparse else proto
        array = dense(proto, folder) if sparse else read_tensor(proto, folder)
        path = program.path_of(names.get(inner.name, inner.name))
        program.initializers[inner.name] = Tensor(array, element_name(inner.data_type), path)
    return program


def graph_inputs(program: OnnxProgram) -> list[onnx.ValueInfoProto]:
    """Inputs that are no initializers (older models list those too)."""
    return [i for i in program.model.graph.input if i.name not in program.initializers]


def new_symbol(program: OnnxProgram, wish: str) -> Any:
    """A size symbol of a name of its own."""
    import re

    base = re.sub(r"[^0-9A-Za-z_]+", "_", wish).strip("_") or "size"
    base = base if not base[0].isdigit() else f"size_{base}"
    taken = {str(s) for s in program.symbols.values()}
    name, n = base, 2
    while name in taken:
        name, n = f"{base}_{n}", n + 1
    program.symbols[wish] = symbol(name)
    return program.symbols[wish]


def tensor_type(info: onnx.TypeProto, name: str) -> Any:
    kind = info.WhichOneof("value")
    if kind == "tensor_type":
        return info.tensor_type
    raise CaptureError(f"the input {name!r} is of kind {kind}, which only example inputs can show")
