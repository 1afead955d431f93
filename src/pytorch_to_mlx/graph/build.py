"""Building nodes: ``call(mx.add, x, y)`` inside a :class:`Builder` appends a node and returns its
value.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import TracebackType
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from pytorch_to_mlx.graph.ir import Arg, Frame, Graph, Node, Origin, Value

_current: contextvars.ContextVar[Builder] = contextvars.ContextVar("builder")


def current_builder() -> Builder:
    return _current.get()


@cache
def _function_names() -> dict[int, str]:
    """``id`` of each MLX function to its dotted name."""
    names: dict[int, str] = {}
    rooms = {
        "mx.fast": mx.fast,
        "mx.linalg": mx.linalg,
        "mx.fft": mx.fft,
        "mx.random": mx.random,
        "mx": mx,
        "nn": nn,
    }
    for prefix, module in rooms.items():
        for name in dir(module):
            thing = getattr(module, name)
            if callable(thing) and not name.startswith("_"):
                names[id(thing)] = f"{prefix}.{name}"
    return names


def target_name(fn: str | Callable[..., Any]) -> str:
    """The dotted name under which a function appears in the graph and in emitted code."""
    if isinstance(fn, str):
        return fn
    module = getattr(fn, "__module__", "") or ""
    if module.startswith("pytorch_to_mlx.ops"):
        return f"ops.{fn.__name__}"
    name = _function_names().get(id(fn))
    if name is None:
        raise ValueError(f"{fn!r} is no function of mlx or of pytorch_to_mlx.ops")
    return name


class Builder:
    """Collects nodes, stamping each with the current scope and origin."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = graph.nodes
        self.scope: tuple[Frame, ...] = ()
        self.origin = Origin()
        self._token: contextvars.Token[Builder] | None = None

    def __enter__(self) -> Builder:
        self._token = _current.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        assert self._token is not None
        _current.reset(self._token)

    @contextmanager
    def at(self, scope: tuple[Frame, ...], origin: Origin) -> Iterator[None]:
        saved = self.scope, self.origin
        self.scope, self.origin = scope, origin
        try:
            yield
        finally:
            self.scope, self.origin = saved

    @contextmanager
    def before(self, node: Node) -> Iterator[None]:
        """New nodes go right before ``node`` and inherit its scope and origin."""
        saved, self.nodes = self.nodes, []
        try:
            with self.at(node.scope, node.origin):
                yield
            self.graph.insert_before(node, self.nodes)
        finally:
            self.nodes = saved

    def add(self, node: Node) -> Node:
        self.nodes.append(node)
        return node


def call(fn: str | Callable[..., Any], *args: Arg, **kwargs: Arg) -> Any:
    """Adds a call and returns its :class:`Value` (or a tuple of them where the call makes several).

    Shape and dtype come from the inference rule of the target; a target without a rule gives values
    of
    unknown shape, which the caller must stamp (:func:`stamp`).

    Raises:
        ValueError: the arguments do not fit the target (from its inference rule).
    """
    from pytorch_to_mlx.graph.infer import infer

    builder = _current.get()
    args = tuple(freeze(a) for a in args)
    kwargs = {k: freeze(a) for k, a in kwargs.items()}
    node = Node(target_name(fn), args, kwargs, scope=builder.scope, origin=builder.origin)
    results = infer(node)
    attach_outputs(node, [Value(shape, dtype) for shape, dtype in results])
    builder.add(node)
    return node.outputs[0] if len(node.outputs) == 1 else tuple(node.outputs)


def call_many(
    fn: str | Callable[..., Any], count: int, *args: Arg, **kwargs: Arg
) -> tuple[Value, ...]:
    """Like :func:`call` for a target that returns ``count`` arrays and has no inference rule."""
    builder = _current.get()
    node = Node(
        target_name(fn),
        tuple(freeze(a) for a in args),
        {k: freeze(a) for k, a in kwargs.items()},
        scope=builder.scope,
        origin=builder.origin,
    )
    attach_outputs(node, [Value(None, None) for _ in range(count)])
    builder.add(node)
    return tuple(node.outputs)


def call_layer(cls: str, x: Arg, params: dict[str, Value], **config: Arg) -> Any:
    """Adds a call of an ``nn`` layer: ``config`` are constructor arguments, ``params`` its
    weights.
    """
    from pytorch_to_mlx.graph.infer import infer

    builder = _current.get()
    args = x if isinstance(x, tuple) else (x,)
    node = Node(cls, args, config, params=params, scope=builder.scope, origin=builder.origin)
    attach_outputs(node, [Value(shape, dtype) for shape, dtype in infer(node)])
    builder.add(node)
    return node.outputs[0] if len(node.outputs) == 1 else tuple(node.outputs)


def attach_outputs(node: Node, values: list[Value]) -> None:
    node.outputs = values
    for i, v in enumerate(values):
        v.node, v.index = node, i


def freeze(arg: Any) -> Any:
    """Lists become tuples and sympy integers Python ints, so that arguments compare by value."""
    import sympy

    if isinstance(arg, (list, tuple)):
        return tuple(freeze(a) for a in arg)
    if isinstance(arg, slice):
        return slice(freeze(arg.start), freeze(arg.stop), freeze(arg.step))
    if isinstance(arg, sympy.Integer):
        return int(arg)
    if isinstance(arg, sympy.Float):
        return float(arg)
    return arg
