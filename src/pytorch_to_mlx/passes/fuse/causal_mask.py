"""Masks of attention that depend on sizes alone are recognised by their values.

Given (some twenty calls of ``arange``, comparisons, ``cumsum``, ...)::

    %1 = mx.fast.scaled_dot_product_attention(%q, %k, %v, scale=0.125, mask=%0)

Result::

    %1 = mx.fast.scaled_dot_product_attention(%q, %k, %v, scale=0.125, mask="causal")

All true: no mask; a window: ``ops.sliding_window_mask(T, w)``. A mask that joins a padding mask (an
input) with a causal one keeps the joint, and gets the causal half in its short form. The mask is
computed at several sizes, one of them beyond every integer that its calls mention, or a window of
4096 would look causal. MLX aligns ``"causal"`` at the bottom right, torch at the top left: as many
queries as keys are required.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.graph import Builder, Graph, Node, Value, call, dims_equal, is_static
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import iter_values
from pytorch_to_mlx.passes import evaluate
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import MASKED_ROWS, graphs, is_array, keeps_result, substitute

ATTENTION = "mx.fast.scaled_dot_product_attention"


@dataclass(frozen=True)
class Pattern:
    """``all``, ``causal``, ``window`` (``reach`` keys), ``local`` (within ``reach``), ``other``."""

    kind: str
    reach: int = 0


def run(graph: Graph, report: PassReport) -> None:
    """Simplifies the mask of every attention."""
    seen: dict[Value, Pattern | None] = {}
    for g in graphs(graph):
        with Builder(g) as builder:
            for node in list(g.nodes):
                mask = node.kwargs.get("mask")
                if node.target != ATTENTION or not is_array(mask):
                    continue
                with builder.before(node):
                    _simplify(graph, node, mask, seen, report)  # type: ignore[arg-type]


def _simplify(
    graph: Graph, node: Node, mask: Value, seen: dict[Value, Pattern | None], report: PassReport
) -> None:
    pattern = recognise(graph, mask, node, seen, report)
    if pattern is None:
        _simplify_parts(graph, node, mask, seen, report)
        if _every_row_sees(graph, mask):
            _drop_zeroing(graph, node, mask)
        return
    length = node.args[1].dims[-2]
    square = dims_equal(node.args[0].dims[-2], length)
    kwargs = dict(node.kwargs)
    if pattern.kind == "all":
        del kwargs["mask"]
    elif pattern.kind == "causal" and square:
        kwargs["mask"] = "causal"
    elif pattern.kind in ("window", "local") and square:
        kwargs["mask"] = _compact(pattern, length)
    node.set_args(None, kwargs)
    report.applied += node.kwargs.get("mask") is not mask
    _drop_zeroing(graph, node, mask)


def _drop_zeroing(graph: Graph, node: Node, mask: Value) -> None:
    """Every row sees some key: none is left to set to 0."""
    for user in node.output.users:
        if user.target in MASKED_ROWS and user.args[1] is mask:
            substitute(graph, user.output, node.output)


def _compact(pattern: Pattern, length: Any) -> Value:
    if pattern.kind == "causal":
        return call("mx.tri", length, length, dtype=DType("bool"))
    name = "ops.sliding_window_mask" if pattern.kind == "window" else "ops.local_attention_mask"
    out: Value = call(name, length, pattern.reach)
    out.shape, out.dtype = (length, length), DType("bool")
    return out


def _every_row_sees(graph: Graph, mask: Value) -> bool:
    """Whether a learned bias (weights and sizes alone) leaves every row some key."""
    part = evaluate.slice_of(mask)
    given = evaluate.constants(part, graph, learned=True) if part is not None else None
    if part is None or given is None or mask.dtype == "bool":
        return False
    for sizes in evaluate.assignments(part, beyond=evaluate.literals(part)):
        if not evaluate.affordable(mask, sizes):
            return False
        array = evaluate.run(part, sizes, given)
        if array is None or not bool(mx.all(mx.any(array > -6e4, axis=-1))):
            return False
    return True


# -- masks that hold a causal half ---------------------------------------------------------------


def _simplify_parts(
    graph: Graph, node: Node, mask: Value, seen: dict[Value, Pattern | None], report: PassReport
) -> None:
    """Shortens the parts of a data-dependent mask that depend on sizes alone."""
    for user, part in _frontier(graph, mask):
        if part.dtype != "bool" or part.ndim < 2 or _is_short(part):
            continue
        if not dims_equal(part.dims[-1], part.dims[-2]):
            continue
        pattern = recognise(graph, part, node, seen, report)
        if pattern is None or pattern.kind == "other":
            continue
        if pattern.kind == "all":
            new: Any = _other_operand(user, part)
            if new is not None and keeps_result(user, user.output, new):
                substitute(graph, user.output, new)
                report.applied += 1
            continue
        owner = next(g for g in graphs(graph) if user in g.nodes)
        with Builder(owner) as builder, builder.before(user):
            new = _compact(pattern, part.dims[-1])
        if keeps_result(user, part, new):
            user.replace_input(part, new)
            report.applied += 1


def _other_operand(user: Node, part: Value) -> Any:
    if user.target != "mx.logical_and" or len(user.outputs) != 1:
        return None
    a, b = user.args
    other = b if a is part else a
    same = is_array(other) and len(other.dims) == user.output.ndim
    same = same and all(dims_equal(x, y) for x, y in zip(other.dims, user.output.dims, strict=True))
    return other if same else None


def _is_short(part: Value) -> bool:
    return part.node is not None and part.node.target in (
        "mx.tri", "ops.sliding_window_mask", "ops.local_attention_mask",
    )  # fmt: skip


def _frontier(graph: Graph, mask: Value) -> list[tuple[Node, Value]]:
    """Uses of data-independent values by the data-dependent calls behind a mask."""
    found: list[tuple[Node, Value]] = []
    stack: list[Value] = [mask]
    done: set[Node] = set()
    while stack and len(done) < 200:
        v = stack.pop()
        if v.node is None or v.node in done or v.node.subgraphs:
            continue
        done.add(v.node)
        for u in dict.fromkeys(iter_values((v.node.args, v.node.kwargs))):
            part = evaluate.slice_of(u)
            if part is not None and evaluate.constants(part, graph) is not None:
                found.append((v.node, u))
            else:
                stack.append(u)
    return found


# -- recognition ---------------------------------------------------------------------------------


def recognise(
    graph: Graph, mask: Value, node: Node, seen: dict[Value, Pattern | None], report: PassReport
) -> Pattern | None:
    """What the mask is; None where it depends on data or was not computed."""
    if mask not in seen:
        seen[mask] = _recognise(graph, mask, node, report)
    return seen[mask]


def _recognise(graph: Graph, mask: Value, node: Node, report: PassReport) -> Pattern | None:
    part = evaluate.slice_of(mask)
    given = evaluate.constants(part, graph) if part is not None else None
    if part is None or given is None or mask.ndim < 2:
        return None
    literal = evaluate.literals(part)
    planes: list[np.ndarray[Any, Any]] = []
    for sizes in evaluate.assignments(part, beyond=literal):
        if not evaluate.affordable(mask, sizes):
            report.refuse(
                node, f"the mask is too large to be computed beyond its literal {literal}"
            )
            return None
        array = evaluate.run(part, sizes, given)
        if array is None:
            table = _table_end(part, given)
            if table is None:
                return None
            array = evaluate.run(part, {s: min(n, table) for s, n in sizes.items()}, given)
        plane = _visible_plane(array) if array is not None else None
        if plane is None:
            return None
        planes.append(plane)
    return _match(planes, static=is_static(mask.dims[-1]))


def _table_end(part: evaluate.Slice, given: dict[Value, mx.array]) -> int | None:
    """The longest axis of the slice's tables, past which the source itself cannot go."""
    ends = [max(a.shape) for a in given.values() if a.ndim >= 2]
    return min(ends) if ends else None


def _visible_plane(array: mx.array) -> np.ndarray[Any, Any] | None:
    """The bool [T, S] that all batches and heads share; None for other biases."""
    if array.dtype != mx.bool_:
        zero, hidden = array == 0, array <= -6e4
        if not bool(mx.all(zero | hidden)):
            return None
        array = zero
    flat = array.reshape(-1, *array.shape[-2:])
    if not bool(mx.all(flat == flat[:1])):
        return None
    return np.array(flat[0])


def _match(planes: list[np.ndarray[Any, Any]], *, static: bool) -> Pattern | None:
    if not all(p.any(axis=-1).all() for p in planes):
        return None  # some row sees nothing
    if all(p.all() for p in planes):
        return Pattern("all")
    if any(p.shape[0] != p.shape[1] for p in planes):
        return Pattern("other")
    if all(np.array_equal(p, np.tri(len(p), dtype=bool)) for p in planes):
        return Pattern("causal")
    largest = max(planes, key=len)
    for kind, reach in (("window", int(largest[-1].sum())), ("local", int(largest[-1].sum()) - 1)):
        if all(np.array_equal(p, _table(kind, reach, len(p))) for p in planes):
            return Pattern(kind, reach)
    return Pattern("other")


def _table(kind: str, reach: int, length: int) -> np.ndarray[Any, Any]:
    i = np.arange(length)
    distance = i[:, None] - i[None]
    if kind == "window":
        return np.asarray((distance >= 0) & (distance < reach))
    return np.asarray(np.abs(distance) <= reach)
