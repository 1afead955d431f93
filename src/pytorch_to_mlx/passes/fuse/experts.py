"""Products with the weights of each row's expert become ``mx.gather_mm``.

Given (mixtures of experts; ``%ids`` names the expert of each row, sorted)::

    %1 = mx.cumsum(mx.astype(ops.histc(mx.astype(%ids, float32), 4, 0, 3), int32), axis=0)
    %2 = ops.grouped_matmul(%x, @weight, %1)

    %3 = mx.matmul(getitem(@weight, (%ids,)), mx.expand_dims(%x, -1))

Result::

    %2 = mx.gather_mm(%x[:, None], @weight, rhs_indices=%ids, sorted_indices=True)[:, 0]
    %3 = mx.gather_mm(%x[:, None], @weight.T, rhs_indices=%ids)[:, 0, :, None]

How the groups are counted differs between libraries, so it is recognised by value: the offsets are
computed for drawn experts, some without any row, and compared with the counts up to each. Refused
where an expert outside the stack is thinkable: such rows are zero for ``grouped_mm``, and an error
for a subscript.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.graph import Graph, Node, Value, call, dims_equal, is_static
from pytorch_to_mlx.graph.dims import product
from pytorch_to_mlx.graph.dtypes import DType, mlx_dtype
from pytorch_to_mlx.graph.ir import iter_values
from pytorch_to_mlx.passes import evaluate
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.clean.views import permutation
from pytorch_to_mlx.passes.match import (
    Weights,
    apply,
    argument,
    is_array,
    produced_by,
    weight_only,
    weights_of,
)

_SAME_ELEMENTS = {
    "mx.reshape", "mx.flatten", "mx.unflatten", "mx.transpose", "mx.swapaxes", "mx.expand_dims",
    "mx.squeeze", "mx.broadcast_to", "mx.contiguous", "mx.repeat", "mx.tile", "mx.sort", "mx.take",
    "mx.take_along_axis", "getitem",
}  # fmt: skip
_ORDERS = {"ops.argsort", "mx.argsort", "mx.argpartition", "mx.argmax", "mx.argmin"}
_PAIRS = {"ops.sort", "ops.topk"}
_OUTSIDE = "its experts may be outside the stack of weights"
_LARGEST_STACK = 4096


def run(graph: Graph, report: PassReport) -> None:
    """Rewrites grouped products, and products with weights picked for each row."""
    weights = weights_of(graph)

    def grouped(node: Node) -> Value | None:
        x, weight, offsets = node.args
        count = weight.dims[0]
        if not is_static(count) or count > _LARGEST_STACK:
            return None
        ids = _counted(offsets, x.dims[0], int(count))
        if ids is None:
            return None
        if not _below(ids, int(count)):
            report.refuse(node, _OUTSIDE)
            return None
        return _gathered(x, weight, _in_order(ids), ordered=True)

    def picked(node: Node) -> Value | None:
        a, b = node.args
        for stack, other, left in ((a, b, True), (b, a, False)):
            found = _picked(stack, weights)
            if found is None or not is_array(other) or other.ndim != 3:
                continue
            row = other.dims[-1 if left else -2] == 1
            if not row or other.dtype != stack.dtype:
                continue
            weight, ids = found
            if not _below(ids, int(weight.dims[0])):
                report.refuse(node, _OUTSIDE)
                return None
            if not left:
                return call(
                    "mx.expand_dims", _gathered(call("mx.squeeze", other, 1), weight, ids), 1
                )
            rows = call("mx.squeeze", other, -1)
            return call("mx.expand_dims", _gathered(rows, weight.transpose(0, 2, 1), ids), -1)
        return None

    apply(graph, report, ("ops.grouped_matmul",), grouped)
    apply(graph, report, ("mx.matmul",), picked)


def _gathered(x: Value, weight: Value, ids: Value, *, ordered: bool = False) -> Value:
    """Rows ``x`` [S, I] times the weights [E, I, O] of their experts ``ids`` [S]: [S, O]."""
    given = {"sorted_indices": True} if ordered else {}
    if x.dtype != "float32":
        return call("ops.expert_matmul", x, weight, ids, **given)
    y = call("mx.gather_mm", call("mx.expand_dims", x, 1), weight, rhs_indices=ids, **given)
    return call("mx.squeeze", y, 1)


# -- what is counted -----------------------------------------------------------------------------


def _counted(offsets: Value, rows: Any, count: int) -> Value | None:
    """The nearest array of which ``offsets`` are the counts of 0, 1, ... up to each number."""
    seen: set[Value] = set()
    level: list[Value] = [offsets]
    while level:
        for v in level:
            if _may_name_experts(v, rows) and _counts(offsets, v, count):
                return v
        seen.update(level)
        made_of = [u for v in level if v.node for u in iter_values((v.node.args, v.node.kwargs))]
        level = [u for u in dict.fromkeys(made_of) if u not in seen and is_array(u)]
    return None


def _may_name_experts(v: Value, rows: Any) -> bool:
    if v.shape is None or v.ndim == 0 or not dims_equal(product(v.dims), rows):
        return False
    return DType(str(v.dtype)).is_integer and v.dtype != "bool"


def _counts(offsets: Value, ids: Value, count: int) -> bool:
    """Whether the offsets are right for drawn experts, at several sizes."""
    part = evaluate.slice_of(offsets, stop=(ids,))
    if part is None or part.leaves != (ids,):
        return False
    draw = Random(0)
    for sizes in evaluate.assignments(part, beyond=count):
        shape = evaluate.shape_at(ids, sizes)
        if shape is None or 0 in shape:  # nothing would be seen
            return False
        for upper in (count, max(1, count // 2)):
            drawn = np.array([draw.randrange(upper) for _ in range(math.prod(shape))])
            drawn = np.sort(drawn) if _is_sorted(ids) else drawn
            given = mx.array(drawn.reshape(shape)).astype(mlx_dtype(str(ids.dtype)))
            got = evaluate.run(part, sizes, {ids: given})
            want = (drawn[:, None] <= np.arange(count)).sum(axis=0)
            if got is None or not np.array_equal(np.array(got), want):
                return False
    return True


def _in_order(ids: Value) -> Value:
    """The expert of each row, as the groups follow one another."""
    if _is_sorted(ids):
        return ids
    return call("mx.sort", ids if ids.ndim == 1 else ids.reshape(product(ids.dims)))


def _is_sorted(ids: Value) -> bool:
    """Whether an array of one dimension is made by sorting, upwards."""
    node = ids.node
    if node is None or ids.ndim != 1:
        return False
    if node.target == "ops.sort":
        return ids.index == 0 and not argument(node, 2, "descending", False)
    if node.target in ("getitem", "mx.take", "mx.take_along_axis"):
        places = node.args[1][0] if isinstance(node.args[1], tuple) else node.args[1]
        order = _uncast(places)
        made = produced_by(order, "mx.argsort")
        return made is not None and made.args[0] is node.args[0]
    return node.target == "mx.sort"


def _uncast(value: Any) -> Any:
    """The value under casts between integers."""
    while (cast := produced_by(value, "mx.astype")) is not None:
        source: Any = cast.args[0]
        if not (DType(str(source.dtype)).is_integer and DType(str(value.dtype)).is_integer):
            break
        value = source
    return value


# -- which weights, which experts ----------------------------------------------------------------


def _picked(stack: Any, weights: Weights) -> tuple[Value, Value] | None:
    """The weights [E, I, O] and the experts [S] of ``weights[experts]``, transposed or not."""
    turned = produced_by(stack, "mx.transpose")
    if turned is not None and permutation(turned) != (0, 2, 1):
        return None
    node = produced_by(turned.args[0] if turned else stack, "getitem", "mx.take")
    if node is None:
        return None
    weight, ids = node.args[:2]
    if node.target == "mx.take" and argument(node, 2, "axis") != 0:
        return None
    if isinstance(ids, tuple):
        ids = ids[0] if len(ids) == 1 else None
    if not is_array(ids) or ids.ndim != 1 or not DType(str(ids.dtype)).is_integer:
        return None
    if weight.ndim != 3 or not weight_only(weight, weights) or not is_static(weight.dims[0]):
        return None
    return (weight if turned is None else weight.transpose(0, 2, 1)), ids


def _below(ids: Any, count: int) -> bool:
    """Whether integers are known to be places on an axis of at most ``count`` elements."""
    ids = _uncast(ids)
    node = ids.node if isinstance(ids, Value) else None
    if node is None:
        return False
    if node.target in _ORDERS or (node.target in _PAIRS and ids.index == 1):
        x: Any = node.args[0]
        position = 2 if node.target == "ops.topk" else 1
        axis = argument(node, position, "axis", None if "arg" in node.target[:6] else -1)
        if not isinstance(axis, int) or x.shape is None or x.ndim == 0:
            return False
        size = x.dims[axis]
        return is_static(size) and int(size) <= count
    if node.target in _SAME_ELEMENTS or node.target == "ops.sort":
        return _below(node.args[0], count)
    return False
