"""Attention written out becomes ``mx.fast.scaled_dot_product_attention``.

Given::

    %1 = mx.transpose(%k, (0, 1, 3, 2))
    %2 = mx.matmul(%q, %1)
    %3 = mx.multiply(%2, 0.125)
    %4 = mx.add(%3, %mask)
    %5 = mx.softmax(%4, axis=-1)
    %6 = mx.matmul(%5, %v)

Result::

    %1 = mx.fast.scaled_dot_product_attention(%q, %k, %v, scale=0.125, mask=%mask)

The scale may be a factor or divisor of the scores, of q or of k; masks may be added or filled in.
Where a data-dependent mask fills in ``-inf``, a row without any key is NaN in torch and finite in
MLX: ``ops.nan_masked_rows`` puts the NaN there. Refused where the attention weights have other
users.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.graph import Graph, Node, Value, call, dims_equal
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.passes import evaluate
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import (
    apply,
    argument,
    axes_of,
    cast_to,
    is_array,
    number,
    pairs,
    produced_by,
    single_use,
    uncast,
)

ATTENTION = "mx.fast.scaled_dot_product_attention"
# Added to a score these hide it and stay finite: a row that sees nothing sees all alike, as where
# its scores were overwritten.
_HIDES = {"float16": -6e4, "": float(np.finfo(np.float32).min)}
_VIEWS = ("mx.reshape", "mx.transpose", "mx.unflatten", "mx.swapaxes")


@dataclass
class Scores:
    """``softmax((q @ k.T) * scale + added, where hidden)`` taken apart."""

    q: Value
    keys: Value  # [..., features, keys]
    scale: float = 1.0
    added: list[Value] = field(default_factory=list)
    visible: list[tuple[Value, bool, float]] = field(
        default_factory=list
    )  # mask, True keeps?, fill


def run(graph: Graph, report: PassReport) -> None:
    """Fuses every ``softmax(q @ k.T) @ v`` of rank 3 or 4."""

    def rule(node: Node) -> Value | None:
        weights = _unguarded(uncast(node.args[0]))
        softmax = produced_by(weights, "mx.softmax")
        if softmax is None or not is_array(node.args[1]):
            return None
        guarded = weights is not uncast(node.args[0])
        rank = softmax.output.ndim
        if rank not in (3, 4) or axes_of(argument(softmax, 1, "axis"), rank) != (rank - 1,):
            return None
        scores = _take_apart(softmax.args[0])
        if scores is None:
            return None
        reason = _refusal(node, softmax, scores, graph, 2 if guarded else 1)
        if guarded and scores.visible and not all(map(_is_finite, scores.added)):
            reason = "masks filled in and added: a row that sees nothing would differ"
        if reason:
            report.refuse(node, reason)
            return None
        return _build(node, scores, may_hide_all=_may_hide_all(scores, graph), guarded=guarded)

    apply(graph, report, ("mx.matmul",), rule)
    apply(graph, report, (ATTENTION,), _with_scale)


def _unguarded(value: Any) -> Any:
    """The weights within ``where(isnan(weights), 0, weights)``: exported attention has 0 in rows
    that see nothing.
    """
    guard = produced_by(value, "mx.where")
    if guard is None or number(guard.args[1]) != 0:
        return value
    asked = produced_by(guard.args[0], "mx.isnan")
    weights = guard.args[2]
    return weights if asked is not None and asked.args[0] is weights else value


def _with_scale(node: Node) -> Value | None:
    """Takes a factor of the query or the keys into the scale of a fused call."""
    q, on_q = _unscaled(node.args[0])
    k, on_k = _unscaled(node.args[1])
    scale = node.kwargs.get("scale")
    if on_q * on_k == 1.0 or not isinstance(scale, (int, float)):
        return None
    kwargs = {**node.kwargs, "scale": scale * on_q * on_k}
    return call(ATTENTION, _rebuild(q), _rebuild(k), *node.args[2:], **kwargs)


def _take_apart(value: Any) -> Scores | None:
    """Reads the scores from the softmax back to the product."""
    factor = 1.0
    added: list[Value] = []
    visible: list[tuple[Value, bool, float]] = []
    for _ in range(12):
        value = uncast(value)
        node = produced_by(value, "mx.matmul", "mx.add", "mx.multiply", "mx.divide", "mx.where")
        if node is None:
            return None
        if node.target == "mx.matmul":
            a, b = node.args
            found = Scores(a, b, factor, added, visible)
            return _with_operand_scales(found)
        step = _step(node)
        if step is None:
            return None
        value, scale, mask, hidden = step
        if (mask is not None or hidden is not None) and factor != 1.0:
            return None  # a factor over the masked scores scales the mask too
        factor *= scale
        added += [] if mask is None else [mask]
        visible += [] if hidden is None else [hidden]
    return None


def _leads_to_product(value: Any) -> bool:
    for _ in range(12):
        value = uncast(value)
        node = produced_by(value, "mx.matmul", "mx.add", "mx.multiply", "mx.divide", "mx.where")
        if node is None:
            return False
        if node.target == "mx.matmul":
            return True
        step = _step(node)
        if step is None:
            return False
        value = step[0]
    return False


def _step(node: Node) -> tuple[Any, float, Value | None, tuple[Value, bool, float] | None] | None:
    """One call around the scores: what it wraps, and its factor, added mask or filled mask."""
    if node.target == "mx.divide":
        n = number(node.args[1])
        return (node.args[0], 1.0 / n, None, None) if n else None
    if node.target == "mx.multiply":
        for inner, other in pairs(node):
            n = number(other)
            if n is not None:
                return inner, float(n), None, None
        return None
    if node.target == "mx.add":
        for inner, mask in pairs(node):
            if is_array(mask) and mask.ndim <= node.output.ndim and _leads_to_product(inner):
                return inner, 1.0, mask, None
        return None
    condition, a, b = node.args
    for inner, fill, keeps in ((a, b, True), (b, a, False)):
        n = number(fill)
        if n is not None and n <= -6e4 and is_array(inner):
            return inner, 1.0, None, (condition, keeps, float(n))
    return None


def _with_operand_scales(s: Scores) -> Scores:
    """Takes number factors off q and k, also from under their views."""
    s.q, on_q = _unscaled(s.q)
    s.keys, on_k = _unscaled(s.keys)
    s.scale *= on_q * on_k
    return s


@dataclass(frozen=True)
class _Chain:
    source: Value
    views: tuple[Node, ...]


def _unscaled(value: Value) -> tuple[Any, float]:
    """``value`` without its number factor (a :class:`_Chain` where views must be built again)."""
    views: list[Node] = []
    at: Any = value
    while (view := produced_by(at, *_VIEWS)) is not None and single_use(at):
        views.append(view)
        at = view.args[0]
    node = produced_by(at, "mx.multiply", "mx.divide")
    if node is None or (views and not single_use(at)):
        return value, 1.0
    for inner, other in pairs(node) if node.target == "mx.multiply" else [node.args]:
        n = number(other)
        if n and is_array(inner) and inner.dtype == at.dtype:
            factor = float(n) if node.target == "mx.multiply" else 1.0 / n
            return (_Chain(inner, tuple(reversed(views))) if views else inner), factor
    return value, 1.0


def _rebuild(value: Any) -> Value:
    if not isinstance(value, _Chain):
        return value
    out = value.source
    for view in value.views:
        out = call(view.target, out, *view.args[1:], **view.kwargs)
        out.shape = view.output.shape
    return out


def _shape(value: Any) -> tuple[Any, ...]:
    return (value.views[-1].output if isinstance(value, _Chain) else value).dims


def _refusal(node: Node, softmax: Node, s: Scores, graph: Graph, uses: int) -> str:
    if len(softmax.output.uses) != uses or not single_use(node.args[0]):
        return "the attention weights are used elsewhere"
    q, k, v = _shape(s.q), _shape(s.keys), node.args[1].dims
    if not len(q) == len(k) == len(v):
        return "query, keys and values differ in rank"
    if not all(
        dims_equal(a, b) and dims_equal(a, c)
        for a, b, c in zip(q[:-2], k[:-2], v[:-2], strict=True)
    ):
        return "batch or heads of query, keys and values differ"
    endless = [fill == -math.inf for _, _, fill in s.visible]
    if _may_hide_all(s, graph) and not all(endless):
        return "masks of -inf and of finite numbers: a row that sees nothing would differ"
    return ""


def _may_hide_all(s: Scores, graph: Graph) -> bool:
    """Whether data decides what a mask of -inf hides, so that it may be a whole row."""
    for mask, _, fill in s.visible:
        part = evaluate.slice_of(mask)
        known = part is not None and evaluate.constants(part, graph) is not None
        if fill == -math.inf and not known:
            return True
    return False


def _build(node: Node, s: Scores, *, may_hide_all: bool, guarded: bool) -> Value:
    q, keys, v = _rebuild(s.q), _rebuild(s.keys), node.args[1]
    rank = q.ndim
    k = keys.transpose(*range(rank - 2), rank - 1, rank - 2)
    dtype = str(v.dtype)
    q, k = cast_to(q, dtype), cast_to(k, dtype)
    keep, mask = _mask(s, rank, dtype, may_hide_all)
    if rank == 3:
        q, k, v = (call("mx.expand_dims", x, 1) for x in (q, k, v))
    given = {} if mask is None else {"mask": mask}
    out = call(ATTENTION, q, k, v, scale=float(s.scale), **given)
    if guarded and not all(map(_is_finite, s.added)):
        out = call("ops.zero_masked_rows", out, mask)
    elif may_hide_all:
        out = call("ops.zero_masked_rows" if guarded else "ops.nan_masked_rows", out, keep)
    if rank == 3:
        out = call("mx.squeeze", out, 1)
    return cast_to(out, node.output.dtype)


def _mask(
    s: Scores, rank: int, dtype: str, may_hide_all: bool
) -> tuple[Value | None, Value | None]:
    """What is not hidden, and one mask for all that was added or filled in; of rank 4 where they
    have batches. What an added -inf hides counts where a row may be hidden as a whole.
    """

    def lifted(m: Value) -> Value:
        return call("mx.expand_dims", m, 1) if rank == 3 and m.ndim == 3 else m

    keep: Value | None = None
    for condition, keeps, _ in reversed(s.visible):
        one = condition if keeps else call("mx.logical_not", condition)
        keep = one if keep is None else call("mx.logical_and", keep, one)
    bias: Value | None = None
    for m in reversed(s.added):
        bias = m if bias is None else bias + m
    if bias is not None:
        # torch added it to float32 scores; MLX wants the query's dtype.
        if DType(str(bias.dtype)) != dtype:
            bias = bias.astype(DType(dtype))
        bias = lifted(bias)
    if keep is None:
        return None, bias
    keep = lifted(keep)
    hides = _HIDES.get(dtype, _HIDES[""])
    if bias is None:
        return keep, keep
    mask = call("mx.where", keep, bias, hides)
    if may_hide_all:
        keep = call("mx.logical_and", keep, call("mx.greater", bias, -math.inf))
    return keep, mask


def _is_finite(bias: Value) -> bool:
    """Whether an added mask is one of two finite numbers everywhere: then no row is NaN.

    They must be so in its last dtype: the least float32 becomes -inf in a half type.
    """
    node = produced_by(uncast(bias), "mx.where")
    if node is None:
        return False
    largest = float(mx.finfo(getattr(mx, str(bias.dtype))).max)
    filled = [number(a) for a in node.args[1:]]
    return all(n is not None and abs(n) <= largest for n in filled)
