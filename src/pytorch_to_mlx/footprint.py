"""An estimate of the memory that a converted model needs, array by array.

Weights, and the arrays between calls while something still needs them; at the example's sizes and
with every dynamic one doubled. What a kernel needs inside is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sympy

from pytorch_to_mlx.graph.dims import evaluate
from pytorch_to_mlx.graph.dtypes import DType

if TYPE_CHECKING:
    from pytorch_to_mlx.graph import Graph, Node, Value

LARGEST = 3
# Calls whose result is the memory of their first argument.
VIEWS = frozenset(
    f"mx.{n}"
    for n in (
        "reshape transpose swapaxes moveaxis expand_dims squeeze flatten unflatten broadcast_to"
    ).split()
)
Sizes = dict[sympy.Symbol, int]


def memory_estimate(graph: Graph, weights: int, dims: Mapping[str, Any]) -> dict[str, Any]:
    """Bytes: ``weights``; ``at``: for each set of sizes ``inputs``, ``outputs``, ``activations``
    (the most that is alive at once, inputs included) and ``total``; the ``largest`` arrays.

    Arrays whose sizes the data decides count for nothing, and ``unknown`` says how many there are.
    """
    example = {name: int(info["size"]) for name, info in dims.get("symbols", {}).items()}
    rows = [example, *({**example, n: 2 * size} for n, size in example.items())]
    names = graph.size_names
    symbols = {s: names.get(s.name, s.name) for s in _symbols(graph)}

    def numbers(sizes: Mapping[str, int]) -> Sizes:
        return {s: sizes[called] for s, called in symbols.items() if called in sizes}

    at = []
    for sizes in rows:
        known = numbers(sizes)
        peak = _peak(graph, known)
        given = sum(_bytes(v, known) or 0 for v in graph.inputs)
        made = sum(_bytes(v, known) or 0 for v in graph.ret.inputs())
        at.append(
            {
                "sizes": sizes,
                "inputs": given,
                "outputs": made,
                "activations": peak,
                "total": weights + peak,
            }
        )
    arrays = _arrays(graph, numbers(example))
    return {
        "weights": weights,
        "at": at,
        "largest": [
            {
                "bytes": size,
                "dims": [_called(d, names) for d in value.dims],
                "dtype": str(value.dtype),
                "call": node.target,
                "origin": str(node.origin),
            }
            for size, value, node in arrays[:LARGEST]
        ],
        "unknown": sum(
            _bytes(v, numbers(example)) is None
            for _, node in graph.walk()
            for v in node.outputs
            if v.kind == "array"
        ),
    }


def _symbols(graph: Graph) -> set[sympy.Symbol]:
    found: set[sympy.Symbol] = set()
    for value in graph.inputs:
        for d in value.shape or ():
            found |= set(getattr(d, "free_symbols", ()))
    return found


def _called(dim: Any, names: Mapping[str, str]) -> int | str:
    if isinstance(dim, int):
        return dim
    return str(dim.subs({s: sympy.Symbol(names.get(s.name, s.name)) for s in dim.free_symbols}))


def _bytes(value: Value, sizes: Sizes) -> int | None:
    """An array's bytes (0 for a host value); ``None`` where a size is not known."""
    if value.kind != "array" or value.shape is None or value.dtype is None:
        return 0
    dims = [evaluate(d, sizes) for d in value.shape]
    if not all(isinstance(d, int) for d in dims):
        return None
    return math.prod(dims) * DType(str(value.dtype)).size


def _arrays(graph: Graph, sizes: Sizes) -> list[tuple[int, Value, Node]]:
    """What calls make (not views), the largest first."""
    made = [
        (_bytes(v, sizes) or 0, v, node)
        for _, node in graph.walk()
        if node.target not in VIEWS
        for v in node.outputs
        if v.kind == "array" and v.shape is not None and v.dtype is not None
    ]
    return sorted(made, key=lambda row: -row[0])


def _peak(graph: Graph, sizes: Sizes) -> int:
    """The most bytes of inputs and results that are alive at once."""
    memory: dict[Value, Value] = {}  # views to what they look at
    weights = {p.value for p in graph.params.values()}

    def root(value: Value) -> Value:
        while value in memory:
            value = memory[value]
        return value

    last: dict[Value, int] = {}
    for i, node in enumerate(graph.nodes):
        values = list(node.inputs())
        if node.target in VIEWS and values:
            memory[node.output] = values[0]
        for v in values:
            last[root(v)] = i
    alive: dict[Value, int] = {v: _bytes(v, sizes) or 0 for v in graph.inputs}
    peak = sum(alive.values())
    for i, node in enumerate(graph.nodes):
        for v in node.outputs:
            if v not in memory and v not in weights:
                alive[v] = _bytes(v, sizes) or 0
        inside = max((_peak(sub, sizes) for sub in node.subgraphs.values()), default=0)
        peak = max(peak, sum(alive.values()) + inside)
        for v in [v for v in alive if last.get(v, i) <= i]:
            del alive[v]
    return peak
