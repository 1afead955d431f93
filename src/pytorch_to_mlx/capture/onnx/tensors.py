"""Initializers as numpy arrays, their names as weight paths."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from pytorch_to_mlx.capture.onnx.load import external_bytes
from pytorch_to_mlx.errors import SourceError

LARGEST = 1 << 36
"""Elements of one tensor beyond which a model is refused."""


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


def dense(sparse: onnx.SparseTensorProto, folder: Path | None) -> np.ndarray:
    """A sparse tensor as the dense one that it stands for.

    Raises:
        SourceError: its indices lie outside it.
    """
    values, places = (read_tensor(t, folder) for t in (sparse.values, sparse.indices))
    if math.prod(sparse.dims) > LARGEST or any(d < 0 for d in sparse.dims):
        raise SourceError(f"the tensor {sparse.values.name!r} has impossible sizes")
    out = np.zeros(tuple(sparse.dims), values.dtype)
    try:
        if places.ndim == 2:
            out[tuple(places.T)] = values
        else:
            out.reshape(-1)[places] = values
    except IndexError as error:
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


def better_names(graph: onnx.GraphProto) -> dict[str, str]:
    """Names for initializers that the exporter only numbered, by the node that uses them.

    torch writes ``onnx::MatMul_123`` for the transposed weight of ``/encoder/fc/MatMul``.
    """
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    out = {}
    for t in graph.initializer:
        mine = users.get(t.name, [])
        if t.name.startswith("onnx::") and len(mine) == 1 and mine[0].name.startswith("/"):
            module = mine[0].name.strip("/").rpartition("/")[0]
            at = list(mine[0].input).index(t.name)
            role = {1: "weight", 2: "bias"}.get(at, f"input_{at}")
            out[t.name] = f"{module}/{role}" if module else role
    return out


class MlxTensors(Mapping[str, mx.array]):
    """The model's tensors by their own names, as MLX arrays made when asked for."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays

    def __getitem__(self, name: str) -> mx.array:
        return to_mlx(self.arrays[name])

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
        return mx.array(array.view(np.uint16)).view(mx.bfloat16)
    if array.dtype == np.float64:
        with mx.stream(mx.cpu):
            return mx.array(array, dtype=mx.float64)
    return mx.array(array)
