"""Reductions, softmax, extremes and their places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dims import is_static, product
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower._precision import in_single, softmax_along
from pytorch_to_mlx.lower.onnx import lowers
from pytorch_to_mlx.lower.onnx._common import (
    Ints,
    axes_of,
    axis_of,
    call_as,
    cast,
    fresh,
    getitem,
    is_float,
)
from pytorch_to_mlx.ops.activations import log_softmax
from pytorch_to_mlx.ops.empty import logsumexp_of_any, max_of_any, min_of_any
from pytorch_to_mlx.ops.ordering import sorted_first

Reduction = Callable[[Value, dict[str, Any]], Value]


def reduced(x: Value, axes: Any, keepdims: int, noop: int, fn: Reduction) -> Value:
    """Applies a reduction over ONNX's axes: none means all, or nothing with ``noop``."""
    if not axes:
        if noop:
            return fn(x, {"axis": ()})
        options: dict[str, Any] = {}
    elif all(is_static(a) for a in axes):
        at = axes_of(axes, x.ndim)
        options = {"axis": at[0] if len(at) == 1 else at}
    else:
        return _moving(x, tuple(axes), keepdims, fn)
    if x.ndim == 0:
        options = {}
    return fn(x, {**options, **({"keepdims": True} if keepdims else {})})


def _moving(x: Value, axes: tuple[Any, ...], keepdims: int, fn: Reduction) -> Value:
    """A reduction over axes that only the running model knows: they are moved to the end first."""
    rank, count = x.ndim, len(axes)
    dims = tuple(fresh() for _ in range(rank))
    moved = call_as("ops.axes_last", [(dims, x.dtype)], x, axes)
    y = _TAKES_EMPTY.get(fn, fn)(moved, {"axis": tuple(range(rank - count, rank))})
    if not keepdims:
        return y
    out = tuple(fresh() for _ in range(rank))
    return call_as("ops.unsqueeze_at", [(out, y.dtype)], y, axes)


def _same_dtype(fn: Callable[..., Any]) -> Reduction:
    def run(x: Value, options: dict[str, Any]) -> Value:
        return x if options.get("axis") == () else cast(call(fn, x, **options), str(x.dtype))

    return run


def _extreme(fn: Callable[..., Any], empty_low: bool) -> Reduction:
    def run(x: Value, options: dict[str, Any]) -> Value:
        if options.get("axis") == ():
            return x
        if x.dtype == "bool":
            return call(mx.any if empty_low else mx.all, x, **options)
        axis = options.get("axis")
        axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        if any(is_static(x.dims[a]) and int(x.dims[a]) == 0 for a in axes):
            return _empty_extreme(x, list(axes), options, empty_low)
        return call(fn, x, **options)

    return run


def _empty_extreme(x: Value, axes: list[int], options: dict[str, Any], low: bool) -> Value:
    """The extreme of nothing: the smallest (or largest) value of the type."""
    keep = options.get("keepdims")
    dims = [1 if i in axes else d for i, d in enumerate(x.dims) if keep or i not in axes]
    dtype = DType(str(x.dtype))
    return call(mx.full, tuple(dims), extreme_of(dtype, low), dtype=dtype)


def extreme_of(dtype: DType, low: bool) -> Any:
    """The smallest (or largest) value of a type."""
    if dtype.is_floating:
        return float("-inf") if low else float("inf")
    bits, unsigned = 8 * dtype.size, dtype.startswith("uint")
    if low:
        return 0 if unsigned else -(2 ** (bits - 1))
    return 2**bits - 1 if unsigned else 2 ** (bits - 1) - 1


def _of_any(fn: Callable[..., Any], low: bool) -> Reduction:
    """A reduction of an array that may turn out empty when the model runs."""

    def run(x: Value, options: dict[str, Any]) -> Value:
        if x.dtype == "bool":
            return call(mx.any if low else mx.all, x, **options)
        dims = x.dims[: x.ndim - len(options["axis"])]
        empty = extreme_of(DType(str(x.dtype)), low)
        out: Value = call_as(fn, [(dims, x.dtype)], x, len(options["axis"]), empty)
        return out

    return run


def _sum(x: Value, options: dict[str, Any]) -> Value:
    return _same_dtype(mx.sum)(x, options)


_REDUCE: dict[str, Reduction] = {
    "ReduceSum": _sum,
    "ReduceMean": lambda x, o: in_single(x, lambda wide: _same_dtype(mx.mean)(wide, o)),
    "ReduceProd": _same_dtype(mx.prod),
    "ReduceMax": _extreme(mx.max, True),
    "ReduceMin": _extreme(mx.min, False),
    "ReduceL1": lambda x, o: _sum(call(mx.abs, x), o),
    "ReduceL2": lambda x, o: in_single(x, lambda wide: _root(_sum(call(mx.square, wide), o))),
    "ReduceSumSquare": lambda x, o: _sum(call(mx.square, x), o),
    "ReduceLogSum": lambda x, o: _logged(_sum(x, o)),
    "ReduceLogSumExp": lambda x, o: _log_sum_exp(x, o),
}


def _root(x: Value) -> Value:
    return call(mx.sqrt, x) if is_float(x) else cast(call(mx.sqrt, x), str(x.dtype))


def _logged(x: Value) -> Value:
    return call(mx.log, x) if is_float(x) else cast(call(mx.log, x), str(x.dtype))


def _log_sum_exp(x: Value, options: dict[str, Any]) -> Value:
    if options.get("axis") == ():
        return x
    return cast(call(mx.logsumexp, x, **options), str(x.dtype))


def _takes_empty() -> dict[Reduction, Reduction]:
    functions = {
        "ReduceMax": _of_any(max_of_any, True),
        "ReduceMin": _of_any(min_of_any, False),
        "ReduceLogSumExp": _of_any(logsumexp_of_any, True),
    }
    return {_REDUCE[name]: fn for name, fn in functions.items()}


#: Those that MLX refuses for empty arrays, with what takes them.
_TAKES_EMPTY = _takes_empty()


def _register(name: str, fn: Reduction) -> None:
    @lowers(name)
    def lowering(
        data: Value, axes: Ints | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Value:
        return reduced(data, axes, keepdims, noop_with_empty_axes, fn)

    lowering.__doc__ = f"{name}(T data, int64? axes, int keepdims=1) -> T reduced"


for _name, _fn in _REDUCE.items():
    _register(_name, _fn)


# -- softmax ---------------------------------------------------------------------------------------


def _softmax(x: Value, axis: int) -> Value:
    return softmax_along(x, axis)


def _log_softmax(x: Value, axis: int) -> Value:
    # Not nn.log_softmax, which breaks when a size changes.
    return in_single(x, lambda wide: call(log_softmax, wide, axis=axis))


def _hardmax(x: Value, axis: int) -> Value:
    places = call(mx.expand_dims, call(mx.argmax, x, axis=axis), axis)
    steps = call(mx.arange, x.dims[axis], dtype=DType("uint32"))
    steps = steps.reshape(x.dims[axis], *(1,) * (x.ndim - 1 - axis))
    return cast(call(mx.equal, places, steps), str(x.dtype))


_ALONG: dict[str, Callable[[Value, int], Value]] = {
    "Softmax": _softmax,
    "LogSoftmax": _log_softmax,
    "Hardmax": _hardmax,
}


def _register_along(name: str, fn: Callable[[Value, int], Value]) -> None:
    @lowers(name, since=13)
    def lowering(input: Value, axis: int = -1) -> Value:
        return fn(input, axis_of(axis, input.ndim))

    @lowers(name)
    def flattened(input: Value, axis: int = 1) -> Value:
        """Before opset 13: over all axes from ``axis`` on together."""
        at = axis_of(axis, input.ndim)
        if at == input.ndim - 1:
            return fn(input, at)
        flat = call(mx.reshape, input, (product(input.dims[:at]), product(input.dims[at:])))
        return call(mx.reshape, fn(flat, 1), input.dims)

    lowering.__doc__ = f"{name}(T input, int axis=-1) -> T output"


for _name, _along in _ALONG.items():
    _register_along(_name, _along)


# -- places ----------------------------------------------------------------------------------------


def _place(data: Value, axis: int, keepdims: int, last: int, fn: Callable[..., Any]) -> Value:
    at = axis_of(axis, data.ndim)
    keep = {"keepdims": True} if keepdims else {}
    if not last:
        return cast(call(fn, data, axis=at, **keep), "int64")
    key = (*(slice(None),) * at, slice(None, None, -1))
    found = cast(call(fn, getitem(data, *key), axis=at, **keep), "int64")
    return (data.dims[at] - 1) - found


def _register_place(name: str, fn: Callable[..., Any]) -> None:
    @lowers(name)
    def lowering(
        data: Value, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
    ) -> Value:
        return _place(data, axis, keepdims, select_last_index, fn)

    lowering.__doc__ = f"{name}(T data, int axis=0, int keepdims=1) -> int64 reduced"


_register_place("ArgMax", mx.argmax)
_register_place("ArgMin", mx.argmin)


@lowers("TopK", since=10)
def top_k(X: Value, K: Ints, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    """TopK(T X, int64 K, int axis=-1, int largest=1, int sorted=1) -> (T Values, int64 Indices)"""
    (count,) = K
    at = axis_of(axis, X.ndim)
    size = count if is_static(count) else fresh("count")
    dims = tuple(size if i == at else d for i, d in enumerate(X.dims))
    extra = () if largest else (False,)
    return call_as(sorted_first, [(dims, str(X.dtype)), (dims, "int64")], X, count, at, *extra)


@lowers("TopK")
def top_k_1(X: Value, axis: int = -1, k: int = 1) -> Any:
    """TopK(T X, int axis=-1, int k) -> (T Values, int64 Indices)"""
    return top_k(X, (k,), axis)


@lowers("CumSum")
def cum_sum(x: Value, axis: Ints, exclusive: int = 0, reverse: int = 0) -> Value:
    """CumSum(T x, T2 axis, int exclusive=0, int reverse=0) -> T y"""
    return _cumulative(mx.cumsum, x, axis, exclusive, reverse)


@lowers("CumProd")
def cum_prod(x: Value, axis: Ints, exclusive: int = 0, reverse: int = 0) -> Value:
    """CumProd(T x, T2 axis, int exclusive=0, int reverse=0) -> T y"""
    return _cumulative(mx.cumprod, x, axis, exclusive, reverse)


def _cumulative(fn: Any, x: Value, axis: Any, exclusive: int, reverse: int) -> Value:
    (at,) = axis
    at = axis_of(at, x.ndim)
    options: dict[str, Any] = {"axis": at}
    if reverse:
        options["reverse"] = True
    if exclusive:
        options["inclusive"] = False

    def run(wide: Value) -> Value:
        return cast(call_as(fn, [(x.dims, str(wide.dtype))], wide, **options), str(wide.dtype))

    return in_single(x, run)
