"""Defects, put into lowerings and passes for the length of a test."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pytorch_to_mlx.graph import Builder, Graph, Node, Value, call
from pytorch_to_mlx.graph.build import current_builder
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.aten import load_families
from pytorch_to_mlx.passes import pipeline
from pytorch_to_mlx.passes.base import PassReport

Change = Callable[[Callable[..., Any], random.Random], Callable[..., Any]]
Tamper = Callable[[Graph, Node, random.Random], None]


@dataclass(frozen=True)
class Defect:
    """``where`` is an op (``aten.relu.default``) or a pass; ``line`` a piece of the source line
    that is to blame (of any of them, for a pass that joins several).
    """

    name: str
    model: str
    where: str
    line: tuple[str, ...]
    change: Change | None = None
    target: str = ""
    tamper: Tamper | None = None


@contextmanager
def planted(defect: Defect, seed: int) -> Iterator[None]:
    """Within, the converter has the defect."""
    rng = random.Random(seed)
    with _bad_lowering(defect, rng) if defect.change else _bad_pass(defect, rng):
        yield


@contextmanager
def _bad_lowering(defect: Defect, rng: random.Random) -> Iterator[None]:
    table = load_families()._table
    packet = defect.where.rsplit(".", 1)[0]
    real = table.get(defect.where) or table[packet]
    had = defect.where in table
    assert defect.change is not None
    table[defect.where] = defect.change(real, rng)
    try:
        yield
    finally:
        if had:
            table[defect.where] = real
        else:
            del table[defect.where]


@contextmanager
def _bad_pass(defect: Defect, rng: random.Random) -> Iterator[None]:
    real = pipeline.passes
    seed = rng.random()

    def passes(**options: Any) -> list[Any]:
        done: list[str] = []
        return [
            (n, _tampered(defect, run, seed, done) if n == defect.where else run)
            for n, run in real(**options)
        ]

    pipeline.passes = passes
    try:
        yield
    finally:
        pipeline.passes = real


def _tampered(defect: Defect, run: Any, seed: float, done: list[str]) -> Any:
    """The pass, after which the first node of the wanted target (that it made) is spoilt."""

    def spoilt(graph: Graph, report: PassReport) -> None:
        before = set(graph.nodes)
        run(graph, report)
        there = [n for n in graph.nodes if n.target == defect.target]
        made = [n for n in there if n not in before] or there
        alive = [n for n in made if n in _needed(graph)]
        if alive and not done:
            assert defect.tamper is not None
            done.append(defect.name)
            defect.tamper(graph, alive[0], random.Random(seed))

    return spoilt


def _needed(graph: Graph) -> set[Node]:
    """The nodes that the outputs depend on."""
    found, todo = {graph.ret}, [graph.ret]
    while todo:
        for v in todo.pop().inputs():
            if v.node is not None and v.node not in found:
                found.add(v.node)
                todo.append(v.node)
    return found


# -- changes of lowerings ------------------------------------------------------------------------


def argument(position: int, name: str, new: Callable[[Any, random.Random], Any]) -> Change:
    """Another value for one argument, wherever it is given."""

    def change(real: Callable[..., Any], rng: random.Random) -> Callable[..., Any]:
        def lowering(*args: Any, **kwargs: Any) -> Any:
            values = list(args)
            if position < len(values):
                values[position] = new(values[position], rng)
            else:
                kwargs = {**kwargs, name: new(kwargs.get(name), rng)}
            return real(*values, **kwargs)

        return lowering

    return change


def swapped(real: Callable[..., Any], rng: random.Random) -> Callable[..., Any]:
    """The first two operands the wrong way round."""
    return lambda a, b, *rest, **kwargs: real(b, a, *rest, **kwargs)


def dropped(real: Callable[..., Any], rng: random.Random) -> Callable[..., Any]:
    """The op does nothing."""
    return lambda x, *rest, **kwargs: x


def scaled(real: Callable[..., Any], rng: random.Random) -> Callable[..., Any]:
    """The result a little too large."""
    factor = 1 + rng.uniform(0.002, 0.05)

    def lowering(*args: Any, **kwargs: Any) -> Any:
        out = real(*args, **kwargs)
        return (out[0] * factor, *out[1:]) if isinstance(out, tuple) else out * factor

    return lowering


def exchanged(first: int, second: int) -> Change:
    """Two arguments the wrong way round."""

    def change(real: Callable[..., Any], rng: random.Random) -> Callable[..., Any]:
        def lowering(*args: Any, **kwargs: Any) -> Any:
            values = list(args)
            values[first], values[second] = values[second], values[first]
            return real(*values, **kwargs)

        return lowering

    return change


def causal_from_the_end(real: Callable[..., Any], rng: random.Random) -> Callable[..., Any]:
    """MLX's causal mask, which is aligned with the end, where torch's is with the start."""

    def lowering(q: Value, k: Value, v: Value, *rest: Any, **kwargs: Any) -> Any:
        rows, columns = q.dims[-2], k.dims[-2]
        mask = call("mx.tri", rows, columns, columns - rows, dtype=DType("bool"))
        return real(q, k, v, mask)

    return lowering


def overflowing(real: Callable[..., Any], rng: random.Random) -> Callable[..., Any]:
    """A softmax that does not subtract the maximum first."""

    def lowering(x: Value, dim: int, *rest: Any) -> Any:
        powers = call("mx.exp", x)
        return powers / call("mx.sum", powers, axis=dim, keepdims=True)

    return lowering


def counted_from(size: int) -> Change:
    """Positions that are right at one size only."""

    def change(real: Callable[..., Any], rng: random.Random) -> Callable[..., Any]:
        return lambda end, **kwargs: real(end, **kwargs) + (end - size)

    return change


def first_weight_again(real: Callable[..., Any], rng: random.Random) -> Callable[..., Any]:
    """Every weight of one shape is taken for the first: tied where the source is not."""
    first: dict[Any, Value] = {}

    def lowering(x: Value, weight: Value, bias: Value | None = None) -> Any:
        key = (id(current_builder().graph), tuple(weight.dims))
        return real(x, first.setdefault(key, weight), bias)

    return lowering


# -- changes of what passes make -----------------------------------------------------------------


def option(name: str, new: Callable[[Any, random.Random], Any], position: int = -1) -> Tamper:
    """Another value for a keyword (or positional) argument of the node."""

    def tamper(graph: Graph, node: Node, rng: random.Random) -> None:
        if name in node.kwargs:
            node.set_args(kwargs={**node.kwargs, name: new(node.kwargs[name], rng)})
        else:
            args = list(node.args)
            args[position] = new(args[position], rng)
            node.set_args(args=tuple(args))

    return tamper


def flipped(axis: int) -> Tamper:
    """The node's first input is reversed along an axis."""

    def tamper(graph: Graph, node: Node, rng: random.Random) -> None:
        x = node.args[0]
        assert isinstance(x, Value)
        index = tuple(slice(None) for _ in range(axis)) + (slice(None, None, -1),)
        with Builder(graph) as builder, builder.before(node):
            turned = call("getitem", x, index)
        node.set_args(args=(turned, *node.args[1:]))

    return tamper


def bypassed(graph: Graph, node: Node, rng: random.Random) -> None:
    """The node is left out: its first input goes on in its place."""
    graph.replace(node.output, node.args[0])


def state_forgotten(graph: Graph, node: Node, rng: random.Random) -> None:
    """The second call starts from the state that the first one started from."""
    ((path, position),) = graph.states.items()
    args = list(graph.ret.args)
    args[position] = graph.params[path].value
    graph.ret.set_args(args=tuple(args))


def recipe_turned(graph: Graph, node: Node, rng: random.Random) -> None:
    """The node's stored weight has two axes the wrong way round."""
    (p,) = [p for p in graph.params.values() if p.value is node.args[1]]
    assert p.recipe is not None
    (turn,) = [n for n in p.recipe.nodes if n.target == "mx.transpose"]
    turn.set_args(args=(turn.args[0], _turned(turn.args[1])))


def axes_turned(graph: Graph, node: Node, rng: random.Random) -> None:
    """The transpose has its middle axes the wrong way round."""
    node.set_args(args=(node.args[0], _turned(node.args[1])))


def _turned(axes: Any) -> tuple[int, ...]:
    return (axes[0], axes[2], axes[1], axes[3])
