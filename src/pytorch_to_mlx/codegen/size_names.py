"""What a dynamic size is called: decided once, used by the code, the config and all reports.

The name of the user's ``torch.export.Dim`` where one was given, else the role of the first input
dimension of that size (``B``, ``T``, ``H``, ``W``, ...).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import sympy

from pytorch_to_mlx.codegen.names import argument, unique
from pytorch_to_mlx.graph import Graph, Tree, Value
from pytorch_to_mlx.graph.dims import free_symbols, is_static

Place = tuple[str, int]  # an input's dotted name and one of its axes


def name_sizes(graph: Graph, asked: Mapping[Place, str]) -> None:
    """Fills ``graph.size_names`` for every symbol of its inputs and of what the data decides.

    ``asked`` are names that the user gave to dimensions of inputs. No name is that of an input.
    """
    taken = {argument(v.hint) for v in graph.inputs}
    if graph.in_tree is not None:
        taken |= {argument(k) for k in graph.in_tree.keys}
    names = _by_request(graph, asked, taken)
    graph.asked_sizes = set(names)
    for v, axis, d in _dims(graph):
        for s in _symbols(d):
            if s.name not in names:
                names[s.name] = axis_name(v, axis, taken | set(names.values()))
    for node in (n for _, n in graph.walk()):
        for v in node.outputs:
            for s in _symbols([*(v.shape or ()), v.symbol]):
                if s.name not in names:
                    names[s.name] = free_name("N", taken | set(names.values()))
    graph.size_names = names


def _by_request(graph: Graph, asked: Mapping[Place, str], taken: set[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for v, axis, d in _dims(graph):
        symbols = _symbols(d)
        wanted = asked.get((v.hint, axis))
        if wanted and len(symbols) == 1 and symbols[0].name not in names:
            used = taken | set(names.values())
            name = argument(wanted)
            names[symbols[0].name] = unique(f"{name}_size" if name in used else name, used)
    return names


def _dims(graph: Graph) -> Iterator[tuple[Value, int, Any]]:
    """Dimensions of the inputs, those that are a plain symbol before those computed from some."""
    found = [(v, axis, d) for v in graph.inputs for axis, d in enumerate(v.shape or ())]
    yield from (f for f in found if isinstance(f[2], sympy.Symbol))
    yield from (f for f in found if not isinstance(f[2], sympy.Symbol))
    yield from ((v, 0, v.symbol) for v in graph.inputs if v.symbol is not None)


def _symbols(size: Any) -> list[sympy.Symbol]:
    return sorted(free_symbols(size), key=lambda s: s.name)


def names_in(graph: Graph, *, is_root: bool) -> dict[str, str]:
    """The names that a method must use for symbols: all in the root's, the user's in any.

    Elsewhere sizes are named by role, as a layer that others may call names them.
    """
    return {s: n for s, n in graph.size_names.items() if is_root or s in graph.asked_sizes}


def names_of(graph: Graph) -> dict[sympy.Symbol, str]:
    """The names by symbol, as :func:`~pytorch_to_mlx.graph.dims.python_source` takes them."""
    found: dict[sympy.Symbol, str] = {}
    for v in (*graph.inputs, *(v for _, n in graph.walk() for v in n.outputs)):
        for s in _symbols([*(v.shape or ()), v.symbol]):
            if s.name in graph.size_names:
                found[s] = graph.size_names[s.name]
    return found


def renamed_dims(dims: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """``Captured.dims`` with the symbols called by their names."""
    symbols: dict[str, Any] = {}
    for symbol, info in dims.get("symbols", {}).items():
        entry = dict(info)
        if "derived" in entry:
            entry["derived"] = {at: _renamed(e, names) for at, e in entry["derived"].items()}
        symbols[names.get(symbol, symbol)] = entry
    renamed = {**dims, "symbols": symbols}
    if "conditions" in dims:
        texts = [{**c, "holds": _renamed(c["holds"], names)} for c in dims["conditions"]]
        renamed["conditions"] = texts
    return renamed


def _renamed(expression: str, names: Mapping[str, str]) -> str:
    return re.sub(r"[A-Za-z_]\w*", lambda m: names.get(m[0], m[0]), expression)


def asked_names(shapes: Any, tree: Tree) -> dict[Place, str]:
    """Names of the ``torch.export.Dim`` objects in a ``dynamic_shapes`` nest, by input and axis.

    ``tree`` is the nest of forward's arguments. A dimension computed from a ``Dim`` gives the name
    of that one.
    """
    if not isinstance(shapes, (Mapping, tuple, list)):
        return {}
    found: dict[Place, str] = {}
    _collect(shapes, tree, "", found)
    return found


def _collect(spec: Any, tree: Tree, path: str, found: dict[Place, str]) -> None:
    if tree.kind == "leaf":
        entries = spec.items() if isinstance(spec, Mapping) else enumerate(_sequence(spec))
        for axis, entry in entries:
            name = getattr(getattr(entry, "root", entry), "__name__", "")
            if isinstance(axis, int) and isinstance(name, str) and name.isidentifier():
                found[path, axis] = name
        return
    keys = list(tree.keys) if tree.kind == "dict" else [str(i) for i in range(len(tree.children))]
    for i, (key, child) in enumerate(zip(keys, tree.children, strict=True)):
        inner = spec.get(key) if isinstance(spec, Mapping) else None
        if isinstance(spec, (tuple, list)) and i < len(spec):
            inner = spec[i]
        _collect(inner, child, f"{path}.{key}" if path else str(key), found)


def _sequence(spec: Any) -> tuple[Any, ...]:
    return tuple(spec) if isinstance(spec, (tuple, list)) else ()


# -- roles ----------------------------------------------------------------------------------------


def axis_name(value: Value, axis: int, taken: set[str]) -> str:
    """A short name for an axis's size (``B``, ``T``, ``H``, ``W``, ...) that is not taken."""
    return free_name(_role(value, axis), taken)


def _role(value: Value, axis: int) -> str:
    rank = value.ndim
    dims = value.dims
    channels = rank >= 3 and axis >= 2 and is_static(dims[1])  # (batch, channels, ...)
    if channels and rank == 3:
        return "T"
    if channels and rank == 4:
        image = int(dims[1]) > 1 and not any(is_static(d) for d in dims[2:])
        return ("HW" if image else "TS")[axis - 2]
    if channels and rank == 5 and not any(is_static(d) for d in dims[2:]):
        return "DHW"[axis - 2]
    roles = {1: "N", 2: "BT", 3: "BTC", 4: "BHWC", 5: "BDHWC"}.get(rank, "B")
    return roles[axis] if axis < len(roles) else "N"


def free_name(label: str, taken: set[str]) -> str:
    """The label, else its neighbour in use (``S`` beside ``T``), else the label numbered."""
    for candidate in (label, {"T": "S", "B": "N"}.get(label, label + "2")):
        if candidate not in taken:
            return candidate
    n = 2
    while f"{label}{n}" in taken:
        n += 1
    return f"{label}{n}"
