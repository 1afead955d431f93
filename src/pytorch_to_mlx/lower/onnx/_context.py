"""The node being lowered, for the few lowerings that need more than inputs and attributes."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytorch_to_mlx.lower.onnx._program import OnnxLowering


@dataclass
class NodeContext:
    """``wanted`` says for each output whether anything may use it; ``declared`` gives the element
    type and shape that the model (or shape inference) states for each, where known."""

    lowering: OnnxLowering
    op: str
    domain: str
    name: str
    opset: int
    wanted: tuple[bool, ...] = ()
    declared: tuple[Declared | None, ...] = ()
    scope_env: Any = field(default=None, repr=False)


@dataclass
class Declared:
    """What is stated about a value: element type; dims (None where the rank is unknown)."""

    element: str
    dims: tuple[Any, ...] | None


_current: contextvars.ContextVar[NodeContext] = contextvars.ContextVar("onnx_node")


def node() -> NodeContext:
    """The node being lowered."""
    return _current.get()


@contextmanager
def lowering_node(context: NodeContext) -> Iterator[None]:
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
