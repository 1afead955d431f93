"""The printed form of a graph, for debugging and for tests of passes."""

from __future__ import annotations

from typing import Any

import sympy

from pytorch_to_mlx.graph.dims import python_source
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import Graph, Node, Value


def to_text(graph: Graph, *, types: bool = True) -> str:
    """One line a node: ``%3: float32[B, 64] = mx.add(%1, %2)  # model.layers.0``; values are
    renumbered.
    """
    names: dict[Value, str] = {}
    for path, p in graph.params.items():
        names[p.value] = f"@{path}"
    lines = ["inputs: " + ", ".join(_declare(v, names) for v in graph.inputs)]
    lines += _body(graph, names, types)
    return "\n".join(lines) + "\n"


def _declare(v: Value, names: dict[Value, str], types: bool = True) -> str:
    names.setdefault(v, f"%{sum(1 for n in names.values() if n.startswith('%'))}")
    return f"{names[v]}: {_type(v)}" if types else names[v]


def _type(v: Value) -> str:
    if v.kind != "array":
        return f"{v.kind} {v.symbol}" if v.symbol is not None else v.kind
    shape = "?" if v.shape is None else ", ".join(python_source(d, {}) for d in v.shape)
    return f"{v.dtype}[{shape}]"


def _body(graph: Graph, names: dict[Value, str], types: bool) -> list[str]:
    lines = []
    for node in graph.nodes:
        left = ", ".join(_declare(v, names, types) for v in node.outputs)
        scope = f"  # {node.scope[-1].path}" if node.scope and node.scope[-1].path else ""
        lines.append(f"{left} = {_call(node, names)}{scope}" if left else _call(node, names))
        for key, sub in node.subgraphs.items():
            lines.append(f"  {key}:")
            lines += ["    " + _declare(v, names) for v in sub.inputs]
            lines += ["    " + line for line in _body(sub, names, types)]
    return lines


def _call(node: Node, names: dict[Value, str]) -> str:
    args = [_arg(a, names) for a in node.args]
    args += [f"{k}={_arg(a, names)}" for k, a in node.kwargs.items()]
    args += [f"{k}={_arg(a, names)}" for k, a in node.params.items()]
    return f"{node.target}({', '.join(args)})"


def _arg(a: Any, names: dict[Value, str]) -> str:
    if isinstance(a, Value):
        return names.get(a, repr(a))
    if isinstance(a, tuple):
        inner = ", ".join(_arg(x, names) for x in a)
        return f"({inner},)" if len(a) == 1 else f"({inner})"
    if isinstance(a, slice):
        parts = [("" if x is None else _arg(x, names)) for x in (a.start, a.stop, a.step)]
        return ":".join(parts[:2] if a.step is None else parts)
    if isinstance(a, dict):
        return "{" + ", ".join(f"{k!r}: {_arg(v, names)}" for k, v in a.items()) + "}"
    if isinstance(a, DType):
        return str(a)
    if isinstance(a, sympy.Basic):
        return python_source(a, {})
    return "..." if a is Ellipsis else repr(a)
