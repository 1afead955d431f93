"""Shapes: what they are, and arrays in other ones."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import mlx.core as mx
import sympy

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dims import FloorDiv, as_dim, dims_equal, is_static, product
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.onnx import lowers
from pytorch_to_mlx.lower.onnx._common import (
    Ints,
    array,
    axes_of,
    axis_of,
    call_as,
    dims_of,
    fresh,
    host,
    ints,
    shape_value,
    static,
    tagged,
)
from pytorch_to_mlx.lower.onnx._context import node
from pytorch_to_mlx.lower.onnx._dtypes import element_name, storage
from pytorch_to_mlx.lower.onnx._values import Known, known
from pytorch_to_mlx.lower.registry import Unsupported
from pytorch_to_mlx.ops.rearrange import reshape_by, squeeze_at, squeeze_to, tile_by, unsqueeze_at


@lowers("Shape")
def shape(data: Any, start: int = 0, end: int | None = None) -> Known:
    """Shape(T data, int start=0, int end) -> T1 shape"""
    return shape_value(tuple(dims_of(data))[slice(start, end)])


@lowers("Size")
def size(data: Any) -> Known:
    """Size(T data) -> T1 size"""
    return known(product(dims_of(data)))


@lowers("Reshape", since=5)
def reshape(data: Value, shape: Ints, allowzero: int = 0) -> Value:
    """Reshape(T data, int64 shape, int allowzero=0) -> T reshaped"""
    dims: list[Any] = list(shape)
    if not allowzero:
        dims = [data.dims[i] if is_static(d) and int(d) == 0 else d for i, d in enumerate(dims)]
    unknown = [i for i, d in enumerate(dims) if is_static(d) and int(d) == -1]
    if len(unknown) == 1:
        rest = product([d for i, d in enumerate(dims) if i != unknown[0]])
        total = product(data.dims)
        if static(rest) and int(rest) == 0:
            dims[unknown[0]] = 0
        else:
            dims[unknown[0]] = _quotient(total, rest)
    if all(_is_input_size(d) for d in dims):
        return call(mx.reshape, data, tuple(as_dim(d) for d in dims))
    result = tuple(d if is_static(d) else fresh() for d in dims)
    fn = mx.reshape if allowzero else reshape_by  # what is read may be 0 or -1
    return call_as(fn, [(result, data.dtype)], data, tuple(dims))


def _quotient(total: Any, rest: Any) -> Any:
    if static(total, rest):
        return int(total) // int(rest)
    exact = sympy.cancel(sympy.sympify(total) / sympy.sympify(rest))
    if exact.is_polynomial() and all(c.is_Integer for c in _coefficients(exact)):
        return as_dim(sympy.expand(exact))
    return as_dim(FloorDiv(sympy.sympify(total), sympy.sympify(rest)))


def _coefficients(e: Any) -> list[Any]:
    return [term.as_coeff_Mul()[0] for term in sympy.Add.make_args(sympy.expand(e))]


def _is_input_size(d: Any) -> bool:
    """Whether a size is known to be one; numbers read from arrays may be 0 or -1."""
    return is_static(d) or bool(d.is_positive or d.is_nonnegative or _of_sizes(d))


def _of_sizes(d: Any) -> bool:
    return all(s.is_positive for s in d.free_symbols)


@lowers("Reshape")
def reshape_1(data: Value, shape: tuple[int, ...], consumed_inputs: Any = None) -> Value:
    """Reshape(T data, ints shape) -> T reshaped"""
    return reshape(data, shape)


@lowers("Flatten")
def flatten(input: Value, axis: int = 1) -> Value:
    """Flatten(T input, int axis=1) -> T output"""
    at = axis + input.ndim if axis < 0 else axis
    dims = input.dims
    return call(mx.reshape, input, (product(dims[:at]), product(dims[at:])))


@lowers("Transpose")
def transpose(data: Value, perm: tuple[int, ...] | None = None) -> Value:
    """Transpose(T data, ints perm) -> T transposed"""
    order = tuple(reversed(range(data.ndim))) if perm is None else axes_of(perm, data.ndim)
    if order == tuple(range(data.ndim)):
        return data
    return call(mx.transpose, data, order)


@lowers("Squeeze")
def squeeze(data: Value, axes: Ints | None = None) -> Value:
    """Squeeze(T data, int64? axes) -> T squeezed"""
    if axes is None:
        if not static(*data.dims):  # the rank is that for dynamic sizes above 1
            rest = tuple(d for d in data.dims if not (is_static(d) and int(d) == 1))
            return call_as(squeeze_to, [(rest, data.dtype)], data, len(rest))
        axes = tuple(i for i, d in enumerate(data.dims) if int(d) == 1)
    if not all(is_static(a) for a in axes):
        dims = tuple(fresh() for _ in range(data.ndim - len(axes)))
        return call_as(squeeze_at, [(dims, data.dtype)], data, axes)
    at = axes_of(axes, data.ndim)
    return call(mx.squeeze, data, at[0] if len(at) == 1 else at) if at else data


@lowers("Unsqueeze")
def unsqueeze(data: Value, axes: Ints) -> Value:
    """Unsqueeze(T data, int64 axes) -> T expanded"""
    rank = data.ndim + len(axes)
    if not all(is_static(a) for a in axes):
        dims = tuple(fresh() for _ in range(rank))
        return call_as(unsqueeze_at, [(dims, data.dtype)], data, axes)
    at = tuple(sorted(axes_of(axes, rank)))
    return call(mx.expand_dims, data, at[0] if len(at) == 1 else at) if at else data


@lowers("Concat")
def concat(*inputs: Value, axis: int = 1) -> Value:
    """Concat(T inputs..., int axis) -> T concat_result"""
    if len(inputs) == 1:
        return inputs[0]
    return call(mx.concatenate, inputs, axis=axis)


def parts_at(x: Value, sizes: tuple[Any, ...], axis: int) -> tuple[Value, ...]:
    """Consecutive parts along an axis."""
    if len(sizes) == 1:
        return (x,)
    first = sizes[0]
    if static(*sizes) and all(int(s) == int(first) for s in sizes):
        return tuple(call(mx.split, x, len(sizes), axis=axis))
    edges: list[Any] = []
    for s in sizes[:-1]:
        edges.append(as_dim((edges[-1] if edges else 0) + s))
    dims = x.dims
    results = [((*dims[:axis], s, *dims[axis + 1 :]), x.dtype) for s in sizes]
    return tuple(call_as(mx.split, results, x, tuple(edges), axis=axis))


@lowers("Split", since=13)
def split(
    input: Value, split: Ints | None = None, axis: int = 0, num_outputs: int | None = None
) -> tuple[Value, ...]:
    """Split(T input, int64? split, int axis=0, int num_outputs) -> T outputs..."""
    at = axis_of(axis, input.ndim)
    if split is not None:
        return parts_at(input, split, at)
    count = num_outputs or len(node().wanted)
    if count != len(node().wanted):
        raise Unsupported(f"{len(node().wanted)} outputs where num_outputs is {count}")
    size = input.dims[at]
    part = -(-size // count) if isinstance(size, int) else -FloorDiv(-size, count)
    if not isinstance(size, int):
        return parts_at(input, (*[part] * (count - 1), as_dim(size - part * (count - 1))), at)
    edges = [min(i * part, size) for i in range(count + 1)]
    return parts_at(input, tuple(b - a for a, b in pairwise(edges)), at)


@lowers("Split")
def split_1(input: Value, split: tuple[int, ...] | None = None, axis: int = 0) -> tuple[Value, ...]:
    """Split(T input, ints split, int axis=0) -> T outputs..."""
    out: tuple[Value, ...] = _split(input, split, axis)
    return out


def _split(input: Value, sizes: Any, axis: int) -> Any:
    if sizes is not None:
        return parts_at(input, tuple(sizes), axis_of(axis, input.ndim))
    parts = call(mx.split, input, len(node().wanted), axis=axis)
    return parts if isinstance(parts, tuple) else (parts,)


@lowers("Expand")
def expand(input: Value, shape: Ints) -> Value:
    """Expand(T input, int64 shape) -> T output; sizes broadcast both ways."""
    dims, have = list(shape), list(input.dims)
    rank = max(len(dims), len(have))
    dims = [1] * (rank - len(dims)) + dims
    have = [1] * (rank - len(have)) + have
    target: list[Any] = []
    for want, size in zip(dims, have, strict=True):
        if is_static(want) and int(want) == 1:
            target.append(size)
        elif (is_static(size) and int(size) == 1) or dims_equal(want, size) or is_static(want):
            target.append(want)
        else:
            target.append(sympy.Max(want, size))
    if dims_equal_all(target, input.dims):
        return input
    if all(is_static(d) or _of_sizes(d) for d in target):
        return call(mx.broadcast_to, input, tuple(target))
    sizes = tuple(d if is_static(d) else fresh() for d in target)
    return call_as(mx.broadcast_to, [(sizes, input.dtype)], input, tuple(target))


def dims_equal_all(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(dims_equal(x, y) for x, y in zip(a, b, strict=True))


@lowers("Tile", since=6)
def tile(input: Value, repeats: Ints) -> Value:
    """Tile(T input, int64 repeats) -> T output"""
    if all(is_static(r) for r in repeats):
        return call(mx.tile, input, tuple(int(r) for r in repeats))
    dims = tuple(fresh() for _ in input.dims)
    return call_as(tile_by, [(dims, input.dtype)], input, repeats)


@lowers("Range")
def range_(start: Any, limit: Any, delta: Any) -> Value:
    """Range(T start, T limit, T delta) -> T output"""
    given = [x.item() if isinstance(x, Known) else None for x in (start, limit, delta)]
    dtype = storage(start.element) if isinstance(start, Known) else DType(str(start.dtype))
    if all(g is not None for g in given):
        a, b, d = given
        if d == 1 and all(isinstance(g, (int, sympy.Expr)) for g in given):
            begin = () if a == 0 else (a,)
            return call(mx.arange, *begin, b, dtype=dtype)
    kind = "float" if dtype.is_floating else "int"
    bounds = [
        g if g is not None else host(array(x), kind)
        for g, x in zip(given, (start, limit, delta), strict=True)
    ]
    return call_as("ops.range_of", [((fresh(),), dtype)], *bounds, dtype)


@lowers("ConstantOfShape")
def constant_of_shape(input: Ints, value: Known | None = None) -> Value:
    """ConstantOfShape(int64 input, tensor value=0) -> T output"""
    element = "float32" if value is None else value.element
    fill = 0 if value is None else value.item()
    dtype = storage(element)
    dims = tuple(d if is_static(d) or _of_sizes(d) else fresh() for d in input)
    args: tuple[Any, ...] = (input, DType(dtype)) if fill in (0, 1) else (input, fill)
    fn = mx.zeros if fill == 0 else mx.ones if fill == 1 else mx.full
    more = {} if fill in (0, 1) else {"dtype": DType(dtype)}
    return tagged(call_as(fn, [(dims, dtype)], *args, **more), element)


@lowers("EyeLike")
def eye_like(input: Value, dtype: int | None = None, k: int = 0) -> Value:
    """EyeLike(T1 input, int dtype, int k=0) -> T2 output"""
    kind = str(input.dtype) if dtype is None else storage(element_name(dtype))
    rows, columns = input.dims
    if kind == "bool":
        return call(mx.eye, rows, columns, k).astype(DType("bool"))
    return call(mx.eye, rows, columns, k, dtype=DType(kind))


@lowers("DepthToSpace")
def depth_to_space(input: Value, blocksize: int, mode: str = "DCR") -> Value:
    """DepthToSpace(T input, int blocksize, string mode="DCR") -> T output"""
    b, (n, c, h, w) = blocksize, input.dims
    if mode == "DCR":
        split, order = (n, b, b, c // b**2, h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, order = (n, c // b**2, b, b, h, w), (0, 1, 4, 2, 5, 3)
    return input.reshape(*split).transpose(*order).reshape(n, c // b**2, h * b, w * b)


@lowers("SpaceToDepth")
def space_to_depth(input: Value, blocksize: int, mode: str = "DCR") -> Value:
    """SpaceToDepth(T input, int blocksize, string mode="DCR") -> T output"""
    b, (n, c, h, w) = blocksize, input.dims
    rows, columns = FloorDiv(sympy.sympify(h), b), FloorDiv(sympy.sympify(w), b)
    split = input.reshape(n, c, as_dim(rows), b, as_dim(columns), b)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return split.transpose(*order).reshape(n, c * b**2, as_dim(rows), as_dim(columns))


@lowers("Trilu")
def trilu(input: Value, k: Any = None, upper: int = 1) -> Value:
    """Trilu(T input, int64? k, int upper=1) -> T output"""
    (at,) = (0,) if k is None else ints(k)
    return call(mx.triu if upper else mx.tril, input, *(() if at == 0 else (at,)))
