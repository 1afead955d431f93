"""``config.json`` of a package: what it takes and gives, how source names map, what made it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import sympy

from pytorch_to_mlx.codegen.size_names import names_of
from pytorch_to_mlx.codegen.source import ModelCode
from pytorch_to_mlx.graph import Graph, Value
from pytorch_to_mlx.graph.dims import is_static, python_source
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.package import trees
from pytorch_to_mlx.version import __version__

FORMAT = 1
HALVES = ("bfloat16", "float16")


def shape_json(value: Value, names: Mapping[sympy.Symbol, str]) -> list[int | str]:
    """Sizes as numbers, names and expressions as Python source."""
    return [int(d) if is_static(d) else python_source(d, names) for d in value.dims]


def tensor_json(
    value: Value, index: int, name: str, names: Mapping[sympy.Symbol, str]
) -> dict[str, Any]:
    out: dict[str, Any] = {"index": index, "name": name}
    if value.kind != "array":
        return {**out, "kind": value.kind}
    return {**out, "dtype": str(value.dtype), "shape": shape_json(value, names)}


def build_config(
    graph: Graph,
    code: ModelCode,
    *,
    dims: dict[str, Any],
    source: dict[str, Any],
    versions: dict[str, str],
) -> dict[str, Any]:
    """The configuration as plain data; equal for equal conversions."""
    assert graph.in_tree is not None
    assert graph.out_tree is not None
    names = names_of(graph)
    inputs = [
        tensor_json(v, index, name, names)
        for v, (index, name) in zip(graph.inputs, trees.leaf_names(graph.in_tree), strict=True)
    ]
    outputs = []
    for index, name in trees.leaf_names(graph.out_tree):
        value = graph.ret.args[index]
        if isinstance(value, Value):
            outputs.append(tensor_json(value, index, name, names))
    return {
        "format": FORMAT,
        "name": graph.name,
        "class": code.root_class,
        "inputs": inputs,
        "input_tree": trees.to_json(graph.in_tree),
        "outputs": outputs,
        "output_tree": trees.to_json(graph.out_tree),
        "dims": dims,
        "dtype": main_dtype(code),
        "precision": precision(graph, main_dtype(code)),
        "states": sorted(graph.states),
        "parameters": parameter_count(code),
        "name_map": code.renames,
        "module_map": {k: v for k, v in code.modules.items() if k != v},
        "source": source,
        "versions": {"pytorch_to_mlx": __version__, "mlx": version("mlx"), **versions},
    }


def main_dtype(code: ModelCode) -> str:
    """The floating dtype that most of the weights' bytes have; float32 for a model without
    weights.
    """
    sizes: dict[str, int] = {}
    for p in code.weights.values():
        dtype = DType(str(p.value.dtype))
        if dtype.is_floating:
            sizes[dtype] = sizes.get(dtype, 0) + math.prod(int(d) for d in p.value.dims)
    return max(sizes, key=lambda k: sizes[k]) if sizes else "float32"


def precision(graph: Graph, main: str) -> str:
    """The precision that errors are of: half where anything in a graph is computed in it (bfloat16
    before float16), though ``main`` is the dtype of most weights; else ``main``.
    """
    if main in HALVES:
        return main
    found = {str(v.dtype) for v in _values(graph)}
    return next((half for half in HALVES if half in found), main)


def _values(graph: Graph) -> Iterator[Value]:
    yield from graph.inputs
    for node in graph.nodes:
        yield from node.outputs
        yield from node.params.values()
        for inner in node.subgraphs.values():
            yield from _values(inner)


def parameter_count(code: ModelCode) -> int:
    """Elements of all trainable weights."""
    return sum(
        math.prod(int(d) for d in p.value.dims)
        for p in {id(p): p for p in code.weights.values()}.values()
        if p.kind == "parameter"
    )
