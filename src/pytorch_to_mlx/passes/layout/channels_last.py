"""Keeps arrays in the axis order that their users want and drops the transposes in between.

A value is a physical array and a permutation; ``transpose`` only changes the permutation. Calls
that do not care about the order of axes (elementwise, reductions, softmax, concatenation, slices,
padding) work on the physical array with their axes remapped; all others get the logical order, by
one transpose where needed.

Given (channels-first source, convolutions lowered to channels-last)::

    a = mx.transpose(x, (0, 2, 3, 1)); b = ops.conv2d(a, w); c = mx.transpose(b, (0, 3, 1, 2))
    d = nn.relu(c)
    e = mx.transpose(d, (0, 2, 3, 1)); f = ops.conv2d(e, v)

Result::

    a = mx.transpose(x, (0, 2, 3, 1)); b = ops.conv2d(a, w); d = nn.relu(b); f = ops.conv2d(d, v)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytorch_to_mlx.graph import Builder, Graph, Node, Value
from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.ir import map_arg
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.layout import targets
from pytorch_to_mlx.passes.layout.moves import same_up_to_ones, transposed, without_leading_ones
from pytorch_to_mlx.passes.layout.permutations import (
    Perm,
    adjacent,
    after_transpose,
    blocks_in_order,
    drop_axes,
    identity,
    indexed,
    insert_axes,
    inverse,
    is_identity,
    permuted,
    reshape_groups,
)
from pytorch_to_mlx.passes.match import graphs


def run(graph: Graph, report: PassReport) -> None:
    """Rewrites a graph, then its subgraphs, which get their captured values in logical order."""
    weights = set(graph.param_of())
    for g in graphs(graph):
        _Layout(g, report, weights).run()


class _Layout:
    def __init__(self, graph: Graph, report: PassReport, weights: set[Value]) -> None:
        self.graph, self.report = graph, report
        self.at: dict[Value, tuple[Value, Perm]] = {}
        self.maker: dict[Value, Node] = {}
        self.logical: dict[tuple[Value, Perm], Value] = {}
        self.builder = Builder(graph)
        self.weights = weights

    def run(self) -> None:
        with self.builder:
            for node in list(self.graph.nodes):
                self._node(node)
        for node in reversed(list(self.graph.nodes)):
            if node.target in ("mx.transpose", "mx.swapaxes") and not any(
                v.uses for v in node.outputs
            ):
                self.graph.erase(node)

    def place(self, v: Value) -> tuple[Value, Perm]:
        return self.at.get(v) or (v, identity(v.ndim if v.shape is not None else 0))

    # -- dispatch ----------------------------------------------------------------------------------

    def _node(self, node: Node) -> None:
        if node.target in ("mx.transpose", "mx.swapaxes") and not node.kwargs:
            self._transpose(node)
            return
        moved = any(
            not is_identity(self.place(v)[1]) or v in self.at
            for v in node.inputs()
            if v.kind == "array"
        )
        if not moved:
            return
        for sub in node.subgraphs.values():
            for v in sub.free_values():
                if v in self.at:
                    self._replace_in_subgraph(node, v)
        handler = self._handler(node)
        if handler is None or not handler(node):
            self._materialise_inputs(node)

    def _handler(self, node: Node) -> Callable[[Node], bool] | None:
        if node.subgraphs or (len(node.outputs) > 1 and node.target != "mx.split"):
            return None
        t = node.target
        if t in targets.ELEMENTWISE:
            return self._elementwise
        if t in targets.SCALED and all(v.ndim == 0 for v in node.inputs()[1:]):
            return self._elementwise
        if t in targets.REDUCTIONS:
            return self._reduction
        if t in targets.ALONG_AXIS:
            return self._along_axis
        if t in targets.LAST_AXIS:
            return self._last_axis
        return {
            "mx.concatenate": self._concatenate,
            "mx.split": self._split,
            "mx.pad": self._per_axis,
            "mx.tile": self._per_axis,
            "ops.pad_at": self._pad_at,
            "mx.reshape": self._reshape,
            "mx.expand_dims": self._expand_dims,
            "mx.squeeze": self._squeeze,
            "getitem": self._getitem,
            "mx.broadcast_to": self._broadcast_to,
        }.get(t)

    # -- moving values -----------------------------------------------------------------------------

    def _transpose(self, node: Node) -> None:
        x = node.args[0]
        if not isinstance(x, Value):
            return
        source, perm = self.place(x)
        if node.target == "mx.swapaxes":
            order = list(identity(x.ndim))
            i, j = int(node.args[1]), int(node.args[2])
            order[i], order[j] = order[j], order[i]
            axes: Perm = tuple(order)
        else:
            given = node.args[1] if len(node.args) > 1 else None
            axes = (
                tuple(reversed(range(x.ndim)))
                if given is None
                else tuple(int(a) % x.ndim for a in given)
            )
        self.at[node.output] = (source, after_transpose(perm, axes))
        self.maker[node.output] = node
        self.graph.replaced.setdefault(node.output, source)
        self.report.applied += 1

    def _as_logical(self, v: Value, node: Node) -> Value:
        """The value with its axes in logical order, made right before ``node`` where it must be."""
        source, perm = self.place(v)
        if is_identity(perm):
            return source
        key = (source, perm)
        if key not in self.logical:  # nodes are visited in order: what exists was made earlier
            maker = self.maker.get(v, node)
            with self.builder.before(node), self.builder.at(maker.scope, maker.origin):
                self.logical[key] = transposed(source, inverse(perm))
            self.logical[key].hint = v.hint
        return self.logical[key]

    def _materialise_inputs(self, node: Node) -> None:
        self._rewrite_args(node, lambda v: self._as_logical(v, node))

    def _rewrite_args(self, node: Node, fn: Callable[[Value], Value]) -> None:
        def swap(a: Any) -> Any:
            return fn(a) if isinstance(a, Value) and a.kind == "array" and a in self.at else a

        node.set_args(
            tuple(map_arg(a, swap) for a in node.args),
            {k: map_arg(a, swap) for k, a in node.kwargs.items()},
            {k: swap(v) for k, v in node.params.items()},
        )

    def _replace_in_subgraph(self, node: Node, v: Value) -> None:
        new = self._as_logical(v, node)
        for sub in node.subgraphs.values():
            for _, inner in sub.walk():
                if v in inner.inputs():
                    inner.replace_input(v, new)

    def _moved(self, value: Value, perm: Perm) -> bool:
        """Records that a node now makes ``value`` physically permuted."""
        if not is_identity(perm):
            value.shape = permuted(value.dims, perm)
            self.at[value] = (value, perm)
            assert value.node is not None
            self.maker.setdefault(value, value.node)
        return True

    def _aligned(self, v: Value, rank: int, perm: Perm, node: Node) -> Value:
        """An operand of a call of result rank ``rank``, in physical order ``perm``."""
        source, own = self.place(v)
        if v.shape is None or (v.ndim < rank and all(d == 1 for d in v.dims)):
            return source  # it broadcasts in any order
        if v.ndim == rank and own == perm:
            return source
        if v.ndim == rank and same_up_to_ones(source, own, perm):
            with self.builder.before(node):
                logical = [source.dims[own.index(i)] for i in range(rank)]
                return source.reshape(*permuted(logical, perm))
        logical_value = self._as_logical(v, node)
        maker = v.node or node
        with self.builder.before(node), self.builder.at(maker.scope, maker.origin):
            if v.ndim < rank:
                logical_value = call("mx.expand_dims", logical_value, tuple(range(rank - v.ndim)))
            moved = transposed(logical_value, perm)
            return without_leading_ones(moved) if v in self.weights and v.ndim < rank else moved

    # -- rules -------------------------------------------------------------------------------------

    def _elementwise(self, node: Node) -> bool:
        out = node.output
        arrays = [
            a
            for a in (*node.args, *node.kwargs.values())
            if isinstance(a, Value) and a.kind == "array"
        ]
        full = [v for v in arrays if v.ndim == out.ndim]
        moved = [self.place(v)[1] for v in full if not is_identity(self.place(v)[1])]
        if not moved or any(self._stays(v, moved[0]) for v in full):
            return False
        perm = moved[0]

        def align(a: Any) -> Any:
            return (
                self._aligned(a, out.ndim, perm, node)
                if isinstance(a, Value) and a.kind == "array"
                else a
            )

        node.set_args(
            tuple(align(a) for a in node.args), {k: align(a) for k, a in node.kwargs.items()}
        )
        return self._moved(out, perm)

    def _stays(self, v: Value, perm: Perm) -> bool:
        """Whether a full-rank operand in logical order would cost a real transpose to move (weights
        are free).
        """
        source, own = self.place(v)
        if not is_identity(own) or source in self.weights:
            return False
        return not same_up_to_ones(source, own, perm)

    def _axis_argument(self, node: Node) -> tuple[Any, Callable[[Any], None]]:
        """The ``axis`` argument and a way to set it."""
        if "axis" in node.kwargs:
            return node.kwargs["axis"], lambda a: node.set_args(None, {**node.kwargs, "axis": a})
        position = targets.AXIS_POSITION.get(node.target, 1)
        if len(node.args) > position:
            args = node.args
            return args[position], lambda a: node.set_args(
                (*args[:position], a, *args[position + 1 :])
            )
        return None, lambda a: None

    def _reduction(self, node: Node) -> bool:
        x = node.args[0]
        _, perm = self.place(x)
        axis, _ = self._axis_argument(node)
        rank = x.ndim
        axes = (
            set(range(rank))
            if axis is None
            else {int(a) % rank for a in (axis if isinstance(axis, tuple) else (axis,))}
        )
        if axis is None and node.target in targets.INDEX_REDUCTIONS:
            return False
        self._rewrite_args(node, lambda v: self.place(v)[0])
        _, set_axis = self._axis_argument(node)
        if axis is not None:
            mapped = tuple(sorted(perm.index(a) for a in axes))
            set_axis(mapped if isinstance(axis, tuple) else mapped[0])
        keep = node.kwargs.get("keepdims", False)
        return self._moved(node.output, perm if keep else drop_axes(perm, axes))

    def _along_axis(self, node: Node) -> bool:
        x = node.args[0]
        _, perm = self.place(x)
        axis, _ = self._axis_argument(node)
        usual = targets.DEFAULT_AXIS.get(node.target)
        axis = usual if axis is None else axis
        if axis is None or isinstance(axis, tuple):
            return False
        if any(isinstance(a, Value) and a is not x for a in (*node.args, *node.kwargs.values())):
            return False
        self._rewrite_args(node, lambda v: self.place(v)[0])
        mapped = perm.index(int(axis) % x.ndim)
        mapped = -1 if mapped == x.ndim - 1 else mapped
        if usual is None:
            self._axis_argument(node)[1](mapped)
        else:
            node.set_args((node.args[0], *(() if mapped == usual else (mapped,))), {})
        return self._moved(node.output, perm)

    def _last_axis(self, node: Node) -> bool:
        x = node.args[0]
        source, perm = self.place(x)
        if (
            any(isinstance(a, Value) and a in self.at for a in node.args[1:])
            or perm[-1] != x.ndim - 1
        ):
            return False
        node.set_args((source, *node.args[1:]))
        return self._moved(node.output, perm)

    def _concatenate(self, node: Node) -> bool:
        arrays = node.args[0]
        rank = arrays[0].ndim
        perm = next((p for p in (self.place(v)[1] for v in arrays) if not is_identity(p)), None)
        if perm is None:
            return False
        axis, _ = self._axis_argument(node)
        axis = int(axis or 0) % rank
        node.set_args((tuple(self._aligned(v, rank, perm, node) for v in arrays), *node.args[1:]))
        _, set_axis = self._axis_argument(node)
        mapped = perm.index(axis)
        set_axis(-1 if mapped == rank - 1 else mapped)
        return self._moved(node.output, perm)

    def _split(self, node: Node) -> bool:
        x = node.args[0]
        _, perm = self.place(x)
        axis, _ = self._axis_argument(node)
        axis = int(axis or 0) % x.ndim
        self._rewrite_args(node, lambda v: self.place(v)[0])
        _, set_axis = self._axis_argument(node)
        mapped = perm.index(axis)
        set_axis(-1 if mapped == x.ndim - 1 else mapped)
        for v in node.outputs:
            self._moved(v, perm)
        return True

    def _per_axis(self, node: Node) -> bool:
        x, settings, *rest = node.args
        source, perm = self.place(x)
        kind = tuple if node.target == "mx.pad" else object
        if not isinstance(settings, tuple) or len(settings) != x.ndim:
            return False
        if not all(isinstance(s, kind) for s in settings):
            return False
        node.set_args((source, permuted(settings, perm), *rest))
        return self._moved(node.output, perm)

    def _pad_at(self, node: Node) -> bool:
        x, pads, axes, *rest = node.args
        source, perm = self.place(x)
        if not all(isinstance(a, int) for a in axes):
            return False
        physical = tuple(perm.index(a % x.ndim) for a in axes)
        node.set_args((source, pads, physical, *rest))
        return self._moved(node.output, perm)

    def _reshape(self, node: Node) -> bool:
        x = node.args[0]
        source, perm = self.place(x)
        dims = self._logical_dims(x)
        groups = reshape_groups(dims, node.output.dims)
        if groups is None:
            return False
        inner = blocks_in_order(groups, dims, perm)
        start_of = {}
        for old, new in groups:
            at = [inner.index(a) for a in old if dims[a] != 1] or [inner.index(a) for a in old]
            if len(old) > 1 and len(at) > 1 and (at != sorted(at) or not adjacent(at, inner, dims)):
                return False
            start_of[min(at) if at else len(perm)] = (old, new)
        order = tuple(axis for position in sorted(start_of) for axis in start_of[position][1])
        if len(order) != node.output.ndim:
            return False
        if inner != perm:
            with self.builder.before(node):
                source = transposed(source, tuple(perm.index(a) for a in inner))
        node.set_args((source, permuted(node.output.dims, order), *node.args[2:]))
        return self._moved(node.output, order)

    def _logical_dims(self, v: Value) -> tuple:
        source, perm = self.place(v)
        back = inverse(perm)
        return permuted(source.dims, back)

    def _expand_dims(self, node: Node) -> bool:
        x = node.args[0]
        source, perm = self.place(x)
        given = node.args[1]
        rank = node.output.ndim
        axes = sorted(int(a) % rank for a in (given if isinstance(given, tuple) else (given,)))
        new = insert_axes(perm, axes)
        physical = tuple(i for i, p in enumerate(new) if p in axes)
        node.set_args((source, physical if len(physical) > 1 else physical[0]))
        return self._moved(node.output, new)

    def _squeeze(self, node: Node) -> bool:
        x = node.args[0]
        source, perm = self.place(x)
        axis, _ = self._axis_argument(node)
        if axis is None:
            return False
        axes = {int(a) % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))}
        mapped = tuple(sorted(perm.index(a) for a in axes))
        node.set_args((source, mapped if len(mapped) > 1 else mapped[0]), {})
        return self._moved(node.output, drop_axes(perm, axes))

    def _getitem(self, node: Node) -> bool:
        x, index = node.args[0], node.args[1]
        source, perm = self.place(x)
        plain = (slice, int, type(None))
        if not isinstance(index, tuple) or not all(isinstance(i, plain) for i in index):
            return False
        physical, order = indexed(index, perm)
        node.set_args((source, physical))
        return self._moved(node.output, order)

    def _broadcast_to(self, node: Node) -> bool:
        x = node.args[0]
        source, perm = self.place(x)
        if x.ndim != node.output.ndim:
            return False
        node.set_args((source, permuted(node.output.dims, perm)))
        return self._moved(node.output, perm)
