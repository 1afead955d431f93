"""An axis that is split off only to take its parts one by one becomes ``mx.split``.

Given (``%0`` is [B, T, 96])::

    %1 = mx.reshape(%0, (B, T, 3, 32))
    %2 = getitem(%1, (:, :, 0))
    %3 = getitem(%1, (:, :, 1))
    %4 = getitem(%1, (:, :, 2))

Result::

    %2, %3, %4 = mx.split(%0, 3, axis=-1)

All parts must be taken, each as a whole.
"""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Builder, Graph, Node, call, dims_equal, is_static
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.clean.views import index_of
from pytorch_to_mlx.passes.match import graphs, is_array, same_shape, substitute


def run(graph: Graph, report: PassReport) -> None:
    """Rewrites reshapes of the last axis whose parts are taken."""
    for g in graphs(graph):
        for node in list(g.nodes):
            taken = _taken(node)
            if taken is None:
                continue
            with Builder(g) as builder, builder.before(node):
                parts = call("mx.split", node.args[0], 1 + max(taken.values()), axis=-1)
            for user, place in taken.items():
                substitute(graph, user.output, parts[place])
            report.applied += 1


def _taken(node: Node) -> dict[Node, int] | None:
    """Which part of a split last axis each user takes; None where it is anything else."""
    if node.target not in ("mx.reshape", "mx.unflatten") or node.output.shape is None:
        return None
    x: Any = node.args[0]
    dims = node.output.dims
    if not is_array(x) or not x.shape or x.ndim + 1 != len(dims) or not is_static(dims[-2]):
        return None
    if not same_shape(x.dims[:-1], dims[:-2]) or not dims_equal(x.dims[-1], dims[-2] * dims[-1]):
        return None
    taken: dict[Node, int] = {}
    for user in node.output.users:
        index = index_of(user) if user.target == "getitem" else None
        if index is None or len(index) != len(dims):
            return None
        place = index[-2]
        if not isinstance(place, int) or any(
            i != slice(None) for n, i in enumerate(index) if n != len(dims) - 2
        ):
            return None
        taken[user] = place % int(dims[-2])
    count = int(dims[-2])
    return taken if count > 1 and sorted(taken.values()) == list(range(count)) else None
