"""Moving an array's axes with the cheapest call."""

from __future__ import annotations

from pytorch_to_mlx.graph import Value, is_static
from pytorch_to_mlx.passes.layout.permutations import Perm, is_identity, permuted


def transposed(x: Value, axes: Perm) -> Value:
    """A transpose; a reshape where it only moves axes of size one."""
    moving = [a for a in axes if not (is_static(x.dims[a]) and int(x.dims[a]) == 1)]
    if is_identity(axes):
        return x
    if moving == sorted(moving) and sum(not is_static(d) for d in x.dims) <= 1:
        return x.reshape(*permuted(x.dims, axes))
    return x.transpose(*axes)


def same_up_to_ones(source: Value, own: Perm, perm: Perm) -> bool:
    """Whether two orders of an array's axes differ only in where axes of size one stand."""
    big = {own[i] for i, d in enumerate(source.dims) if d != 1}
    return [p for p in own if p in big] == [p for p in perm if p in big]


def without_leading_ones(v: Value) -> Value:
    """The array without axes of one element before the others; it broadcasts as before."""
    ones = 0
    while ones < v.ndim - 1 and v.dims[ones] == 1:
        ones += 1
    return v.reshape(*v.dims[ones:]) if ones else v
