"""Outputs that hang on how equal values are ordered, which torch leaves open for some ops.

``topk`` and an unstable ``sort`` may give equal values (and NaNs) in any order, so their indices
say nothing there. Which outputs that concerns is found by computing: the original runs again with
every such op in another order of equal values that is as good; what then differs is not defined.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.dispatch import handing
from pytorch_to_mlx.validate.compare import STORED, Array, compare

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.program import Captured
    from pytorch_to_mlx.validate.inputs import Inputs
    from pytorch_to_mlx.validate.subject import Subject

# Ops that give values with their places along an axis, and take any of several equal ones.
OPEN = ("topk", "sort", "kthvalue", "mode", "median", "nanmedian")

SORTS = ("aten.argsort.default", "aten.argsort.stable")  # they call ``sort``


def open_outputs(subject: Subject, calls: list[Inputs], tolerance: float) -> list[str]:
    """The outputs of the original that another order of equal values changes at these inputs.

    Raises:
        SourceRefuses: the original raises.
    """
    captured = subject.captured
    assert captured is not None
    if captured.frontend == "onnx" or not _may_choose(captured):
        return []  # ONNX says which of equal values comes first
    first = subject.run_source(calls)
    with _equal_values_reversed():
        second = subject.run_source(calls)
    return sorted(
        {
            name
            for a, b in zip(first, second, strict=True)
            for name in a
            if not compare(name, a[name], _stored(b[name]), tolerance).ok
        }
    )


def _stored(value: Array) -> Array:
    return Array(value.values, STORED.get(value.dtype, value.dtype))


def _may_choose(captured: Captured) -> bool:
    """Whether the program has an op whose choice among equal values is open."""
    import torch

    return any(
        _chooses(node.target) or str(node.target) in SORTS
        for part in captured.program.graph_module.modules()
        if isinstance(part, torch.fx.GraphModule)
        for node in part.graph.nodes
    )


def _chooses(op: Any) -> bool:
    import torch

    return (
        isinstance(op, torch._ops.OpOverload)
        and op.namespace == "aten"
        and op._schema.name.removeprefix("aten::") in OPEN
        and len(op._schema.returns) == 2
        and any(argument.name == "dim" for argument in op._schema.arguments)
    )


def _equal_values_reversed() -> AbstractContextManager[Any]:
    """Within, ops that choose among equal values see their axis from the other end."""

    def reverse(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not _chooses(op):
            return op(*args, **kwargs)
        given = _bound(op, args, kwargs)
        x, dim = given["self"], given["dim"]
        if given.get("stable") or not x.ndim or "out" in given:
            return op(*args, **kwargs)
        values, places = op(x.flip(dim), *args[1:], **kwargs)
        return values, x.shape[dim] - 1 - places

    return handing(reverse)


def _bound(op: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    arguments = op._schema.arguments
    given = {a.name: a.default_value for a in arguments if a.has_default_value()}
    given.update(zip((a.name for a in arguments), args, strict=False))
    return {**given, **kwargs}
