"""What the families share: torch's promotion of operands, axes, and numbers."""

from __future__ import annotations

from functools import cache
from typing import Any

import sympy

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.dims import Dim, dims_equal, product
from pytorch_to_mlx.graph.dtypes import DType, promote
from pytorch_to_mlx.graph.ir import Value

_KIND_DTYPE = {bool: "bool", int: "int64", float: "float32", complex: "complex64"}


def is_array(a: Any) -> bool:
    return isinstance(a, Value) and a.kind == "array"


def number_kind(a: Any) -> type:
    """``bool``, ``int``, ``float`` or ``complex`` of a Python number,
    size expression or host value."""
    if isinstance(a, Value):
        return {"int": int, "float": float, "bool": bool}[a.kind]
    if isinstance(a, sympy.Basic):
        if isinstance(a, (sympy.logic.boolalg.Boolean, sympy.Rel)):
            return bool
        return int if a.is_integer else float
    return type(a)


@cache
def promote_types(a: str, b: str) -> DType:
    """``torch.promote_types`` by MLX's names."""
    import torch

    if a == b:
        return DType(a)
    out = torch.promote_types(getattr(torch, a), getattr(torch, b))
    return DType(str(out).removeprefix("torch.").replace("complex32", "complex64"))


def _combine(higher: str | None, lower: str | None) -> str | None:
    """torch's rule for operands of two priorities: the lower one only decides the kind."""
    if higher is None or lower is None:
        return higher or lower
    high, low = DType(higher), DType(lower)
    if high.is_complex or (high.is_floating and not low.is_complex):
        return high
    if high.is_floating:
        return "complex64"
    if high == "bool" or low.is_floating or low.is_complex:
        return promote_types(high, low)
    return high


def result_type(*operands: Any) -> DType:
    """The dtype torch computes in: arrays decide, then 0-D arrays, then Python numbers."""
    ranks: list[str | None] = [None, None, None]
    for a in operands:
        if a is None:
            continue
        if is_array(a):
            at, dtype = (0 if a.ndim else 1), str(a.dtype)
        else:
            at, dtype = 2, _KIND_DTYPE[number_kind(a)]
        seen = ranks[at]
        ranks[at] = dtype if seen is None else promote_types(seen, dtype)
    out = _combine(_combine(ranks[0], ranks[1]), ranks[2])
    return DType(out or "float32")


def _mlx_type(operands: tuple[Any, ...]) -> str:
    """The dtype MLX would compute in, were the operands given as they are."""
    arrays = [a for a in operands if is_array(a)]
    out = str(arrays[0].dtype)
    for a in arrays[1:]:
        out = promote(out, str(a.dtype))
    for a in operands:
        if a is None or is_array(a):
            continue
        kind = number_kind(a)
        if kind is complex:
            out = "complex64"
        elif kind is float and not DType(out).is_floating and not DType(out).is_complex:
            out = "float32"
        elif kind is int and out == "bool":
            out = "int32"
    return out


def align(*operands: Any, dtype: str | None = None) -> tuple[Any, ...]:
    """The operands, cast where MLX would otherwise compute in another dtype than torch.

    ``None`` operands stay. Numbers beyond an integer dtype wrap, as torch wraps them.
    """
    want = DType(dtype or result_type(*operands))
    if any(is_array(a) for a in operands) and _mlx_type(operands) != want:
        operands = tuple(a.astype(want) if is_array(a) else a for a in operands)
    if want.is_integer:
        span = 2 ** (8 * want.size)
        least = 0 if want.startswith("uint") else -span // 2
        operands = tuple(
            (int(a) - least) % span + least if type(a) in (bool, int) else a for a in operands
        )
    return operands


def as_array(a: Any, dtype: str | None = None) -> Value:
    """An array of a number, in torch's dtype for it."""
    if is_array(a):
        return a if dtype is None else a.astype(DType(dtype))
    return call("mx.array", a, dtype=DType(dtype or _KIND_DTYPE[number_kind(a)]))


def to_float(x: Value) -> Value:
    """Integers and bools as float32; the rest as it is."""
    dtype = DType(str(x.dtype))
    return x if dtype.is_floating or dtype.is_complex else x.astype(DType("float32"))


def is_float(x: Value) -> bool:
    return DType(str(x.dtype)).is_floating


def is_complex(x: Value) -> bool:
    return DType(str(x.dtype)).is_complex


def positive(axis: int, rank: int) -> int:
    """The axis counted from the front; a 0-D array counts as 1-D."""
    return axis % max(rank, 1)


def axes_of(dim: Any, rank: int, *, empty_is_all: bool = True) -> int | tuple[int, ...] | None:
    """MLX's ``axis`` for torch's ``dim``: ``None`` for all, an int for one."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim and empty_is_all):
        return None
    if rank == 0:
        return None
    if isinstance(dim, (tuple, list)):
        return dim[0] if len(dim) == 1 else tuple(dim)
    return dim


def reduction(axis: Any, keepdim: bool) -> dict[str, Any]:
    """Keyword arguments of a reduction, without those that say nothing."""
    out: dict[str, Any] = {} if axis is None else {"axis": axis}
    if keepdim:
        out["keepdims"] = True
    return out


def count(x: Value, dim: Any) -> Dim:
    """How many elements a reduction over ``dim`` takes together."""
    axis = axes_of(dim, x.ndim)
    if axis is None:
        return product(x.dims)
    return product(x.dims[a] for a in ((axis,) if isinstance(axis, int) else axis))


def same_shape(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> bool:
    return len(a) == len(b) and all(dims_equal(x, y) for x, y in zip(a, b, strict=True))


def key(rank: int, axis: int, *index: Any) -> tuple[Any, ...]:
    """A subscript for one axis: ``x[:, i]``, or ``x[..., i]`` for the last of several."""
    axis = positive(axis, rank)
    if axis == rank - 1 and rank > 2:
        return (Ellipsis, *index)
    return (slice(None),) * axis + index


def getitem(x: Value, *index: Any) -> Value:
    return call("getitem", x, tuple(index))
