"""Attention with its heads folded into the batch gets an axis of heads.

Given (4 heads; ``%q``, ``%k``, ``%v`` and ``%mask`` are [B, 4, T, D] or [B, 4, T, T])::

    %1 = mx.reshape(%q, (4 * B, T, D))        # and %k, %v, %mask
    %2 = mx.matmul(%1, mx.transpose(%k1, (0, 2, 1)))
    %3 = mx.softmax(mx.add(%2, %mask1), axis=-1)
    %4 = mx.reshape(mx.matmul(%3, %v1), (B, 4, T, D))

Result: the same calls on ``%q``, ``%k``, ``%v`` and ``%mask``. What leads to the fold need not be a
single reshape: the first axis of a query, key or value must be a product of two factors of what it
views, as :mod:`~pytorch_to_mlx.passes.axes` sees. All that lies between treats each row of that
axis alone. Masks that are folded, added up and unfolded again stay unfolded. A number times a view
of a view goes behind the views first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pytorch_to_mlx.graph import Builder, Dim, Graph, Node, Value, call, dims_equal, is_static
from pytorch_to_mlx.graph.dims import product
from pytorch_to_mlx.graph.ir import map_arg
from pytorch_to_mlx.passes import axes
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.clean import dead_code
from pytorch_to_mlx.passes.clean.views import permutation
from pytorch_to_mlx.passes.fuse.flat_rows import ELEMENTWISE
from pytorch_to_mlx.passes.match import (
    apply,
    argument,
    axes_of,
    graphs,
    is_array,
    number,
    produced_by,
    same_shape,
    single_use,
    substitute,
)

Lead = tuple[Dim, Dim]


@dataclass
class _Region:
    """Calls on values whose first axis is ``rows``, and the values that lead in."""

    rows: Dim
    members: set[Node]
    calls: set[Node] = field(default_factory=set)
    seen: set[Value] = field(default_factory=set)

    def grow(self, start: Value) -> None:
        """Collects what is connected to ``start``."""
        stack = [start]
        while stack:
            v = stack.pop()
            if v in self.seen:
                continue
            self.seen.add(v)
            for node in (v.node, *v.users):
                if node is not None and node in self.members and self.takes(node):
                    self.calls.add(node)
                    stack += [node.output, *(a for a in _arrays(node) if self.folded(a))]

    def unfolds(self, lead: Lead) -> bool:
        """Whether all that reads the results gives them their axis of heads back."""
        users = {u for node in self.calls for u in node.output.users} - self.calls
        return bool(users) and all(
            u.target in axes.RESHAPES
            and u.output.shape is not None
            and same_shape(u.output.dims[:2], lead)
            for u in users
        )

    def folded(self, v: Value) -> bool:
        return v.shape is not None and v.ndim == 3 and dims_equal(v.dims[0], self.rows)

    def takes(self, node: Node) -> bool:
        """Whether a call treats each row of the first axis alone."""
        if len(node.outputs) != 1 or not self.folded(node.output):
            return False
        arrays = _arrays(node)
        if not all(a.shape is not None and a.ndim <= 3 for a in arrays):
            return False
        deep = [a for a in arrays if a.ndim == 3]
        if not all(self.folded(a) or _is_one(a.dims[0]) for a in deep):
            return False
        if node.target == "mx.matmul":
            return len(deep) == 2
        if node.target == "mx.softmax":
            over = axes_of(argument(node, 1, "axis"), 3)
            return over is not None and 0 not in over
        if node.target == "mx.take_along_axis":
            over = axes_of(argument(node, 2, "axis"), 3)
            return len(deep) == 2 and over is not None and 0 not in over and len(over) == 1
        if node.target == "mx.transpose":
            return permutation(node)[0] == 0
        return node.target in ELEMENTWISE


def run(graph: Graph, report: PassReport) -> None:
    """Unfolds the heads of every batched product that a softmax belongs to."""
    apply(graph, report, axes.VIEWS, _scale_last)
    dead_code.run(graph, report)  # what is dead would seem to be read twice
    for g in graphs(graph):
        done: set[Node] = set()
        for node in list(g.nodes):
            lead = None if node in done else _folded_product(node) or _folding(node)
            if lead is None:
                continue
            region = _Region(product(lead), set(g.nodes))
            region.grow(node.output)
            done |= region.calls
            if any(n.target == "mx.softmax" for n in region.calls) or region.unfolds(lead):
                _unfold(graph, g, region, lead)
                report.applied += 1


def _scale_last(node: Node) -> Value | None:
    """``view(view(x) * number)`` as ``view(view(x)) * number``."""
    scaled = produced_by(node.args[0], "mx.multiply", "mx.divide")
    if scaled is None or not single_use(scaled.output):
        return None
    x, n = scaled.args
    if number(n) is None or not is_array(x) or x.dtype != scaled.output.dtype:
        return None
    if produced_by(x, *axes.VIEWS) is None or not single_use(x):
        return None
    moved = call(node.target, x, *node.args[1:], **node.kwargs)
    moved.shape = node.output.shape
    return call(scaled.target, moved, n)


def _folded_product(node: Node) -> Lead | None:
    """The two sizes that the first axis of a batched product is made of."""
    if node.target != "mx.matmul" or node.output.shape is None or node.output.ndim != 3:
        return None
    if not node.output.uses or any(a.shape is None or a.ndim != 3 for a in node.args):
        return None
    for operand in node.args:
        lead = _lead(operand)
        if lead is not None and dims_equal(product(lead), node.output.dims[0]):
            return lead
    return None


def _folding(node: Node) -> Lead | None:
    """The first two sizes of ``[B, H, ...]`` where a reshape makes one of them (for a mask)."""
    if node.target != "mx.reshape" or node.output.shape is None or node.output.ndim != 3:
        return None
    x: Any = node.args[0]
    if x.shape is None or x.ndim != 4 or not same_shape(x.dims[2:], node.output.dims[1:]):
        return None
    return None if any(_is_one(d) for d in x.dims[:2]) else x.dims[:2]


def _lead(v: Any) -> Lead | None:
    scaled = produced_by(v, "mx.multiply", "mx.divide")
    if scaled is not None and number(scaled.args[1]) is not None:
        v = scaled.args[0]
    chain = axes.trace(v) if is_array(v) else None
    if chain is None or not chain.nodes or len(chain.after[0]) != 2:
        return None
    first, second = chain.after[0]
    return first.size, second.size


def _arrays(node: Node) -> list[Value]:
    return [a for a in (*node.args, *node.kwargs.values()) if is_array(a)]


def _is_one(d: Dim) -> bool:
    return is_static(d) and int(d) == 1


def _unfold(root: Graph, g: Graph, region: _Region, lead: Lead) -> None:
    new: dict[Value, Value] = {}

    def unfolded(a: Any) -> Any:
        if not isinstance(a, Value) or a.shape is None or a.ndim != 3:
            return a
        if a not in new:
            new[a] = a.reshape(*(lead if region.folded(a) else (1, 1)), *a.dims[1:])
        return new[a]

    with Builder(g) as builder:
        for node in [n for n in g.nodes if n in region.calls]:
            old = node.output
            leaves = any(u not in region.calls for u in old.users)
            with builder.before(node):
                args, kwargs = map_arg(node.args, unfolded), map_arg(node.kwargs, unfolded)
                out = _moved(node, args, kwargs)
                out.shape = (*lead, *old.dims[1:])
                new[old] = out
                if leaves:
                    back = out.reshape(*old.dims)
                    new[back] = out
                    substitute(root, old, back)


def _moved(node: Node, args: Any, kwargs: Any) -> Value:
    """The call on arrays with one more axis in front."""
    if node.target == "mx.transpose":
        x: Value = args[0]
        return x.transpose(0, *(a + 1 for a in permutation(node)))
    if node.target == "mx.softmax":
        over = axes_of(argument(node, 1, "axis"), 3) or ()
        rest = {k: a for k, a in kwargs.items() if k != "axis"}
        places = tuple(a - 3 for a in over)
        return call("mx.softmax", args[0], axis=places[0] if len(places) == 1 else places, **rest)
    if node.target == "mx.take_along_axis":
        (axis,) = axes_of(argument(node, 2, "axis"), 3) or ()
        return call("mx.take_along_axis", *args[:2], axis=axis - 3)
    out: Value = call(node.target, *args, **kwargs)
    return out
