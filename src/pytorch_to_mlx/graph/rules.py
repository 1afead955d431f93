"""Inference rules of the MLX functions that lowerings and passes call."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from pytorch_to_mlx.graph.dims import Dim, FloorDiv, as_dim, dims_equal, is_static, product
from pytorch_to_mlx.graph.dtypes import DType, promote
from pytorch_to_mlx.graph.infer import rule
from pytorch_to_mlx.graph.ir import Value

_UNARY_FLOAT = (
    "exp expm1 log log2 log10 log1p sqrt rsqrt sin cos tan sinh cosh tanh arcsin arccos arctan "
    "arcsinh arccosh arctanh sigmoid erf erfinv"
).split()
_UNARY_SAME = "negative floor ceil round sign square conjugate stop_gradient bitwise_invert".split()
_UNARY_BOOL = "isnan isinf isfinite isneginf isposinf logical_not".split()
_BINARY = (
    "add subtract multiply maximum minimum power floor_divide remainder bitwise_and bitwise_or "
    "bitwise_xor left_shift right_shift"
).split()
_BINARY_FLOAT = "divide logaddexp arctan2".split()
_BINARY_BOOL = (
    "equal not_equal less less_equal greater greater_equal logical_and logical_or"
).split()
_NN_SAME = (
    "relu relu6 silu gelu gelu_approx gelu_fast_approx sigmoid tanh elu selu celu leaky_relu "
    "softplus softsign mish hardswish hard_tanh log_sigmoid hard_shrink softshrink softmax "
    "log_softmax log_softmin softmin step"
).split()


def broadcast(*shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The broadcast shape.

    Raises:
        ValueError: two sizes at one axis are different known numbers, neither of them 1.
    """
    rank = max((len(s) for s in shapes), default=0)
    out: list[Dim] = []
    for axis in range(rank):
        size: Dim = 1
        for s in shapes:
            at = axis - (rank - len(s))
            if at < 0 or (is_static(s[at]) and int(s[at]) == 1):
                continue
            if is_static(size) and int(size) == 1:
                size = s[at]
            elif not dims_equal(size, s[at]):
                if is_static(size) and is_static(s[at]):
                    raise ValueError(f"shapes {shapes} do not broadcast")
                size = s[at] if is_static(s[at]) else size
        out.append(size)
    return tuple(out)


def _shape(a: Any) -> tuple[Dim, ...]:
    return a.dims if isinstance(a, Value) and a.kind == "array" else ()


def weak_dtype(a: Any, other: Any) -> str:
    """Dtype of an operand; Python scalars adapt to the other one."""
    if isinstance(a, Value) and a.kind == "array":
        return str(a.dtype)
    base = str(other.dtype) if isinstance(other, Value) and other.kind == "array" else "int32"
    is_float = isinstance(a, float) or (isinstance(a, Value) and a.kind == "float")
    if is_float and not DType(base).is_floating and not DType(base).is_complex:
        return "float32"
    if base == "bool" and not isinstance(a, bool):
        return "int32"
    return base


def _float(dtype: str) -> str:
    return dtype if DType(dtype).is_floating or DType(dtype).is_complex else "float32"


@rule(*(f"mx.{n}" for n in _UNARY_FLOAT))
def _unary_float(a: Value, **_: Any) -> Any:
    return a.dims, DType(_float(str(a.dtype)))


@rule(*(f"mx.{n}" for n in _UNARY_SAME), *(f"nn.{n}" for n in _NN_SAME))
def _unary_same(a: Value, *_: Any, **__: Any) -> Any:
    return a.dims, a.dtype


@rule(
    "mx.softmax",
    "mx.cumsum",
    "mx.cumprod",
    "mx.cummax",
    "mx.cummin",
    "mx.logcumsumexp",
    "mx.sort",
    "mx.roll",
)
def _along_axis(a: Value, *_: Any, **__: Any) -> Any:
    return a.dims, a.dtype


@rule(*(f"mx.{n}" for n in _UNARY_BOOL))
def _unary_bool(a: Value) -> Any:
    return a.dims, DType("bool")


@rule("mx.abs", "mx.real", "mx.imag")
def _abs(a: Value) -> Any:
    return a.dims, DType("float32") if a.dtype == "complex64" else a.dtype


@rule(*(f"mx.{n}" for n in _BINARY))
def _binary(a: Any, b: Any) -> Any:
    return broadcast(_shape(a), _shape(b)), promote(weak_dtype(a, b), weak_dtype(b, a))


@rule(*(f"mx.{n}" for n in _BINARY_FLOAT))
def _binary_float(a: Any, b: Any) -> Any:
    return broadcast(_shape(a), _shape(b)), DType(
        _float(promote(weak_dtype(a, b), weak_dtype(b, a)))
    )


@rule(*(f"mx.{n}" for n in _BINARY_BOOL))
def _binary_bool(a: Any, b: Any) -> Any:
    return broadcast(_shape(a), _shape(b)), DType("bool")


@rule("mx.where")
def _where(c: Value, a: Any, b: Any) -> Any:
    return broadcast(_shape(c), _shape(a), _shape(b)), promote(weak_dtype(a, b), weak_dtype(b, a))


@rule("mx.clip")
def _clip(a: Value, lo: Any = None, hi: Any = None) -> Any:
    dtype = str(a.dtype)
    for bound in (lo, hi):
        if bound is not None:
            dtype = promote(dtype, weak_dtype(bound, a))
    return broadcast(a.dims, _shape(lo), _shape(hi)), DType(dtype)


@rule("mx.astype")
def _astype(a: Value, dtype: str) -> Any:
    return a.dims, DType(dtype)


@rule("mx.view")
def _view(a: Value, dtype: str) -> Any:
    if DType(dtype).size != DType(str(a.dtype)).size:
        raise ValueError("only same-size views have a rule")
    return a.dims, DType(dtype)


@rule("mx.reshape")
def _reshape(a: Value, shape: tuple[Dim, ...]) -> Any:
    if -1 not in shape:
        return shape, a.dtype
    known = product(d for d in shape if d != -1)
    total = product(a.dims)
    missing = (
        total // known
        if isinstance(total, int) and isinstance(known, int)
        else as_dim(FloorDiv(total, known))
    )
    return tuple(missing if d == -1 else d for d in shape), a.dtype


@rule("mx.flatten")
def _flatten(a: Value, start_axis: int = 0, end_axis: int = -1) -> Any:
    start, end = start_axis % max(a.ndim, 1), end_axis % max(a.ndim, 1)
    return (*a.dims[:start], product(a.dims[start : end + 1]), *a.dims[end + 1 :]), a.dtype


@rule("mx.unflatten")
def _unflatten(a: Value, axis: int, shape: tuple[Dim, ...]) -> Any:
    axis %= a.ndim
    return (*a.dims[:axis], *shape, *a.dims[axis + 1 :]), a.dtype


@rule("mx.transpose")
def _transpose(a: Value, axes: tuple[int, ...] | None = None) -> Any:
    order = tuple(reversed(range(a.ndim))) if axes is None else tuple(x % a.ndim for x in axes)
    if sorted(order) != list(range(a.ndim)):
        raise ValueError(f"axes {axes} are no permutation of rank {a.ndim}")
    return tuple(a.dims[x] for x in order), a.dtype


@rule("mx.swapaxes")
def _swapaxes(a: Value, i: int, j: int) -> Any:
    order = list(a.dims)
    order[i], order[j] = order[j], order[i]
    return tuple(order), a.dtype


@rule("mx.expand_dims")
def _expand_dims(a: Value, axis: int | tuple[int, ...]) -> Any:
    axes = (axis,) if isinstance(axis, int) else axis
    rank = a.ndim + len(axes)
    at = {x % rank for x in axes}
    rest = iter(a.dims)
    return tuple(1 if i in at else next(rest) for i in range(rank)), a.dtype


@rule("mx.squeeze")
def _squeeze(a: Value, axis: int | tuple[int, ...] | None = None) -> Any:
    if axis is None:
        return tuple(d for d in a.dims if d != 1), a.dtype
    axes = {x % a.ndim for x in ((axis,) if isinstance(axis, int) else axis)}
    return tuple(d for i, d in enumerate(a.dims) if i not in axes), a.dtype


@rule("mx.broadcast_to")
def _broadcast_to(a: Value, shape: tuple[Dim, ...]) -> Any:
    return shape, a.dtype


@rule("mx.concatenate")
def _concatenate(arrays: tuple[Value, ...], axis: int = 0) -> Any:
    axis %= arrays[0].ndim
    total: Any = sum(v.dims[axis] for v in arrays)
    dtype = str(arrays[0].dtype)
    for v in arrays[1:]:
        dtype = promote(dtype, str(v.dtype))
    first = arrays[0].dims
    return (*first[:axis], as_dim(total), *first[axis + 1 :]), DType(dtype)


@rule("mx.stack")
def _stack(arrays: tuple[Value, ...], axis: int = 0) -> Any:
    axis %= arrays[0].ndim + 1
    first = arrays[0].dims
    return (*first[:axis], len(arrays), *first[axis:]), arrays[0].dtype


@rule("mx.split")
def _split(a: Value, parts: int | tuple[int, ...], axis: int = 0) -> Any:
    axis %= a.ndim
    size = a.dims[axis]
    if isinstance(parts, int):
        each = size // parts if isinstance(size, int) else as_dim(FloorDiv(size, parts))
        sizes: list[Any] = [each] * parts
    else:
        edges: list[Any] = [0, *parts, size]
        sizes = [as_dim(b - a) for a, b in pairwise(edges)]
    return [((*a.dims[:axis], s, *a.dims[axis + 1 :]), a.dtype) for s in sizes]


@rule("mx.repeat")
def _repeat(a: Value, repeats: Dim, axis: int | None = None) -> Any:
    if axis is None:
        return (as_dim(product(a.dims) * repeats),), a.dtype
    axis %= a.ndim
    return (*a.dims[:axis], as_dim(a.dims[axis] * repeats), *a.dims[axis + 1 :]), a.dtype


@rule("mx.tile")
def _tile(a: Value, reps: tuple[Dim, ...]) -> Any:
    rank = max(len(reps), a.ndim)
    dims = (1,) * (rank - a.ndim) + a.dims
    full = (1,) * (rank - len(reps)) + tuple(reps)
    return tuple(as_dim(d * r) for d, r in zip(dims, full, strict=True)), a.dtype


@rule("mx.pad")
def _pad(a: Value, widths: tuple[tuple[Dim, Dim], ...], *_: Any, **__: Any) -> Any:
    return tuple(as_dim(d + lo + hi) for d, (lo, hi) in zip(a.dims, widths, strict=True)), a.dtype


def _reduced(a: Value, axis: Any, keepdims: bool) -> tuple[Dim, ...]:
    axes = (
        range(a.ndim)
        if axis is None
        else {x % a.ndim for x in ((axis,) if isinstance(axis, int) else axis)}
    )
    if keepdims:
        return tuple(1 if i in axes else d for i, d in enumerate(a.dims))
    return tuple(d for i, d in enumerate(a.dims) if i not in axes)


@rule("mx.sum", "mx.prod")
def _sum(a: Value, axis: Any = None, keepdims: bool = False) -> Any:
    narrow = DType("uint32") if a.dtype in ("uint8", "uint16") else DType("int32")
    small = a.dtype in ("bool", "int8", "int16", "uint8", "uint16")
    return _reduced(a, axis, keepdims), narrow if small else a.dtype


@rule("mx.mean", "mx.var", "mx.std", "mx.logsumexp")
def _mean(a: Value, axis: Any = None, keepdims: bool = False, ddof: int = 0) -> Any:
    return _reduced(a, axis, keepdims), DType(_float(str(a.dtype)))


@rule("mx.max", "mx.min")
def _max(a: Value, axis: Any = None, keepdims: bool = False) -> Any:
    return _reduced(a, axis, keepdims), a.dtype


@rule("mx.all", "mx.any")
def _all(a: Value, axis: Any = None, keepdims: bool = False) -> Any:
    return _reduced(a, axis, keepdims), DType("bool")


@rule("mx.argmax", "mx.argmin")
def _argmax(a: Value, axis: Any = None, keepdims: bool = False) -> Any:
    return _reduced(a, axis, keepdims), DType("uint32")


@rule("mx.argsort")
def _argsort(a: Value, axis: int = -1) -> Any:
    return a.dims, DType("uint32")


@rule("mx.matmul")
def _matmul(a: Value, b: Value) -> Any:
    dtype = DType(_float(promote(str(a.dtype), str(b.dtype))))
    x, y = a.dims, b.dims
    if len(x) == 1 and len(y) == 1:
        return (), dtype
    if len(x) == 1:
        return (*y[:-2], y[-1]), dtype
    if len(y) == 1:
        return x[:-1], dtype
    return (*broadcast(x[:-2], y[:-2]), x[-2], y[-1]), dtype


@rule("mx.addmm")
def _addmm(c: Value, a: Value, b: Value, alpha: float = 1.0, beta: float = 1.0) -> Any:
    return _matmul(a, b)


@rule("mx.take")
def _take(a: Value, indices: Value, axis: int | None = None) -> Any:
    if axis is None:
        return _shape(indices), a.dtype
    axis %= a.ndim
    return (*a.dims[:axis], *_shape(indices), *a.dims[axis + 1 :]), a.dtype


@rule("mx.take_along_axis")
def _take_along_axis(a: Value, indices: Value, axis: int) -> Any:
    return indices.dims, a.dtype


@rule("mx.put_along_axis")
def _put_along_axis(a: Value, indices: Value, values: Value, axis: int) -> Any:
    return a.dims, a.dtype


@rule("mx.tril", "mx.triu")
def _tril(a: Value, k: Dim = 0) -> Any:
    return a.dims, a.dtype


@rule("mx.contiguous")
def _contiguous(a: Value) -> Any:
    return a.dims, a.dtype


@rule("mx.fast.rms_norm")
def _rms_norm(x: Value, weight: Any, eps: float) -> Any:
    return x.dims, x.dtype


@rule("mx.fast.layer_norm")
def _layer_norm(x: Value, weight: Any, bias: Any, eps: float) -> Any:
    return x.dims, x.dtype


@rule("mx.fast.rope")
def _rope(x: Value, *_: Any, **__: Any) -> Any:
    return x.dims, x.dtype


@rule("mx.fast.scaled_dot_product_attention")
def _sdpa(
    q: Value, k: Value, v: Value, *, scale: float, mask: Any = None, sinks: Any = None
) -> Any:
    return (*q.dims[:-1], v.dims[-1]), q.dtype


@rule("nn.LSTM")
def _lstm_layer(x: Value, *_: Any, hidden_size: int, **__: Any) -> Any:
    shape = (*x.dims[:-1], hidden_size)
    return [(shape, x.dtype), (shape, x.dtype)]


@rule("nn.GRU")
def _gru_layer(x: Value, *_: Any, hidden_size: int, **__: Any) -> Any:
    return (*x.dims[:-1], hidden_size), x.dtype
