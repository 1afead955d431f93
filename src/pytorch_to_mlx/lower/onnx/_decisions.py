"""Branches that sizes decide: which one is taken, and what the code then asks of sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy

from pytorch_to_mlx.graph import Graph, Node
from pytorch_to_mlx.graph.build import current_builder
from pytorch_to_mlx.graph.dims import evaluate, free_symbols, is_static
from pytorch_to_mlx.graph.ir import RAISE
from pytorch_to_mlx.lower.onnx._context import node

#: Up to which size the bounds of a condition are searched.
LARGEST = 1 << 16


def decided(condition: Any) -> Any:
    """A known condition as a bool; a relation between sizes stays one, unless it was required."""
    if not isinstance(condition, sympy.Basic):
        return bool(condition)
    if condition in (sympy.true, sympy.false):
        return bool(condition)
    return node().lowering.required.get(condition, condition)


def take(relation: Any) -> bool:
    """Decides for one branch where only one can be converted, since their ranks differ.

    It is the branch that the example's sizes take. What the example says nothing of (it may not
    come here at all) is decided for an equality: exporters write ``if size == 1: squeeze``. The
    emitted code raises for other sizes.
    """
    lowering = node().lowering
    sizes = _example_sizes(lowering)
    known = not lowering.undecided and free_symbols(relation) <= set(sizes)
    taken = bool(evaluate(relation, sizes)) if known else True
    wanted = relation if taken else sympy.Not(relation)
    if not lowering.undecided:
        lowering.required[relation] = taken
        _bound(wanted, lowering, sizes)
    message = "this model was converted for other sizes"
    values: tuple[Any, ...] = ()
    if isinstance(wanted, sympy.Eq) and wanted.rhs.is_Integer:
        message = f"a size of {{}}, where this model was converted for {wanted.rhs}"
        values = (wanted.lhs,)
    builder = current_builder()
    args = (sympy.Not(wanted), message, values)
    builder.add(Node(RAISE, args, scope=builder.scope, origin=builder.origin))
    return taken


def bound_sizes(relation: Any) -> None:
    """Notes that the model is for sizes with this relation."""
    lowering = node().lowering
    if not lowering.undecided:
        _bound(relation, lowering, _example_sizes(lowering))


def _example_sizes(lowering: Any) -> dict[Any, int]:
    symbols = lowering.captured.dims.get("symbols", {})
    return {
        s: int(symbols[str(s)]["size"])
        for s in lowering.symbols.values()
        if symbols.get(str(s), {}).get("size") is not None
    }


def bound_windows(graph: Graph) -> None:
    """Notes from which sizes on nothing that windows slide over is empty: MLX convolves no empty
    arrays, while onnxruntime does."""
    dims: dict[Any, None] = {}
    for n in graph.nodes:
        if n.target.startswith(("ops.conv", "ops.max_pool", "ops.avg_pool")):
            shapes = (v.dims for v in (*n.inputs()[:1], *n.outputs) if v.shape is not None)
            dims.update((d, None) for shape in shapes for d in shape if not is_static(d))
    for d in dims:
        if not d.is_Symbol:
            bound_sizes(sympy.Ge(d, 1))


def _reach(start: int, limit: int, holds: Callable[[int], bool]) -> int:
    """How far towards a limit a condition that holds at the start goes on holding."""
    way = 1 if limit > start else -1
    near, step = 0, 1
    while near < abs(limit - start):
        far = min(near + step, abs(limit - start))
        if holds(start + way * far):
            near, step = far, 2 * step
        elif far == near + 1:
            break
        else:
            step = max(step // 4, 1)
    return start + way * near


def _bound(wanted: Any, lowering: Any, sizes: dict[Any, int]) -> None:
    """Notes between which sizes around the example's a condition on one size holds."""
    free = free_symbols(wanted)
    if len(free) != 1:
        return
    (s,) = free
    info = lowering.captured.dims["symbols"].get(str(s))
    if s not in sizes or info is None or not bool(evaluate(wanted, sizes)):
        return

    def holds(size: int) -> bool:
        return bool(evaluate(wanted, {s: size}))

    low, high = _reach(sizes[s], 1, holds), _reach(sizes[s], LARGEST, holds)
    if low > 1:
        info["min"], info["bounded"] = max(int(info.get("min") or 1), low), True
    if high < LARGEST:
        info["max"] = min(int(info.get("max") or high), high)
