"""Shapes and dtypes by calling the real MLX function on lazy zeros.

With symbolic sizes the function is called at several size assignments; an output dimension that
equals
some input dimension (or a product, sum or difference with a constant of one) at every assignment is
taken as that expression. What fits nothing is left unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import sympy

from pytorch_to_mlx.graph.dims import Dim, as_dim, evaluate, free_symbols
from pytorch_to_mlx.graph.dtypes import DType, dtype_of, mlx_dtype
from pytorch_to_mlx.graph.ir import Node, Value, iter_leaves, map_arg

_SIZES = (
    (12, 20, 36, 28, 44, 60, 52, 68),
    (20, 36, 12, 44, 28, 68, 60, 52),
    (16, 24, 40, 32, 48, 72, 56, 64),
)


def resolve(target: str) -> Callable[..., Any]:
    """The function that a target names."""
    root, _, rest = target.partition(".")
    if root == "ops":
        from pytorch_to_mlx.ops import registry

        return registry.function(rest)
    return _mlx_function(root, rest)


@cache
def _mlx_function(root: str, rest: str) -> Callable[..., Any]:
    thing: Any = {"mx": mx, "nn": nn}[root]
    for part in rest.split("."):
        thing = getattr(thing, part)
    return thing


def probe(node: Node) -> list[tuple[tuple[Dim, ...] | None, str | None]]:
    """Results for each output, or one unknown result when the function refuses zeros."""
    leaves = list(iter_leaves((node.args, node.kwargs)))
    arrays = [a for a in leaves if isinstance(a, Value) and a.kind == "array"]
    if any(a.shape is None or a.dtype is None for a in arrays):
        return [(None, None)]
    symbols = sorted(free_symbols([a.shape for a in arrays]) | free_symbols(leaves), key=str)
    runs, assignments = [], []
    for sizes in _SIZES if symbols else ((),):
        assignment = {s: sizes[i % len(sizes)] for i, s in enumerate(symbols)}
        try:
            runs.append(_run(node, assignment))
        except (ValueError, TypeError, RuntimeError, IndexError, KeyError, AttributeError):
            return [(None, None)]
        assignments.append(assignment)
    return [_fit([r[i] for r in runs], assignments, arrays) for i in range(len(runs[0]))]


def _run(node: Node, sizes: dict[sympy.Symbol, int]) -> list[tuple[tuple[int, ...], DType]]:
    def concrete(a: Any) -> Any:
        if isinstance(a, Value):
            if a.kind != "array":
                return 1
            shape = [evaluate(d, sizes) for d in a.dims]
            return mx.zeros(shape, mlx_dtype(str(a.dtype)))
        if isinstance(a, DType):
            return mlx_dtype(a)
        return evaluate(a, sizes)

    with mx.stream(mx.cpu):
        out = resolve(node.target)(*map_arg(node.args, concrete), **map_arg(node.kwargs, concrete))
    outs = out if isinstance(out, (tuple, list)) else [out]
    return [(tuple(o.shape), dtype_of(o)) for o in outs]


def _fit(
    runs: list[Any], assignments: list[dict[sympy.Symbol, int]], arrays: list[Value]
) -> tuple[Any, str]:
    shapes, dtype = [r[0] for r in runs], runs[0][1]
    if any(len(s) != len(shapes[0]) for s in shapes):
        return None, dtype
    candidates = list(dict.fromkeys(d for a in arrays for d in a.dims))
    dims = [
        _fit_dim([s[i] for s in shapes], assignments, candidates) for i in range(len(shapes[0]))
    ]
    return (None, dtype) if any(d is None for d in dims) else (tuple(dims), dtype)


def _fit_dim(
    values: list[int], assignments: list[dict[Any, int]], candidates: list[Dim]
) -> Dim | None:
    if len(set(values)) == 1:
        return values[0]
    for c in candidates:
        at = [evaluate(c, a) for a in assignments]
        if at == values:
            return c
    for c in candidates:
        at = [evaluate(c, a) for a in assignments]
        if len(set(at)) > 1:
            slope = sympy.Rational(values[1] - values[0], at[1] - at[0]) if at[1] != at[0] else None
            if slope is not None and slope.is_Integer:
                offset = values[0] - int(slope) * at[0]
                if all(int(slope) * a + offset == v for a, v in zip(at, values, strict=True)):
                    return as_dim(slope * c + offset)
    return None
