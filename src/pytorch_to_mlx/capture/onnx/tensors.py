"""Initializers as numpy arrays, their names as weight paths."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from pytorch_to_mlx import memory
from pytorch_to_mlx.capture.onnx.external import external_bytes
from pytorch_to_mlx.capture.onnx.types import PLAIN
from pytorch_to_mlx.errors import SourceError
from pytorch_to_mlx.graph.dtypes import adopted

LARGEST = 1 << 36
"""Elements of one tensor beyond which a model is refused."""
SETTING = 8
"""Elements up to which a floating constant is a number of the program, not a weight."""
FLOATING = frozenset(
    (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
)


@dataclass(eq=False)
class Tensor:
    """An initializer: its numbers, ONNX element type (by the names of lowering), weight path."""

    array: np.ndarray
    element: str
    path: str


def read_tensor(proto: TensorProto, folder: Path | None) -> np.ndarray:
    """The numbers of a tensor, external data included.

    Raises:
        SourceError: its sizes and data disagree.
    """
    count = math.prod(proto.dims) if all(d >= 0 for d in proto.dims) else -1
    if not 0 <= count <= LARGEST:
        raise SourceError(f"the tensor {proto.name!r} has impossible sizes {list(proto.dims)}")
    if proto.data_location == TensorProto.EXTERNAL:
        full = TensorProto()
        full.CopyFrom(proto)
        full.raw_data = external_bytes(proto, folder)
        full.data_location = TensorProto.DEFAULT
        del full.external_data[:]
        proto = full
    try:
        return np.asarray(numpy_helper.to_array(proto))
    except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
        raise SourceError(f"the tensor {proto.name!r} is damaged: {str(error)[:200]}") from error


def tensor_holders(graph: onnx.GraphProto) -> Iterator[tuple[str, TensorProto]]:
    """Initializers and the tensors of constants, those of bodies too, by the name that the graph
    knows them by."""
    for t in graph.initializer:
        yield t.name, t
    for node in graph.node:
        for a in node.attribute:
            constant = node.op_type == "Constant" and not node.domain and a.name == "value"
            if constant and node.output:
                yield node.output[0], a.t
            for body in (*([a.g] if a.HasField("g") else ()), *a.graphs):
                yield from tensor_holders(body)


def held_constants(graph: onnx.GraphProto) -> set[str]:
    """Names of floating tensors that are no initializers of the graph but weights all the same:
    constants, and initializers of bodies (tools that put graphs into one another write such)."""
    names = Counter(name for name, _ in tensor_holders(graph))
    own = {t.name for t in graph.initializer}
    return {
        name
        for name, t in tensor_holders(graph)
        if names[name] == 1
        and name not in own
        and t.data_type in FLOATING
        and t.data_location != TensorProto.EXTERNAL
        and len(t.dims) > 0
    }


def dense(sparse: onnx.SparseTensorProto, folder: Path | None) -> np.ndarray:
    """A sparse tensor as the dense one that it stands for.

    Raises:
        SourceError: its indices lie outside it.
    """
    values, places = (read_tensor(t, folder) for t in (sparse.values, sparse.indices))
    if math.prod(sparse.dims) > LARGEST or any(d < 0 for d in sparse.dims):
        raise SourceError(f"the tensor {sparse.values.name!r} has impossible sizes")
    needed = math.prod(sparse.dims) * values.dtype.itemsize
    memory.require(needed, f"the sparse tensor {sparse.values.name!r}", "is the file damaged?")
    out = np.zeros(tuple(sparse.dims), values.dtype)
    try:
        if places.ndim == 2:
            out[tuple(places.T)] = values
        else:
            out.reshape(-1)[places] = values
    except (IndexError, ValueError) as error:
        raise SourceError(f"the sparse tensor {sparse.values.name!r} is damaged") from error
    return out


class Paths:
    """Weight paths by initializer name: dotted, of plain identifiers, unique, none a prefix of
    another."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._folders: set[str] = set()

    def path(self, name: str) -> str:
        parts = [re.sub(r"[^0-9A-Za-z_]+", "_", p).strip("_") for p in re.split(r"[./]", name)]
        wish = ".".join(p for p in parts if p) or "constant"
        if self._below_a_weight(wish):
            wish = wish.replace(".", "_")
        path, n = wish, 2
        while path in self._taken or path in self._folders:
            path, n = f"{wish}_{n}", n + 1
        self._taken.add(path)
        pieces = path.split(".")
        self._folders.update(".".join(pieces[:i]) for i in range(1, len(pieces)))
        return path

    def _below_a_weight(self, path: str) -> bool:
        pieces = path.split(".")
        return any(".".join(pieces[:i]) in self._taken for i in range(1, len(pieces)))


#: Names of initializers that exporters number: ``onnx::MatMul_123``, ``val_12``, ``57``.
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_NUMBERED = re.compile(
    r"onnx::.*|(val|const|_?v|tensor|constant|const_fold_opt_|new_shape_)?_?\d+|"
    r".*[Cc]onstant(_output)?_\d+|.*/ReadVariableOp(_\d+)?(:\d+)?"
)


def better_names(
    graph: onnx.GraphProto, plain: Callable[[str], str] = lambda name: name
) -> dict[str, str]:
    """Names for initializers that the exporter only numbered, by the node that uses them: torch
    writes ``onnx::MatMul_123`` or ``val_5`` for the transposed weight of ``encoder.fc``. ``plain``
    brings the names of nodes to paths with a slash in front.
    """
    users = _users(graph)
    taken = {t.name for t in graph.initializer}
    out = {}
    for t in graph.initializer:
        mine = users.get(t.name, [])
        modules = [module_of(n, plain) for n, _ in mine]
        if not _NUMBERED.fullmatch(t.name) or not mine or None in modules:
            continue
        module = common_module([m for m in modules if m is not None])
        role = _role(*mine[0]) if len(mine) == 1 else "constant"
        layered = mine[0][0].op_type in RECURRENT  # the layers of a stack belong to one module
        name, n = _joined(module, role), 2
        while name in taken:  # a module that is called again, or that holds several layers
            other = module if layered or not module else f"{module}_{n}"
            name = _joined(other, f"{role}_{n}" if other == module else role)
            n += 1
        taken.add(name)
        out[t.name] = name
    return out


def _users(graph: onnx.GraphProto) -> dict[str, list[tuple[onnx.NodeProto, str]]]:
    """The nodes that take each tensor, and by which name; what is only dequantized goes by the
    users of that."""
    users: dict[str, list[tuple[onnx.NodeProto, str]]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append((node, name))
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and len(users[node.input[0]]) == 1:
            users[node.input[0]] = users.get(node.output[0], [])
    return users


def _joined(module: str, role: str) -> str:
    return f"{module}.{role}" if module else role


def common_module(paths: list[str]) -> str:
    """The innermost module that holds all of some."""
    parts = [p.split(".") for p in paths]
    same = [a for a, *rest in zip(*parts, strict=False) if all(b == a for b in rest)]
    return ".".join(same)


def constant_name(output: str) -> str:
    """A name for a constant by its node's output: exporters number them within the whole model,
    ``/layer.1/Constant_11_output_0``, and equal modules should have equal names."""
    folder, _, last = output.rpartition("/")
    found = re.fullmatch(r"([A-Za-z]+?)(_\d+)?_output_\d+", last)
    return f"{folder}/{found[1].lower()}" if found else output


def _role(node: onnx.NodeProto, name: str) -> str:
    """What a node takes a tensor for."""
    at = list(node.input).index(name)
    if node.op_type in ("MatMul", "Gemm", "Conv", "ConvTranspose"):
        return {1: "weight", 2: "bias"}.get(at, f"input_{at}")
    if node.op_type in RECURRENT:
        return {1: "weight_ih", 2: "weight_hh", 3: "bias"}.get(at, f"input_{at}")
    return {"Add": "bias", "Mul": "scale", "Gather": "weight"}.get(node.op_type, f"input_{at}")


def scope_paths(parts: Sequence[str]) -> list[str]:
    """The module paths of a node's name, outermost first; torch calls the members of a sequence
    ``head`` by its name too: ``/head/head.0/Gemm``."""
    paths: list[str] = []
    before = ""
    for part in parts:
        own = part.removeprefix(f"{before}.") if before else part
        paths.append(f"{paths[-1]}.{own}" if paths else own)
        before = part
    return paths


def module_of(node: onnx.NodeProto, plain: Callable[[str], str] = lambda name: name) -> str | None:
    """The dotted path of the module that a node belongs to, by its name or torch's metadata."""
    name = plain(node.name)
    if name.startswith("/"):
        paths = scope_paths(name.strip("/").split("/")[:-1])
        return paths[-1] if paths else ""
    for p in getattr(node, "metadata_props", ()):
        if p.key == "pkg.torch.onnx.name_scopes":
            scopes = re.findall(r"'([^']*)'", p.value)
            return scopes[-2] if len(scopes) > 1 else None
    return None


class MlxTensors(Mapping[str, mx.array]):
    """The model's tensors by their own names, as MLX arrays made when asked for."""

    def __init__(
        self, arrays: Mapping[str, np.ndarray], edited: Mapping[str, np.ndarray] | None = None
    ) -> None:
        self.arrays = arrays
        self.edited = {} if edited is None else edited

    def __getitem__(self, name: str) -> mx.array:
        return to_mlx(self.edited.get(name, self.arrays[name]))

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


def to_mlx(array: Any) -> mx.array:
    """An array of exactly the same dtype, float64 and bfloat16 included."""
    array = np.ascontiguousarray(array) if array.ndim else np.asarray(array)
    if array.dtype.name == "bfloat16":
        return adopted(mx.array(array.view(np.uint16)).view(mx.bfloat16))
    if array.dtype == np.float64:
        with mx.stream(mx.cpu):
            return adopted(mx.array(array, dtype=mx.float64))
    return adopted(mx.array(array))


def numpy_dtype(element: str) -> np.dtype[Any]:
    """The numpy (or ml_dtypes) dtype of an element type, by lowering's names."""
    if element == "string":
        return np.dtype(object)
    number = {v: k for k, v in PLAIN.items()}.get(element, element.upper())
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(number)))
