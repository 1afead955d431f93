"""Chains of reshapes and transposes as an order of factors.

Every axis of an array is a product of factors. A reshape splits and groups factors, a transpose
orders groups; so a whole chain says which factors of its source make up each axis of its result::

    x [B, T, 32] -> transpose(1, 0, 2) -> reshape(T, 4 * B, 8) -> transpose(1, 0, 2)
    factors B, T, 4, 8;  axes (B, 4), (T), (8)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy

from pytorch_to_mlx.graph import Dim, Node, Value, is_static
from pytorch_to_mlx.graph.dims import product
from pytorch_to_mlx.passes.clean.views import index_of, permutation
from pytorch_to_mlx.passes.match import is_array, produced_by, same_shape, single_use

RESHAPES = ("mx.reshape", "mx.flatten", "mx.unflatten", "mx.expand_dims", "mx.squeeze", "getitem")
VIEWS = (*RESHAPES, "mx.transpose")


@dataclass(eq=False)
class Factor:
    """A factor of a size."""

    size: Dim


Axis = list[Factor]


@dataclass
class Chain:
    """Views from ``source``: its axes, and those of the result, in factors. Axes of 1 have none."""

    source: Value
    before: list[Axis]
    after: list[Axis]
    nodes: int = 0

    def split(self, factor: Factor, first: Dim, second: Dim) -> tuple[Factor, Factor]:
        """Replaces a factor of the source by two."""
        parts = Factor(first), Factor(second)
        axis = next(a for a in self.before if factor in a)
        at = axis.index(factor)
        axis[at : at + 1] = parts
        return parts

    def reshape(self, dims: tuple[Dim, ...]) -> bool:
        """Groups the factors to axes of these sizes; False where they do not divide."""
        rest = [f for axis in self.after for f in axis]
        axes: list[Axis] = []
        for dim in dims:
            axis: Axis = []
            axes.append(axis)
            wanted = dim
            while not _is_one(wanted):
                if not rest:
                    return False
                factor = rest.pop(0)
                left = quotient(wanted, factor.size)
                if left is None:
                    over = quotient(factor.size, wanted)
                    if over is None:
                        return False
                    factor, after = self.split(factor, wanted, over)
                    rest.insert(0, after)
                    left = 1
                axis.append(factor)
                wanted = left
        self.after = axes
        return not rest

    def transpose(self, order: tuple[int, ...]) -> None:
        self.after = [self.after[a] for a in order]


def quotient(a: Dim, b: Dim) -> Dim | None:
    """``a / b`` where that is surely a whole number."""
    if is_static(a) and is_static(b):
        return int(a) // int(b) if int(b) and int(a) % int(b) == 0 else None
    if is_static(b) and int(b) == 0:
        return None
    q = sympy.cancel(sympy.sympify(a) / sympy.sympify(b))
    return (int(q) if q.is_Integer else q) if q.is_integer else None


def trace(value: Any, *, through: bool = False) -> Chain | None:
    """The chain of views that ends in ``value``, back to the first value that others read as well
    (``through`` does not stop there).
    """
    views: list[Node] = []
    at = value
    while is_array(at) and at.shape is not None:
        node = produced_by(at, *VIEWS)
        if node is None or (node is not value.node and not (through or single_use(at))):
            break
        if not _only_axes(node) or node.args[0].shape is None:
            break
        views.append(node)
        at = node.args[0]
    if not is_array(at) or at.shape is None:
        return None
    while True:
        chain = _followed(at, views)
        if chain is not None or not views:
            return chain
        at = views.pop().output  # a reshape that does not split: start behind it


def _followed(source: Value, views: list[Node]) -> Chain | None:
    axes = [[] if _is_one(d) else [Factor(d)] for d in source.dims]
    chain = Chain(source, [list(a) for a in axes], axes, len(views))
    for node in reversed(views):
        if node.target == "mx.transpose":
            chain.transpose(permutation(node))
        elif not chain.reshape(node.output.dims):
            return None
    return chain


def _only_axes(node: Node) -> bool:
    """Whether a view keeps all elements."""
    if node.target in ("getitem", "mx.squeeze"):
        index = index_of(node)
        return index is not None and all(
            i in (None, slice(None)) or (i == 0 and node.target == "mx.squeeze") for i in index
        )
    return True


def _is_one(d: Dim) -> bool:
    return is_static(d) and int(d) == 1


def size_of(axis: Axis) -> Dim:
    return product(f.size for f in axis)


@dataclass
class Plan:
    """The views that make a chain's result: reshape, transpose, reshape; None where not needed."""

    split: tuple[Dim, ...] | None
    order: tuple[int, ...] | None
    merge: tuple[Dim, ...] | None

    @property
    def nodes(self) -> int:
        return sum(part is not None for part in (self.split, self.order, self.merge))

    def build(self, x: Value) -> Value:
        """Adds the views."""
        if self.split is not None:
            x = x.reshape(*self.split)
        if self.order is not None:
            x = x.transpose(*self.order)
        return x if self.merge is None else x.reshape(*self.merge)


def plan(chain: Chain) -> Plan:
    """The fewest views for a chain."""
    whole, blocks = _by_whole_axes(chain), _by_blocks(chain)
    return whole if whole is not None and whole.nodes < blocks.nodes else blocks


def _dims(axes: list[Axis]) -> tuple[Dim, ...]:
    return tuple(size_of(a) for a in axes)


def _by_whole_axes(chain: Chain) -> Plan | None:
    """Transposes the source as it is, then reshapes once."""
    flat = [f for a in chain.after for f in a]
    target = _dims(chain.after)
    if flat == [f for a in chain.before for f in a]:
        return Plan(None, None, None if same_shape(target, chain.source.dims) else target)
    axes = list(enumerate(chain.before))
    axes.sort(key=lambda item: flat.index(item[1][0]) if item[1] else -1)
    if [f for _, a in axes for f in a] != flat:
        return None
    ordered = tuple(chain.source.dims[n] for n, _ in axes)
    merge = None if same_shape(ordered, target) else target
    return Plan(None, tuple(n for n, _ in axes), merge)


def _by_blocks(chain: Chain) -> Plan:
    """Splits the source into the runs that stay together, orders those, and merges them."""
    blocks = _blocks(chain)
    order = list(blocks)
    flat = [f for a in chain.after for f in a]
    order.sort(key=lambda b: flat.index(b[0]))
    merge = None
    if len(blocks) > sum(1 for a in chain.after if a):
        merge = _dims(chain.after)
    else:
        _insert_ones(chain, blocks, order)
    split = _dims(blocks)
    places = tuple(next(n for n, b in enumerate(blocks) if b is o) for o in order)
    if places == tuple(range(len(places))) and merge is not None:
        return Plan(None, None, merge)
    return Plan(
        None if same_shape(split, chain.source.dims) else split,
        None if places == tuple(range(len(places))) else places,
        merge,
    )


def _blocks(chain: Chain) -> list[Axis]:
    """Runs of factors that follow one another in the source and in one axis of the result."""
    place = {f: (n, m) for n, axis in enumerate(chain.after) for m, f in enumerate(axis)}
    blocks: list[Axis] = []
    for f in (f for axis in chain.before for f in axis):
        n, m = place[f]
        if blocks and place[blocks[-1][-1]] == (n, m - 1):
            blocks[-1].append(f)
        else:
            blocks.append([f])
    return blocks


def _insert_ones(chain: Chain, blocks: list[Axis], order: list[Axis]) -> None:
    """Axes of one come with the split, each behind the one that it follows in the result."""
    for n, axis in enumerate(chain.after):
        if axis:
            continue
        one: Axis = []
        follows = next((k for k, b in enumerate(blocks) if n and b is order[n - 1]), -1)
        blocks.insert(follows + 1, one)
        order.insert(n, one)
