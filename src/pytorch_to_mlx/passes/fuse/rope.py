"""Rotary position embeddings become ``mx.fast.rope``.

Given (``%cos`` and ``%sin`` computed from ``arange(T)`` and a buffer of frequencies)::

    %1 = mx.multiply(%q, %cos)
    %2 = mx.concatenate((mx.negative(%q[..., D/2:]), %q[..., :D/2]), axis=-1)
    %3 = mx.multiply(%2, %sin)
    %4 = mx.add(%1, %3)

Result::

    %1 = mx.fast.rope(%q, D, traditional=False, base=10000.0, scale=1.0, offset=0)

Also the interleaved form (``traditional=True``), the two halves turned apart and joined, tables
with an attention factor (which stays as a multiplication), and the part of the features that is
not turned. Tables are recognised by their values, see :mod:`.rope_tables`; tables that depend on
an input stay.
"""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Graph, Node, Param, Value, call, dims_equal, is_static
from pytorch_to_mlx.graph.build import attach_outputs
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import RETURN
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.clean.views import permutation
from pytorch_to_mlx.passes.fuse.rope_parts import Rotation, part_of, rotation
from pytorch_to_mlx.passes.fuse.rope_tables import Frequencies, Tables
from pytorch_to_mlx.passes.match import apply, argument, is_array, produced_by


def run(graph: Graph, report: PassReport) -> None:
    """Replaces rotations by tables over positions, then widens partial ones to all features."""
    tables = Tables(graph)
    constants: dict[tuple[float, ...], Value] = {}

    def rule(node: Node) -> Value | None:
        found = rotation(node)
        if found is None:
            return None
        # A table as wide as the features holds every angle twice; one of half the width, once.
        wide = dims_equal(found.cos.dims[-1], found.x.dims[-1])
        known = tables.read(found.cos, found.sin, found.layout if wide else "apart")
        if isinstance(known, str):
            report.refuse(node, known)
            return None
        axis = known.axis + found.x.ndim  # counted from the end in the table
        if axis not in (found.x.ndim - 2, found.x.ndim - 3) or axis < 1 or found.x.ndim < 3:
            report.refuse(node, "the positions run along an axis that MLX's rope cannot take")
            return None
        if not is_static(found.x.dims[-1]) or 2 * known.pairs != found.x.dims[-1]:
            report.refuse(node, "the table is not as wide as the features that it turns")
            return None
        if not dims_equal(known.length, found.x.dims[axis]):
            report.refuse(node, "the table's length is not that of the array")
            return None
        return _build(graph, node, found, known, axis, constants)

    apply(graph, report, ("mx.add", "mx.concatenate", "mx.flatten", "mx.reshape"), rule)
    apply(graph, report, ("mx.concatenate",), _partial)


def _build(
    graph: Graph,
    node: Node,
    found: Rotation,
    known: Frequencies,
    axis: int,
    constants: dict[tuple[float, ...], Value],
) -> Value:
    x = found.x
    order = list(range(x.ndim))
    if axis == x.ndim - 3:
        order[-2], order[-3] = order[-3], order[-2]
        x = x.transpose(*order)
    given: dict[str, Any] = {"base": known.base, "scale": known.scale, "offset": 0}
    if known.base is None:
        given["freqs"] = _constant(graph, known, constants)
    out = call(
        "mx.fast.rope", x, 2 * known.pairs, traditional=found.layout == "interleaved", **given
    )
    if known.factor != 1.0:
        out = out * known.factor
    if axis == found.x.ndim - 3:
        out = out.transpose(*order)
    return out.astype(DType(str(node.output.dtype)))


def _constant(graph: Graph, known: Frequencies, constants: dict[tuple[float, ...], Value]) -> Value:
    """The periods as a constant array of the model (one for all layers)."""
    if known.periods not in constants:
        recipe = Graph()
        made = Node("mx.array", (known.periods,), {"dtype": DType("float32")})
        attach_outputs(made, [Value((len(known.periods),), DType("float32"))])
        recipe.nodes = [made, Node(RETURN, (made.output,))]
        path = ".".join(filter(None, (known.scope, "rope_freqs")))
        while path in graph.params:
            path += "_"
        value = Value((len(known.periods),), DType("float32"), hint="rope_freqs")
        graph.params[path] = Param(path, value, "constant", recipe)
        constants[known.periods] = value
    return constants[known.periods]


def _partial(node: Node) -> Value | None:
    """``concat(rope(x[..., :r]), x[..., r:])`` is ``rope(x)`` with ``dims=r``."""
    arrays: Any = node.args[0]
    axis = argument(node, 1, "axis", 0)
    if len(arrays) != 2 or axis % node.output.ndim != node.output.ndim - 1:
        return None
    turned, order = arrays[0], None
    back = produced_by(turned, "mx.transpose")
    if back is not None:
        order, turned = permutation(back), back.args[0]
    rope = produced_by(turned, "mx.fast.rope")
    if rope is None:
        return None
    first: Any = rope.args[0]
    there = produced_by(first, "mx.transpose")
    if (there is not None) != (order is not None):
        if there is None:
            return None
        # x[..., :r] was itself read from a transposed array
        there = None
    if there is not None:
        if permutation(there) != order:
            return None
        first = there.args[0]
    head, rest = part_of(first), part_of(arrays[1])
    if head is None or rest is None or head.source is not rest.source:
        return None
    size = head.source.dims[-1]
    ends = head.start == 0 and head.step == 1 and rest.step == 1 and rest.stop in (None, size)
    if not ends or head.stop is None or head.stop != rest.start or head.stop != rope.args[1]:
        return None
    if not is_static(head.stop) or not is_array(head.source):
        return None
    x = head.source if order is None else head.source.transpose(*order)
    out = call("mx.fast.rope", x, *rope.args[1:], **rope.kwargs)
    return out if order is None else out.transpose(*order)
