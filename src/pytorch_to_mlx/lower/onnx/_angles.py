"""Initializers that only angles are made of are buffers, not learned weights.

ONNX does not tell the two apart. The frequencies of rotary and sinusoidal embeddings reach nothing
but a cosine and a sine; they are known then, and passes may read them.
"""

from __future__ import annotations

from pytorch_to_mlx.graph import Graph, Value, is_static

_ON_THE_WAY = frozenset(
    {
        "mx.multiply", "mx.divide", "mx.matmul", "mx.astype", "mx.expand_dims", "mx.reshape",
        "mx.transpose", "mx.squeeze", "mx.broadcast_to", "mx.concatenate", "getitem",
    }
)  # fmt: skip
_ENDS = frozenset({"mx.cos", "mx.sin"})


def mark_angles(graph: Graph) -> None:
    """Changes the kind of such vectors."""
    for param in graph.params.values():
        sizes = param.value.dims
        vector = sum(not (is_static(d) and int(d) == 1) for d in sizes) == 1
        if param.kind == "parameter" and vector and _ends(param.value) == _ENDS:
            param.kind = "buffer"


def _ends(value: Value) -> set[str]:
    """The calls that a value leads to, by way of products and views."""
    found: set[str] = set()
    seen: set[Value] = set()
    left = [value]
    while left:
        at = left.pop()
        if at in seen:
            continue
        seen.add(at)
        for node in at.uses:
            if node.target in _ON_THE_WAY:
                left += node.outputs
            else:
                found.add(node.target)
    return found
