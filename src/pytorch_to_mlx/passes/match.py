"""Small helpers that passes share: looking at producers and arguments, and replacing a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pytorch_to_mlx.errors import LoweringError
from pytorch_to_mlx.graph import Builder, Graph, Node, Value, call, dims_equal
from pytorch_to_mlx.graph.dims import evaluate, free_symbols
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.infer import infer
from pytorch_to_mlx.graph.ir import iter_values, map_arg
from pytorch_to_mlx.passes.base import PassReport

Rule = Callable[[Node], Value | None]
"""Looks at one node; returns what replaces its output, or None. Builds only once it is sure."""


#: What sets rows of an attention's result whose mask (the second argument) hides every key.
MASKED_ROWS = ("ops.zero_masked_rows", "ops.nan_masked_rows")


def graphs(graph: Graph) -> Iterator[Graph]:
    """The graph and every subgraph in it."""
    yield graph
    for node in list(graph.nodes):
        for sub in node.subgraphs.values():
            yield from graphs(sub)


def apply(graph: Graph, report: PassReport, targets: tuple[str, ...], rule: Rule) -> None:
    """Offers every live single-output node with one of the targets to ``rule``, in order."""
    for g in graphs(graph):
        with Builder(g) as builder:
            for node in list(g.nodes):
                if node.target not in targets or len(node.outputs) != 1 or not node.output.uses:
                    continue
                with builder.before(node):
                    new = rule(node)
                if new is not None:
                    substitute(graph, node.output, new)
                    report.applied += 1


def substitute(root: Graph, old: Value, new: Value) -> None:
    """Every use of ``old`` becomes one of ``new``, which takes over its name and its exact shape.

    Raises:
        ValueError: the two differ in dtype or in rank (the rewrite would change the program).
    """
    if new.dtype != old.dtype:
        raise ValueError(f"a rewrite of {old.node} gives {new.dtype} instead of {old.dtype}")
    if new.shape is None:
        new.shape = old.shape
    elif old.shape is not None and not may_be_equal(new.shape, old.shape):
        raise ValueError(f"a rewrite of {old.node} gives shape {new.shape} instead of {old.shape}")
    new.hint = new.hint or old.hint
    reroute(root, old, new)


def reroute(root: Graph, old: Value, new: Value) -> None:
    """Every use of ``old`` becomes one of ``new``, as an argument of a module's call too."""
    root.replace(old, new)
    for key, pairs in root.bound.items():
        if any(v is old for _, v in pairs):
            root.bound[key] = [(name, new if v is old else v) for name, v in pairs]


def produced_by(value: Any, *targets: str) -> Node | None:
    """The node that makes ``value`` if it has one of the targets."""
    node = value.node if isinstance(value, Value) else None
    return node if node is not None and node.target in targets else None


def argument(node: Node, position: int, name: str, default: Any = None) -> Any:
    """An argument given by position or by keyword."""
    return node.args[position] if position < len(node.args) else node.kwargs.get(name, default)


def number(arg: Any) -> int | float | bool | None:
    """The Python number that an argument is, also where it is a constant array of no dimensions."""
    if isinstance(arg, (bool, int, float)):
        return arg
    made = produced_by(arg, "mx.array", "mx.full", "mx.astype")
    if made is None or arg.shape != ():
        return None
    inner = number(made.args[1] if made.target == "mx.full" else made.args[0])
    if inner is None:
        return None
    dtype = DType(str(arg.dtype))
    if dtype.is_floating:
        return float(inner)
    return bool(inner) if dtype == "bool" else int(inner) if dtype.is_integer else None


def is_array(arg: Any) -> bool:
    return isinstance(arg, Value) and arg.kind == "array"


def pairs(node: Node) -> Iterator[tuple[Any, Any]]:
    """The operands of a commutative call in both orders."""
    a, b = node.args
    yield a, b
    if a is not b:
        yield b, a


def uncast(value: Any) -> Any:
    """The value under casts between floating dtypes."""
    while (cast := produced_by(value, "mx.astype")) is not None:
        source: Any = cast.args[0]
        if not (DType(str(source.dtype)).is_floating and DType(str(value.dtype)).is_floating):
            break
        value = source
    return value


def cast_to(value: Value, dtype: str | None) -> Value:
    return value if dtype is None else value.astype(DType(dtype))


def single_use(value: Value) -> bool:
    """Whether exactly one node uses the value."""
    return len(value.uses) == 1


def same_shape(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    return len(a) == len(b) and all(dims_equal(x, y) for x, y in zip(a, b, strict=True))


def may_be_equal(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether two shapes are equal at some sizes: algebra does not prove every equality of floors.

    Other sizes may lie outside what the model takes (no multiple of a patch), so one is enough.
    """
    if len(a) != len(b):
        return False
    if same_shape(a, b):
        return True
    symbols = sorted(free_symbols([*a, *b]), key=str)
    tried = ({s: (i * 13 + k) * 32 for i, s in enumerate(symbols)} for k in (1, 2, 7))
    return any([evaluate(d, at) for d in a] == [evaluate(d, at) for d in b] for at in tried)


def axes_of(axis: Any, rank: int) -> tuple[int, ...] | None:
    """Normalised, sorted axes of a reduction; None where they are not plain integers."""
    if axis is None:
        return tuple(range(rank))
    given = (axis,) if isinstance(axis, int) else axis
    if not all(isinstance(a, int) for a in given):
        return None
    return tuple(sorted(a % rank for a in given)) if rank else ()


def over_last_axis(node: Node, *, keepdims: bool) -> bool:
    """Whether a reduction runs over the last axis alone."""
    x: Any = node.args[0]
    rank = x.ndim if is_array(x) else 0
    axes = axes_of(argument(node, 1, "axis"), rank)
    return axes == (rank - 1,) and bool(argument(node, 2, "keepdims", False)) == keepdims


class Weights(set[Value]):
    """The values of weights; ``computed`` are those found to depend on more than weights."""

    def __init__(self, values: Iterable[Value] = ()) -> None:
        super().__init__(values)
        self.computed: set[Value] = set()


def weight_only(value: Any, weights: Weights) -> bool:
    """Whether a value is a weight or computed from weights and constants alone."""
    stack, seen = [value], set()
    found = False
    while stack:
        v = stack.pop()
        if not isinstance(v, Value):
            return False
        if v in seen:
            continue
        seen.add(v)
        if v in weights:
            found = True
        elif v in weights.computed or _own_source(v):
            weights.computed.add(value)  # or each look walks the whole graph before it
            return False
        else:
            assert v.node is not None
            stack.extend(iter_values((v.node.args, v.node.kwargs, v.node.params)))
    return found


def _own_source(value: Value) -> bool:
    """Whether a value comes from more than its node's arrays: an input, a size, a random draw."""
    node = value.node
    return (
        node is None
        or bool(node.subgraphs)
        or bool(node.symbols())
        or node.target.startswith(("mx.random", "host"))
    )


def weights_of(root: Graph) -> Weights:
    """The values of weights, without the buffers that the model changes."""
    return Weights(p.value for path, p in root.params.items() if path not in root.states)


def keeps_result(user: Node, old: Value, new: Any) -> bool:
    """Whether ``user`` would give the same shape and dtype with ``new`` in place of ``old``.

    ``old`` may also be the user's own output: then ``new`` itself is compared with it.
    """
    if len(user.outputs) != 1 or user.output.shape is None:
        return False
    if old is user.output:
        shape, dtype = new.shape, new.dtype
    else:
        trial = Node(user.target, origin=user.origin)
        trial.args = tuple(map_arg(a, lambda v: new if v is old else v) for a in user.args)
        trial.kwargs = {
            k: map_arg(a, lambda v: new if v is old else v) for k, a in user.kwargs.items()
        }
        try:
            ((shape, dtype),) = infer(trial)
        except LoweringError:
            return False
    return shape is not None and dtype == user.output.dtype and same_shape(shape, user.output.dims)


def without_casts(node: Node, target: str) -> Value | None:
    """``cast(norm(cast(x), weight, ...))`` back to the dtype of ``x`` as ``norm(x, weight, ...)``.

    For functions that compute in float32 whatever their input is, as MLX's fast norms do.
    """
    made = produced_by(node.args[0], target)
    if made is None or not single_use(made.output):
        return None
    x: Any = made.args[0]
    source = uncast(x)
    if source is x or source.dtype != node.output.dtype:
        return None
    rest = [cast_to(uncast(a), source.dtype) if is_array(a) else a for a in made.args[1:]]
    return call(target, source, *rest, **made.kwargs)
