"""Computes a slice of the graph at concrete sizes, to recognise it by its values.

What a mask or a rotary table *is* shows in its numbers, not in the dozens of calls that make it,
which change with every release of a library. This module only ever runs calls that depend on
sizes, constants and buffers, on the CPU, for recognition; it is no way to run a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
import sympy

from pytorch_to_mlx.graph import Graph, Node, Param, Value
from pytorch_to_mlx.graph.dims import evaluate
from pytorch_to_mlx.graph.dtypes import DType, mlx_dtype
from pytorch_to_mlx.graph.ir import iter_leaves, iter_values, map_arg
from pytorch_to_mlx.graph.probe import resolve

Lookup = Callable[[str], mx.array | None]
Sizes = Mapping[sympy.Symbol, int]

LARGEST = 1 << 26
"""Elements of one value beyond which nothing is evaluated."""

_DOUBLINGS = 12
_SHAPE_ONLY = {"mx.zeros_like": mx.zeros, "mx.ones_like": mx.ones}
_lookup: ContextVar[Lookup | None] = ContextVar("weights", default=None)


@contextmanager
def weights(lookup: Lookup) -> Iterator[None]:
    """Gives passes the source's tensors by path (such as a buffer of rotary frequencies)."""
    token = _lookup.set(lookup)
    try:
        yield
    finally:
        _lookup.reset(token)


@dataclass(frozen=True, eq=False)
class Slice:
    """The calls that lead to ``value`` from ``leaves`` (weights, inputs, or given stops)."""

    value: Value
    nodes: tuple[Node, ...]
    leaves: tuple[Value, ...]

    @property
    def symbols(self) -> set[sympy.Symbol]:
        found = set().union(*(n.symbols() for n in self.nodes)) if self.nodes else set()
        shapes = [d for v in (self.value, *self.leaves) if v.shape is not None for d in v.shape]
        return found | {s for d in shapes if isinstance(d, sympy.Basic) for s in d.free_symbols}


def slice_of(value: Value, stop: Collection[Value] = (), limit: int = 2000) -> Slice | None:
    """The slice that computes ``value``; None where it holds control flow or random calls, or more
    than ``limit`` nodes.
    """
    order: list[Node] = []
    leaves: dict[Value, None] = {}
    done: set[Node] = set()
    entered: set[Node] = set()
    stack: list[tuple[Value, bool]] = [(value, False)]
    while stack:
        v, leaving = stack.pop()
        node = v.node
        if v in stop or node is None:
            leaves[v] = None
            continue
        if node in done:
            continue
        if leaving:
            done.add(node)
            order.append(node)
            continue
        entered.add(node)  # not only those left again: a long chain is entered as a whole first
        if not _pure(node) or len(entered) > limit:
            return None
        stack.append((v, True))
        if node.target not in _SHAPE_ONLY:
            stack.extend(
                (u, False)
                for u in iter_values((node.args, node.kwargs))
                if u.node not in done or u in stop
            )
    return Slice(value, tuple(order), tuple(leaves))


def _pure(node: Node) -> bool:
    return not (
        node.subgraphs
        or node.params
        or node.is_layer
        or node.target.startswith(("mx.random", "host"))
    )


def literals(part: Slice) -> int:
    """The largest integer that a slice mentions (say a window); sizes beyond it show its effect."""
    found = [0]
    for node in part.nodes:
        for leaf in iter_leaves((node.args, node.kwargs)):
            if isinstance(leaf, (int, float)) and not isinstance(leaf, bool):
                found += [abs(int(leaf))] if abs(leaf) < 2**30 else []
            elif isinstance(leaf, sympy.Basic):
                found += [abs(int(n)) for n in leaf.atoms(sympy.Integer)]
    return max(found)


def constants(part: Slice, root: Graph, *, learned: bool = False) -> dict[Value, mx.array] | None:
    """The arrays of a slice's leaves; None where one is an input, a state or not available.

    Learned weights count as constants only with ``learned``: training may change them.
    """
    by_value = root.param_of()
    arrays: dict[Value, mx.array] = {}
    for leaf in part.leaves:
        param = by_value.get(leaf)
        if param is None or param.path in root.states:
            return None
        if param.kind == "parameter" and not learned:
            return None
        array = tensor(param)
        if array is None:
            return None
        arrays[leaf] = array
    return arrays


def tensor(param: Param) -> mx.array | None:
    """The stored array of a weight, where :func:`weights` is in force."""
    lookup = _lookup.get()
    if param.recipe is None:
        return (
            lookup(param.sources[0] if param.sources else param.path)
            if lookup is not None
            else None
        )
    if param.sources and lookup is None:
        return None
    found = [lookup(s) for s in param.sources] if lookup else []
    if any(a is None for a in found):
        return None
    given = (
        dict(zip(param.recipe.inputs, [a for a in found if a is not None], strict=True))
        if lookup
        else {}
    )
    out = param.recipe.ret.args[0]
    part = slice_of(out) if isinstance(out, Value) else None
    return run(part, {}, given) if part is not None else None


def run(
    part: Slice,
    sizes: Sizes,
    given: Mapping[Value, mx.array],
    unrounded: Collection[Node] = (),
) -> mx.array | None:
    """The slice's value at these sizes; None where its tables or calls do not allow them.

    The casts in ``unrounded`` are left out.
    """
    env: dict[Value, Any] = dict(given)
    try:
        with mx.stream(mx.cpu):
            for node in part.nodes:
                outs = [env[node.args[0]]] if node in unrounded else _call(node, env, sizes)
                for v, array in zip(node.outputs, outs, strict=True):
                    if not _as_declared(v, array, sizes):
                        return None
                    env[v] = array
            result = env[part.value]
            mx.eval(result)
    except (ValueError, RuntimeError, IndexError, TypeError, ArithmeticError):
        return None  # a size that MLX refuses is one that the source refuses
    return result if isinstance(result, mx.array) else None


def _call(node: Node, env: Mapping[Value, Any], sizes: Sizes) -> list[Any]:
    def concrete(a: Any) -> Any:
        if isinstance(a, Value):
            return env[a] if a.kind == "array" else evaluate(a.symbol, sizes)
        if isinstance(a, DType):
            return mlx_dtype(a)
        return evaluate(a, sizes)

    if node.target in _SHAPE_ONLY:
        shape = [evaluate(d, sizes) for d in node.output.dims]
        return [_SHAPE_ONLY[node.target](shape, mlx_dtype(str(node.output.dtype)))]
    args = map_arg(node.args, concrete)
    kwargs = map_arg(node.kwargs, concrete)
    for index, length in _indices(node.target, args, kwargs):
        if index.size and not bool(mx.all((index < length) & (index >= -length))):
            raise IndexError(f"{node.target} reads past the end")  # MLX would return garbage
    out = args[0][args[1]] if node.target == "getitem" else resolve(node.target)(*args, **kwargs)
    return list(out) if isinstance(out, (tuple, list)) else [out]


def _indices(target: str, args: Any, kwargs: Any) -> Iterator[tuple[mx.array, int]]:
    """Integer index arrays of a call with the length of the axis that they index."""
    if target in ("mx.take", "mx.take_along_axis"):
        axis = args[2] if len(args) > 2 else kwargs.get("axis")
        yield args[1], args[0].size if axis is None else args[0].shape[axis]
    elif target == "ops.embedding":
        yield args[1], args[0].shape[0]
    elif target == "getitem":
        used = [i for i in args[1] if i is not None]
        at = next((n for n, i in enumerate(used) if i is Ellipsis), len(used))
        for n, i in enumerate(used):
            if isinstance(i, mx.array) and i.dtype != mx.bool_:
                yield i, args[0].shape[n if n < at else n - len(used)]


def _as_declared(value: Value, array: mx.array, sizes: Sizes) -> bool:
    """MLX clamps a slice that runs over a table's end: the shape tells."""
    if value.shape is None:
        return array.size <= LARGEST
    return (
        tuple(array.shape) == tuple(evaluate(d, sizes) for d in value.shape)
        and array.size <= LARGEST
    )


def assignments(
    part: Slice, *, ordinary: tuple[int, ...] = (3, 5, 7, 4, 6), beyond: int = 0
) -> list[dict[Any, int]]:
    """Sizes to look at: small and different ones, twice; then each in turn past ``beyond``.

    What counts is the shape of the slice's value: where an axis is ``s // 2``, ``s`` grows until
    that axis is past ``beyond`` (and until no axis is empty).
    """
    symbols = sorted(part.symbols, key=str)
    if not symbols:
        return [{}]
    small = {s: ordinary[i % len(ordinary)] for i, s in enumerate(symbols)}
    other = {s: ordinary[(i + 1) % len(ordinary)] + 4 for i, s in enumerate(symbols)}
    dims = [d for d in part.value.shape or () if isinstance(d, sympy.Basic)]
    late = ({**_grown(dict.fromkeys(symbols, 2), dims, 1), s: beyond + 5} for s in symbols)
    return [
        _grown(small, dims, 1),
        _grown(other, dims, 1),
        *(
            _grown(sizes, [d for d in dims if s in d.free_symbols], beyond + 5)
            for s, sizes in zip(symbols, late, strict=True)
        ),
    ]


def _grown(sizes: dict[Any, int], dims: list[Any], least: int) -> dict[Any, int]:
    """The sizes, doubled until each of ``dims`` is at least ``least`` (as given if none is)."""
    grown = dict(sizes)
    for _ in range(_DOUBLINGS):
        short = [d for d in dims if _is_short(d, grown, least)]
        if not short:
            return grown
        for s in set().union(*(d.free_symbols for d in short)) & set(grown):
            grown[s] *= 2
    return sizes


def _is_short(d: Any, sizes: Sizes, least: int) -> bool:
    try:
        return int(evaluate(d, sizes)) < least
    except ZeroDivisionError:  # as after a division by a size that is still none
        return True


def apply_node(node: Node, env: Mapping[Value, mx.array]) -> mx.array | None:
    """One call on given arrays of any shape; number-like dtypes of constants become float32."""

    def concrete(a: Any) -> Any:
        if isinstance(a, Value):
            return env[a]
        if isinstance(a, DType):
            return mx.float32 if a.is_floating else mlx_dtype(a)
        return a

    if any(isinstance(leaf, sympy.Basic) for leaf in iter_leaves((node.args, node.kwargs))):
        return None
    out = resolve(node.target)(*map_arg(node.args, concrete), **map_arg(node.kwargs, concrete))
    return out if isinstance(out, mx.array) else None


def shape_at(value: Value, sizes: Sizes) -> list[int] | None:
    """A known shape in numbers; None where a size divides by what is zero at these sizes."""
    try:
        return [int(evaluate(d, sizes)) for d in value.dims]
    except ZeroDivisionError:
        return None


def tables(
    value: Value, root: Graph, beyond: int | None = None, unrounded: Collection[Node] = ()
) -> list[np.ndarray[Any, Any]] | None:
    """A data-independent value at several sizes, one of them past every integer that its calls
    mention (or past ``beyond``).

    None where it depends on data, is too large there, or none of the sizes is allowed. A stored
    table ends the sizes that the source itself allows; within it the longest is looked at.
    """
    part = slice_of(value)
    given = constants(part, root) if part is not None else None
    if part is None or given is None:
        return None
    ends = [max(a.shape) for a in given.values() if a.ndim >= 2]
    found: list[np.ndarray[Any, Any]] = []
    for sizes in assignments(part, beyond=literals(part) if beyond is None else beyond):
        if not affordable(value, sizes):
            return None
        array = run(part, sizes, given, unrounded)
        if array is None and ends:
            array = run(part, {s: min(n, *ends) for s, n in sizes.items()}, given, unrounded)
        if array is None:
            return None
        low = array.dtype in (mx.bfloat16, mx.float16)  # numpy has no bfloat16
        found.append(np.array(array.astype(mx.float32) if low else array))
    return found


def affordable(value: Value, sizes: Sizes) -> bool:
    """Whether a value of known shape is defined at these sizes, and small enough to look at."""
    shape = shape_at(value, sizes)
    return shape is not None and math.prod(shape) <= LARGEST
