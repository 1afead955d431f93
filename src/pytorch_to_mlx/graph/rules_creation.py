"""Inference rules of calls that create arrays and of indexing."""

from __future__ import annotations

import math
from typing import Any

from pytorch_to_mlx.graph.dims import Dim, FloorDiv, as_dim, is_static
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.infer import rule
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.graph.rules import broadcast, weak_dtype


@rule("mx.zeros", "mx.ones")
def _zeros(shape: tuple[Dim, ...], dtype: str = "float32") -> Any:
    return shape, DType(dtype)


@rule("mx.zeros_like", "mx.ones_like")
def _zeros_like(a: Value) -> Any:
    return a.dims, a.dtype


@rule("mx.full")
def _full(shape: tuple[Dim, ...], value: Any, dtype: str | None = None) -> Any:
    return shape, DType(dtype or weak_dtype(value, None))


@rule("mx.array")
def _array(value: Any, dtype: str | None = None) -> Any:
    shape: list[int] = []
    leaf = value
    while isinstance(leaf, tuple):
        shape.append(len(leaf))
        leaf = leaf[0] if leaf else 0.0
    name = dtype or (
        "bool" if isinstance(leaf, bool) else "int32" if isinstance(leaf, int) else "float32"
    )
    return tuple(shape), DType(name)


@rule("mx.arange")
def _arange(*args: Any, dtype: str | None = None) -> Any:
    start, stop, step = (
        (0, args[0], 1) if len(args) == 1 else (*args, 1) if len(args) == 2 else args
    )
    if any(isinstance(a, float) for a in (start, stop, step)) or isinstance(step, Value):
        size: Any = max(0, math.ceil((stop - start) / step))
    elif step == 1:
        size = stop - start
    else:
        size = (
            -FloorDiv(-(stop - start), step)
            if not all(isinstance(a, int) for a in args)
            else len(range(start, stop, step))
        )
    is_float = any(isinstance(a, float) for a in args)
    return (as_dim(size) if not isinstance(size, int) else max(size, 0),), DType(
        dtype or ("float32" if is_float else "int32")
    )


@rule("mx.linspace")
def _linspace(start: Any, stop: Any, num: Dim = 50, dtype: str = "float32") -> Any:
    return (num,), DType(dtype)


@rule("mx.eye")
def _eye(n: Dim, m: Dim | None = None, k: int = 0, dtype: str = "float32") -> Any:
    return (n, n if m is None else m), DType(dtype)


@rule("mx.tri")
def _tri(n: Dim, m: Dim | None = None, k: int = 0, dtype: str = "float32") -> Any:
    return (n, n if m is None else m), DType(dtype)


def _bound(value: Any, size: Dim, default: Dim) -> Dim:
    """A slice bound clamped to ``[0, size]``; symbolic bounds are taken to be in range."""
    if value is None:
        return default
    if is_static(value):
        v = int(value)
        if v < 0:
            return max(0, int(size) + v) if is_static(size) else as_dim(size + v)
        return min(v, int(size)) if is_static(size) else v
    return as_dim(value)


def sliced(size: Dim, s: slice) -> Dim:
    """The size of ``range(size)[s]`` for a positive step."""
    step = 1 if s.step is None else s.step
    if is_static(step) and int(step) < 0:
        if is_static(size) and all(b is None or is_static(b) for b in (s.start, s.stop)):
            return len(range(int(size))[s])
        if s.start is None and s.stop is None:
            return size if int(step) == -1 else as_dim(-FloorDiv(-size, -step))
        raise ValueError("a negative step needs known bounds")
    start, stop = _bound(s.start, size, 0), _bound(s.stop, size, size)
    length = (
        as_dim(stop - start)
        if not (is_static(start) and is_static(stop))
        else max(0, int(stop) - int(start))
    )
    return (
        length
        if step == 1
        else (-(-length // step) if is_static(length) else as_dim(-FloorDiv(-length, step)))
    )


@rule("getitem")
def _getitem(a: Value, index: tuple[Any, ...]) -> Any:
    used = sum(1 for i in index if i is not None and i is not Ellipsis)
    out: list[Dim] = []
    arrays: list[tuple[Dim, ...]] = []
    first_array, split, axis = -1, False, 0
    for i in index:
        if i is None:
            out.append(1)
        elif i is Ellipsis:
            skip = a.ndim - used
            out.extend(a.dims[axis : axis + skip])
            axis += skip
        elif isinstance(i, slice):
            out.append(sliced(a.dims[axis], i))
            axis += 1
        elif isinstance(i, Value) and i.kind == "array":
            if first_array >= 0 and first_array != len(out):
                split = True
            first_array = len(out) if first_array < 0 else first_array
            arrays.append(i.dims)
            axis += 1
        else:
            axis += 1
    out.extend(a.dims[axis:])
    if arrays:
        at = 0 if split else first_array
        out[at:at] = broadcast(*arrays)
    return tuple(out), a.dtype
