"""Example inputs for a model whose file only declares their types: drawn, and tried on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx

from pytorch_to_mlx import memory
from pytorch_to_mlx.capture.onnx.program import Input, OnnxProgram
from pytorch_to_mlx.capture.onnx.reference import said
from pytorch_to_mlx.capture.onnx.tensors import numpy_dtype, tensor_holders
from pytorch_to_mlx.errors import CaptureError
from pytorch_to_mlx.graph.dims import is_static

#: Sizes to try for what is no batch: small ones first; windows and strides may need more.
_SIZES = (3, 8, 16, 32, 64, 128, 224, 256, 512)
_IMAGE = 32  # the least to try for the sides of images, of which pooling may leave nothing
_BATCH = 2
_PASSING = {"Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose"}
_WIDEST = 256  # bound of integers about which the graph says nothing but that they index


def candidates(program: OnnxProgram, seed: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Example inputs by ``Captured.input_names``, in the order in which they should be tried."""
    symbols = [d for spec in program.inputs for _, dims in spec.leaves.values() for d in dims]
    unknown = list(dict.fromkeys(d for d in symbols if not is_static(d)))
    seen = set()
    images = any(len(dims) >= 4 for spec in program.inputs for _, dims in spec.leaves.values())
    order = sorted(_SIZES, key=lambda n: (n < _IMAGE, n)) if images else _SIZES
    for size in order if unknown else (0,):
        for step in (1, 0):
            for batch, inner in ((_BATCH, False), (1, False), (1, True)):
                sizes = _sizes(program, unknown, size, batch, step)
                if inner:  # states of recurrences have the batch in the middle
                    sizes.update(dict.fromkeys(_never_last(program, unknown), batch))
                key = tuple(sizes.values())
                if key in seen:
                    continue
                seen.add(key)
                yield draw(program, sizes, np.random.default_rng(seed))


def _never_last(program: OnnxProgram, unknown: list[Any]) -> list[Any]:
    """The dims that are no input's last."""
    lasts = {dims[-1] for spec in program.inputs for _, dims in spec.leaves.values() if dims}
    return [d for d in unknown if d not in lasts]


def _sizes(
    program: OnnxProgram, unknown: list[Any], size: int, batch: int, step: int
) -> dict[Any, int]:
    """The first dim of an input is taken for its batch where several are unknown; the others get
    sizes of their own (``step``), so that no two are equal by chance."""
    firsts = {
        dims[0] for spec in program.inputs for _, dims in spec.leaves.values() if len(dims) > 1
    }
    out: dict[Any, int] = {}
    for d in unknown:
        others = sum(1 for s in out if s not in firsts)
        out[d] = batch if d in firsts and len(unknown) > 1 else size + step * others
    if len(unknown) == 1:
        out[unknown[0]] = batch if unknown[0] in firsts and size == _SIZES[0] else size
    return out


def draw(
    program: OnnxProgram, sizes: Mapping[Any, int], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Seeded inputs at some sizes: normal floats, integers that the model may index with."""
    found: dict[str, np.ndarray] = {}
    for spec in program.inputs:
        for name, index in _leaves(spec):
            element, dims = spec.leaves[index]
            shape = tuple(int(d) if is_static(d) else int(sizes[d]) for d in dims)
            found[name] = _values(program, spec, element, shape, rng)
    return found


def _leaves(spec: Input) -> Iterator[tuple[str, int]]:
    def visit(tree: Any, name: str) -> Iterator[tuple[str, int]]:
        if tree.kind == "leaf":
            yield name, tree.index
        for i, child in enumerate(tree.children):
            yield from visit(child, f"{name}.{i}")

    return visit(spec.tree, spec.argument)


def _values(
    program: OnnxProgram,
    spec: Input,
    element: str,
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> np.ndarray:
    dtype = numpy_dtype(element)
    memory.require(
        math.prod(shape) * 2 * max(dtype.itemsize, 8),
        f"drawing the input {spec.name!r}",
        "pass example inputs: --args inputs.npz or --shapes",
        CaptureError,
    )
    lowered = spec.name.lower()
    if element == "bool":
        return np.ones(shape, bool) if "mask" in lowered else rng.random(shape) < 0.5
    if element.startswith("complex"):
        return np.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape), dtype)
    if not element.startswith(("int", "uint")):
        return np.asarray(rng.standard_normal(shape)).astype(dtype)
    if "mask" in lowered:
        return np.ones(shape, dtype)
    if "position" in lowered and shape:
        return np.broadcast_to(np.arange(shape[-1]), shape).astype(dtype)
    told = compared(program.model.graph, spec.name) if math.prod(shape) == 1 else None
    if told is not None:
        return np.full(shape, told).astype(dtype)
    bound = rows(program.model.graph, spec.name, program)
    if bound is None:
        bound = _WIDEST if element in ("uint8", "uint16") else 2
    return np.asarray(rng.integers(0, max(1, min(bound, 1 << 20)), shape)).astype(dtype)


def compared(graph: onnx.GraphProto, name: str) -> int | None:
    """The first constant that a graph compares an input with: what such an input (a sampling rate,
    a language) is expected to be."""
    held = {n: t for n, t in tensor_holders(graph) if math.prod(t.dims) == 1}
    reached = {name}
    for node in graph.node:
        if node.op_type in (*_PASSING, "Gather") and node.input and node.input[0] in reached:
            reached.update(node.output)
        if node.op_type == "Equal" and reached & set(node.input):
            other = next((i for i in node.input if i in held), None)
            if other is not None:
                return int(onnx.numpy_helper.to_array(held[other]).reshape(()))
    return None


def rows(graph: onnx.GraphProto, name: str, program: OnnxProgram) -> int | None:
    """How many rows the smallest table has that an input's integers index, casts in between."""
    reached, bound = {name}, None
    for node in graph.node:
        if node.op_type in _PASSING and node.input and node.input[0] in reached:
            reached.update(node.output)
        table = program.initializers.get(node.input[0]) if node.input else None
        indexes = node.op_type in ("Gather", "GatherElements") and node.input[1] in reached
        if indexes and table is not None:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            size = table.array.shape[axis]
            bound = size if bound is None else min(bound, size)
    return bound


def accepted(program: OnnxProgram, run: Any) -> tuple[dict[str, np.ndarray], Any]:
    """The first candidate that the original takes, and what it gives for it.

    Raises:
        CaptureError: it takes none of them.
    """
    reason = ""
    for inputs in candidates(program):
        try:
            return inputs, run(inputs)
        except CaptureError:
            raise
        except Exception as error:  # noqa: BLE001 (runtimes raise classes of their own)
            reason = said(error)
    raise CaptureError(
        f"no drawn example inputs fit the model: {reason}",
        hint="pass example inputs: --args inputs.npz or --shapes",
    )
