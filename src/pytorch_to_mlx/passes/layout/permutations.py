"""Permutations of axes: ``physical.shape[i] == logical.shape[perm[i]]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytorch_to_mlx.graph import Dim, dims_equal, is_static
from pytorch_to_mlx.graph.dims import product

Perm = tuple[int, ...]
Groups = list[tuple[list[int], list[int]]]  # axes before and after a reshape


def identity(rank: int) -> Perm:
    return tuple(range(rank))


def is_identity(perm: Perm) -> bool:
    return perm == tuple(range(len(perm)))


def inverse(perm: Perm) -> Perm:
    out = [0] * len(perm)
    for i, p in enumerate(perm):
        out[p] = i
    return tuple(out)


def permuted(items: Sequence, perm: Perm) -> tuple:
    return tuple(items[p] for p in perm)


def after_transpose(perm: Perm, axes: Perm) -> Perm:
    """The permutation of ``transpose(x, axes)`` when its physical array stays that of ``x``."""
    back = inverse(axes)
    return tuple(back[p] for p in perm)


def drop_axes(perm: Perm, axes: set[int]) -> Perm:
    """The permutation after logical ``axes`` are removed."""
    kept = [p for p in perm if p not in axes]
    order = sorted(kept)
    return tuple(order.index(p) for p in kept)


def insert_axes(perm: Perm, axes: Sequence[int]) -> Perm:
    """The permutation after new logical ``axes`` (positions in the result) are added, physically in
    front
    of the axis that follows them logically (last when none does)."""
    rank = len(perm) + len(axes)
    new = set(axes)
    old = [i for i in range(rank) if i not in new]
    out: list[int] = [old[p] for p in perm]
    for a in sorted(axes, reverse=True):
        follower = next((out.index(b) for b in range(a + 1, rank) if b in out), len(out))
        out.insert(follower, a)
    return tuple(out)


def indexed(index: Sequence[Any], perm: Perm) -> tuple[tuple[Any, ...], Perm]:
    """A subscript of slices, ints and ``None`` for the physical array, and the permutation of its
    result."""
    given = tuple(i for i in index if i is not None)
    full = (*given, *(slice(None),) * (len(perm) - len(given)))
    dropped = {a for a, i in enumerate(full) if isinstance(i, int)}
    kept = (i for i in index if not isinstance(i, int))
    added = [a for a, i in enumerate(kept) if i is None]
    order = insert_axes(drop_axes(perm, dropped), added)
    physical = iter(permuted(full, perm))
    entries: list[Any] = []
    for axis in order:  # ints stay where they are among the others
        entry = None if axis in added else next(physical)
        while isinstance(entry, int):
            entries.append(entry)
            entry = next(physical)
        entries.append(entry)
    return (*entries, *physical), order


def reshape_groups(old: Sequence[Dim], new: Sequence[Dim]) -> Groups | None:
    """Pairs of old and new axes whose sizes multiply to the same; None where that is not
    provable.
    """
    groups: Groups = []
    i = j = 0
    while i < len(old) or j < len(new):
        a, b = [], []
        if i < len(old):
            a.append(i)
            i += 1
        if j < len(new):
            b.append(j)
            j += 1
        while not dims_equal(product(old[k] for k in a), product(new[k] for k in b)):
            left, right = product(old[k] for k in a), product(new[k] for k in b)
            grow_old = _smaller(left, right)
            if grow_old and i < len(old):
                a.append(i)
                i += 1
            elif not grow_old and j < len(new):
                b.append(j)
                j += 1
            elif i < len(old):
                a.append(i)
                i += 1
            elif j < len(new):
                b.append(j)
                j += 1
            else:
                return None
        groups.append((a, b))
    return _merge_empty(groups)


def blocks_in_order(groups: Groups, dims: tuple[Dim, ...], perm: Perm) -> Perm:
    """The physical order with axes that will be merged, and lie side by side, put in order.

    A shuffle of channels stays a shuffle of the last axes: the rest keeps its place.
    """
    order = list(perm)
    for old, _ in groups:
        axes = [a for a in old if dims[a] != 1]
        at = sorted(order.index(a) for a in axes)
        if len(at) > 1 and at == list(range(at[0], at[0] + len(at))):
            order[at[0] : at[0] + len(at)] = axes
    return tuple(order)


def _smaller(left: Dim, right: Dim) -> bool:
    """Whether the left product must grow to reach the right one (a guess for symbolic sizes)."""
    if is_static(left) and is_static(right):
        return int(left) < int(right)
    import sympy

    ratio = sympy.cancel(sympy.sympify(right) / sympy.sympify(left))
    return bool(ratio.is_polynomial() and ratio != 1)


def _merge_empty(groups: list[tuple[list[int], list[int]]]) -> list[tuple[list[int], list[int]]]:
    """Groups of size-one axes with nothing on the other side join their neighbour."""
    out: list[tuple[list[int], list[int]]] = []
    for a, b in groups:
        if out and (not a or not b or not out[-1][0] or not out[-1][1]):
            out[-1][0].extend(a)
            out[-1][1].extend(b)
        else:
            out.append((a, b))
    return out


def adjacent(at: Sequence[int], perm: Perm, dims: Sequence[Dim]) -> bool:
    """Whether nothing but axes of size one lies between physical positions."""
    return all(p in at or dims[perm[p]] == 1 for p in range(min(at), max(at) + 1))
