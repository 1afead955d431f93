"""``Scan`` as the graph's ``for`` node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx

from pytorch_to_mlx.graph import Builder, Graph, Node, Value, call
from pytorch_to_mlx.graph.build import current_builder
from pytorch_to_mlx.graph.ir import RETURN, SCAN
from pytorch_to_mlx.lower.onnx._common import array
from pytorch_to_mlx.lower.onnx._control import add_node, as_array, body_graph, like, settled


def scan(
    initial: Sequence[Any],
    arrays: Sequence[Any],
    body: onnx.GraphProto,
    in_axes: Sequence[int],
    in_reverse: Sequence[int],
    out_axes: Sequence[int],
    out_reverse: Sequence[int],
) -> Any:
    """The results of ``Scan``: ``for`` over slices, of the axes and in the order asked for."""
    sources = [
        _reversed(_to_front(array(a), axis), backwards)
        for a, axis, backwards in zip(arrays, in_axes, in_reverse, strict=True)
    ]
    slices = [like(s, s.dims[1:]) for s in sources]
    start = [as_array(v) for v in initial]

    def make(carried: list[Value]) -> tuple[Graph, list[Value], int]:
        given = (*carried, *slices)
        graph, results = body_graph(body, given, given)
        return graph, results, 0

    graph, results, carried = settled(start, make)
    length = sources[0].dims[0]
    stacked = [like(r, (length, *r.dims)) for r in results[len(carried) :]]
    outputs = [like(c) for c in carried] + stacked
    made = add_node(SCAN, (tuple(start), tuple(sources)), {"body": graph}, outputs)
    given_back = [
        _from_front(_reversed(v, backwards), axis)
        for v, axis, backwards in zip(made[len(start) :], out_axes, out_reverse, strict=True)
    ]
    return (*made[: len(start)], *given_back)


def batched_scan(inputs: Sequence[Any], body: onnx.GraphProto, backwards: Sequence[int]) -> Any:
    """The results of opset 8's ``Scan``: the scan over axis 1 for each entry of the batch.

    Its carried values have a batch too, so that nothing is carried from entry to entry.
    """
    outer = current_builder()
    arrays = [array(v) for v in inputs]
    rows = [like(v, v.dims[1:]) for v in arrays]
    states, sources = rows[: len(rows) - len(backwards)], rows[len(rows) - len(backwards) :]
    given_back = (0,) * (len(body.output) - len(states))
    graph = Graph()
    graph.inputs = rows
    with Builder(graph) as inner, inner.at(outer.scope, outer.origin):
        results = scan(
            states, sources, body, (0,) * len(sources), backwards, given_back, given_back
        )
        inner.add(Node(RETURN, tuple(results), scope=outer.scope, origin=outer.origin))
    outputs = [like(r, (arrays[0].dims[0], *r.dims)) for r in results]
    return add_node(SCAN, ((), tuple(arrays)), {"body": graph}, outputs)


def _to_front(x: Value, axis: int) -> Value:
    axis %= x.ndim
    if axis == 0:
        return x
    return x.transpose(axis, *(a for a in range(x.ndim) if a != axis))


def _from_front(x: Value, axis: int) -> Value:
    axis %= x.ndim
    if axis == 0:
        return x
    order = list(range(1, x.ndim))
    order.insert(axis, 0)
    return x.transpose(*order)


def _reversed(x: Value, backwards: int) -> Value:
    return call("getitem", x, (slice(None, None, -1),)) if backwards else x
