"""Computes a repeated call once.

Given::

    %1 = mx.arange(T)    # layers.0
    %2 = mx.arange(T)    # layers.1

Result: one ``mx.arange(T)`` in the scope that both share. Random calls, calls that count
(``nonzero``), calls with subgraphs and layers that may hold state stay. A weight computation of
each layer stays in its layer (its operands differ).
"""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Frame, Graph, Node, Value
from pytorch_to_mlx.graph.ir import RETURN
from pytorch_to_mlx.passes.base import PassReport
from pytorch_to_mlx.passes.match import graphs, may_be_equal, substitute

_NEVER = (
    "mx.random",
    "host",
    "nn.Dropout",
    "nn.LSTM",
    "nn.GRU",
    "ops.LSTMLayer",
    "ops.GRULayer",
    "ops.RNNLayer",
    "ops.random",
    "ops.dropout",
)


def run(graph: Graph, report: PassReport) -> None:
    """Merges equal calls within each graph; the first of them stays."""
    for g in graphs(graph):
        first: dict[Any, Node] = {}
        for node in g.nodes:
            if not _mergeable(node):
                continue
            key = (node.target, _key(node.args), _key(node.kwargs), _key(node.params))
            known = first.setdefault(key, node)
            if known is node or not _same_sizes(node, known):
                continue
            known.scope = _merged_scope(known, node)
            lines = {(n.origin.file, n.origin.line) for n in (known, node)}
            known.merged = known.merged or len(lines) > 1
            for old, new in zip(node.outputs, known.outputs, strict=True):
                substitute(graph, old, new)
            report.applied += 1


def _mergeable(node: Node) -> bool:
    if node.target == RETURN or node.subgraphs or not node.outputs:
        return False
    return any(v.uses for v in node.outputs) and not node.target.startswith(_NEVER)


def _same_sizes(node: Node, known: Node) -> bool:
    """Whether the results have the same sizes: each call that counts (``nonzero``, ``unique``) has
    a name of its own for what it finds, and what follows asks for that name.
    """
    pairs = zip(node.outputs, known.outputs, strict=True)
    return all(
        a.shape is None or b.shape is None or may_be_equal(a.shape, b.shape) for a, b in pairs
    )


def _merged_scope(known: Node, other: Node) -> tuple[Frame, ...]:
    """Where the one call lives: above both modules, but not above the modules that make its inputs.

    A call that stays inside its module hands its value out, as modules do that share what they
    computed.
    """
    shared = common_scope(known.scope, other.scope)
    for v in known.inputs():
        if v.node is not None and len(common_scope(v.node.scope, known.scope)) > len(shared):
            return known.scope
    return shared


def common_scope(a: tuple[Frame, ...], b: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """The frames that two scopes share."""
    shared = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        shared += 1
    return a[:shared]


def _key(arg: Any) -> Any:
    """A hashable stand-in; 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    if isinstance(arg, Value):
        return ("value", arg.id)
    if isinstance(arg, (tuple, list)):
        return tuple(_key(a) for a in arg)
    if isinstance(arg, dict):
        return tuple((k, _key(arg[k])) for k in sorted(arg))
    if isinstance(arg, slice):
        return ("slice", _key(arg.start), _key(arg.stop), _key(arg.step))
    if isinstance(arg, float):
        return ("float", repr(arg))
    return (type(arg).__name__, arg)
