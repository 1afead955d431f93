"""Writes safetensors files one tensor at a time, so that the weights are never in memory twice.

Format: https://github.com/huggingface/safetensors (8-byte little-endian header length, JSON header,
data).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from pytorch_to_mlx.errors import WeightError
from pytorch_to_mlx.graph.dtypes import DType, dtype_of

SHARD_BYTES = 5 * 10**9

_NAMES = {
    "bool": "BOOL",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "complex64": "C64",
    "float64": "U32",  # MLX reads no F64: pairs of uint32 on a last axis, viewed back by load()
}


@dataclass(frozen=True)
class Entry:
    """A tensor to write: name, dtype, shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * DType(self.dtype).size


def shards(entries: Iterable[Entry], limit: int = SHARD_BYTES) -> list[list[Entry]]:
    """Entries in order, split so that no file is larger than ``limit`` (unless one tensor is)."""
    out: list[list[Entry]] = [[]]
    size = 0
    for e in entries:
        if out[-1] and size + e.bytes > limit:
            out.append([])
            size = 0
        out[-1].append(e)
        size += e.bytes
    return out


def write(
    folder: Path,
    entries: list[Entry],
    tensors: Iterator[tuple[str, mx.array]],
    limit: int = SHARD_BYTES,
) -> list[str]:
    """Writes ``model.safetensors`` (or shards with an index); ``tensors`` must come in the entries'
    order.

    Returns the file names.

    Raises:
        WeightError: a tensor is missing, unexpected, or of another shape or dtype than announced.
    """
    groups = shards(entries, limit)
    names = ["model.safetensors"]
    if len(groups) > 1:
        names = [f"model-{i + 1:05d}-of-{len(groups):05d}.safetensors" for i in range(len(groups))]
    for name, group in zip(names, groups, strict=True):
        _write_file(folder / name, group, tensors)
    extra = next(tensors, None)
    if extra is not None:
        raise WeightError(f"the weight {extra[0]!r} was not expected")
    if len(groups) > 1:
        weight_map = {e.name: n for n, g in zip(names, groups, strict=True) for e in g}
        index = {
            "metadata": {"total_size": sum(e.bytes for e in entries)},
            "weight_map": weight_map,
        }
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    return names


def write_arrays(path: Path, arrays: Mapping[str, mx.array]) -> None:
    """Writes a few arrays, each as it is, to one file. Raises ``OSError``."""
    entries = [Entry(n, str(dtype_of(a)), tuple(a.shape)) for n, a in sorted(arrays.items())]
    _write_file(path, entries, iter(sorted(arrays.items())))


def _write_file(path: Path, entries: list[Entry], tensors: Iterator[tuple[str, mx.array]]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "mlx"}}
    at = 0
    for e in entries:
        if e.dtype not in _NAMES:
            raise WeightError(
                f"the weight {e.name!r} has dtype {e.dtype}, which safetensors cannot hold for MLX"
            )
        header[e.name] = {
            "dtype": _NAMES[e.dtype],
            "shape": [*e.shape, 2] if e.dtype == "float64" else list(e.shape),
            "data_offsets": [at, at + e.bytes],
        }
        at += e.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for e in entries:
            name, array = next(tensors, (None, None))
            if name != e.name or array is None:
                raise WeightError(f"expected the weight {e.name!r}, got {name!r}")
            file.write(_bytes(array, e))


def _bytes(array: mx.array, e: Entry) -> memoryview | bytes:
    if tuple(array.shape) != e.shape or dtype_of(array) != e.dtype:
        raise WeightError(
            f"the weight {e.name!r} is {dtype_of(array)}{list(array.shape)}, "
            f"expected {e.dtype}{list(e.shape)}"
        )
    if array.size == 0:
        return b""
    if e.dtype == "float64":
        with mx.stream(mx.cpu):
            raw = mx.contiguous(array).reshape(-1).view(mx.uint32)
            mx.eval(raw)
        return memoryview(raw).cast("B")  # type: ignore[arg-type]
    raw = mx.contiguous(array)
    if e.dtype == "bfloat16":
        raw = raw.view(mx.uint16)
    mx.eval(raw)
    view = memoryview(raw)  # type: ignore[arg-type]  # arrays have the buffer protocol
    return view.cast("B") if raw.ndim else bytes(view)


def tensor_names(folder: Path) -> Mapping[str, tuple[str, tuple[int, ...]]]:
    """Name to (dtype, shape) of every tensor in a package's weight files, from their headers."""
    back = {v: k for k, v in _NAMES.items()}
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        for name, info in header.items():
            if name != "__metadata__":
                found[name] = (back.get(info["dtype"], info["dtype"]), tuple(info["shape"]))
    return found
