"""Folding on the host: ops whose inputs are all known, on numpy arrays of numbers or sizes.

Exporters compute shapes with dozens of nodes. Folded, they are plain sizes. Only small tensors are
folded (sizes, axes, scales); larger constants become weights and are folded by the passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from pytorch_to_mlx.graph.dims import Conditional, FloorDiv, IntTrueDiv, Mod, PyCall
from pytorch_to_mlx.lower.onnx._dtypes import STORAGE, numpy_dtype
from pytorch_to_mlx.lower.onnx._values import Known, known
from pytorch_to_mlx.lower.registry import Unsupported

#: Elements up to which a constant is folded.
LARGEST = 1 << 12
#: Elements up to which floats in the file are taken for settings (scales, bounds), not weights.
LITERAL = 8

Fold = Callable[..., Any]
_FOLDS: dict[str, tuple[int, Fold]] = {}


def folds(*names: str, since: int = 1) -> Callable[[Fold], Fold]:
    """Registers the host form of standard ops; it takes :class:`Known` inputs and attributes."""

    def register(fn: Fold) -> Fold:
        for name in names:
            if name in _FOLDS:
                raise ValueError(f"two host forms of {name}")
            _FOLDS[name] = (since, fn)
        return fn

    return register


def fold(
    domain: str, op: str, opset: int, inputs: Sequence[Any], attributes: Mapping[str, Any]
) -> list[Known] | None:
    """The results on the host, or None where the op must be a call."""
    since, fn = _FOLDS.get(op, (0, None))
    if domain or fn is None or opset < since or not inputs:
        return None
    if not all(v is None or _small(v) for v in inputs) or any(_is_weight(v) for v in inputs):
        return None
    try:
        out = fn(*inputs, **attributes)
    except (TypeError, NotImplementedError, Unsupported):
        return None
    if out is None:
        return None
    return list(out) if isinstance(out, tuple) else [out]


def _small(v: Any) -> bool:
    usable = isinstance(v, Known) and v.element not in STORAGE and v.element != "string"
    return usable and v.array.size <= LARGEST


def _is_weight(v: Any) -> bool:
    """Whether a constant is a tensor of floats in the file, which another file may hold otherwise:
    what is computed of it stays in the graph, where the passes make a rule for its weight of it."""
    return (
        isinstance(v, Known)
        and bool(v.source)
        and v.array.size > LITERAL
        and v.element.startswith(("float", "bfloat"))
    )


# -- elementwise -----------------------------------------------------------------------------------


def _each(fn: Callable[..., Any], *inputs: Known, element: str = "") -> Known:
    """A function of numbers on broadcast elements."""
    arrays = np.broadcast_arrays(*(np.asarray(i.array, dtype=object) for i in inputs))
    rows = zip(*(a.reshape(-1) for a in arrays), strict=True)
    values = [fn(*(_exact(v) for v in row)) for row in rows]
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return known(out.reshape(arrays[0].shape), element or inputs[0].element)


def _exact(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _symbolic(*inputs: Known) -> bool:
    return any(i.symbolic for i in inputs)


def _binary(plain: Callable[..., Any], symbolic: Callable[..., Any], element: str = "") -> Fold:
    def run(A: Known, B: Known, **attributes: Any) -> Known:
        if attributes:
            raise TypeError("attributes")
        if _symbolic(A, B):
            return _each(symbolic, A, B, element=element)
        with np.errstate(all="ignore"):
            out = plain(A.array, B.array)
        dtype = numpy_dtype(element or A.element)
        return Known(np.asarray(out, dtype=dtype), element or A.element)

    return run


def _truncated(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """ONNX divides integers towards zero."""
    if a.dtype.kind not in "iu":
        return a / b
    q = np.abs(a) // np.where(b == 0, 1, np.abs(b))
    return np.where(b == 0, 0, q * np.sign(a) * np.sign(b))


def _div(a: Any, b: Any) -> Any:
    if isinstance(a, float) or isinstance(b, float):
        return IntTrueDiv(sympy.sympify(a), sympy.sympify(b))
    return FloorDiv(sympy.sympify(a), sympy.sympify(b))  # sizes are not negative


_BINARY: dict[str, tuple[Any, Any, str]] = {
    "Add": (np.add, lambda a, b: a + b, ""),
    "Sub": (np.subtract, lambda a, b: a - b, ""),
    "Mul": (np.multiply, lambda a, b: a * b, ""),
    "Div": (_truncated, _div, ""),
    "Equal": (np.equal, lambda a, b: sympy.Eq(a, b), "bool"),
    "Less": (np.less, lambda a, b: sympy.Lt(a, b), "bool"),
    "Greater": (np.greater, lambda a, b: sympy.Gt(a, b), "bool"),
    "LessOrEqual": (np.less_equal, lambda a, b: sympy.Le(a, b), "bool"),
    "GreaterOrEqual": (np.greater_equal, lambda a, b: sympy.Ge(a, b), "bool"),
    "And": (np.logical_and, sympy.And, "bool"),
    "Or": (np.logical_or, sympy.Or, "bool"),
}
for _name, (_plain, _sym, _element) in _BINARY.items():
    folds(_name)(_binary(_plain, _sym, _element))


@folds("Mod")
def mod(A: Known, B: Known, fmod: int = 0) -> Known:
    if _symbolic(A, B):
        return _each(lambda a, b: Mod(sympy.sympify(a), sympy.sympify(b)), A, B)
    return Known((np.fmod if fmod else np.mod)(A.array, B.array), A.element)


def _floats(x: Known) -> bool:
    return x.element in ("float32", "float64", "float16")


def _unary(plain: Callable[..., Any], symbolic: Callable[..., Any]) -> Fold:
    def run(x: Known) -> Known:
        if x.symbolic:
            return _each(symbolic, x)
        return Known(np.asarray(plain(x.array), dtype=x.array.dtype), x.element)

    return run


def _py(name: str) -> Callable[[Any], Any]:
    return lambda a: PyCall(sympy.Symbol(f"py:{name}"), sympy.sympify(a))


_FOLDS.update(
    {
        "Floor": (1, _unary(np.floor, _py("math.floor"))),
        "Ceil": (1, _unary(np.ceil, _py("math.ceil"))),
        "Sqrt": (1, _unary(np.sqrt, _py("math.sqrt"))),
        "Neg": (1, _unary(np.negative, lambda a: -a)),
        "Abs": (1, _unary(np.abs, _py("abs"))),
        "Not": (1, _unary(np.logical_not, sympy.Not)),
        "Identity": (1, lambda x: x),
    }
)


def _extreme(plain: Callable[..., Any], symbolic: Callable[..., Any]) -> Fold:
    def run(*xs: Known) -> Known:
        if _symbolic(*xs):
            return _each(lambda *v: symbolic(*v), *xs)
        out = xs[0].array
        for x in xs[1:]:
            out = plain(out, x.array)
        return Known(np.asarray(out, dtype=xs[0].array.dtype), xs[0].element)

    return run


_FOLDS["Min"] = (8, _extreme(np.minimum, sympy.Min))
_FOLDS["Max"] = (8, _extreme(np.maximum, sympy.Max))


@folds("Where")
def where(condition: Known, X: Known, Y: Known) -> Known:
    if _symbolic(condition, X, Y):

        def pick(c: Any, a: Any, b: Any) -> Any:
            return (a if c else b) if isinstance(c, bool) else Conditional(c, a, b)

        return _each(pick, condition, X, Y, element=X.element)
    return Known(np.where(condition.array, X.array, Y.array).astype(X.array.dtype), X.element)


@folds("Cast")
def cast(input: Known, to: int = 0, saturate: int = 1, round_mode: str = "up") -> Known:
    from pytorch_to_mlx.lower.onnx._dtypes import element_name

    element = element_name(to)
    if element in STORAGE or element == "string" or element == "complex64":
        raise TypeError("emulated")
    if input.symbolic:
        whole = element.startswith(("int", "uint"))
        if whole and _floats(input):
            return _each(_py("int"), input, element=element)
        return Known(input.array, element, input.name)
    array = input.array
    if array.dtype.kind == "f" and numpy_dtype(element).kind in "iu" and not _fits(array):
        raise TypeError("not representable")
    with np.errstate(all="ignore"):
        return Known(array.astype(numpy_dtype(element)), element, input.name)


def _fits(array: np.ndarray) -> bool:
    return bool(np.isfinite(array).all() and (np.abs(array) < 2**31).all())


# -- shapes and places -----------------------------------------------------------------------------


@folds("Concat", since=4)
def concat(*inputs: Known, axis: int) -> Known:
    if _symbolic(*inputs):
        return Known(np.concatenate([i.array.astype(object) for i in inputs], axis), _first(inputs))
    return Known(np.concatenate([i.array for i in inputs], axis), _first(inputs))


def _first(inputs: Sequence[Known]) -> str:
    return inputs[0].element


@folds("Gather")
def gather(data: Known, indices: Known, axis: int = 0) -> Known:
    if indices.symbolic:
        raise TypeError("symbolic index")
    return _kept(data, np.take(data.array, indices.array.astype(np.int64), axis=axis))


def _kept(data: Known, array: np.ndarray) -> Known:
    """A part of a constant; sizes that are all numbers become a plain array again."""
    array = np.asarray(array, dtype=data.array.dtype)
    if data.symbolic:
        return known(array, data.element)
    return Known(array, data.element)


@folds("Squeeze")
def squeeze(data: Known, axes: Any = None) -> Known:
    if axes is None:
        return _kept(data, data.array.reshape([d for d in data.dims if d != 1]))
    return _kept(data, np.squeeze(data.array, tuple(_axes(axes))))


def _axes(axes: Any) -> list[int]:
    return [int(a) for a in (axes.items() if isinstance(axes, Known) else axes)]


@folds("Unsqueeze")
def unsqueeze(data: Known, axes: Any) -> Known:
    rank = data.ndim + len(_axes(axes))
    return _kept(data, np.expand_dims(data.array, tuple(a % rank for a in _axes(axes))))


@folds("Reshape", since=5)
def reshape(data: Known, shape: Known, allowzero: int = 0) -> Known:
    if shape.symbolic:
        raise TypeError("symbolic shape")
    target = [int(d) for d in shape.array]
    if not allowzero:
        target = [data.dims[i] if d == 0 else d for i, d in enumerate(target)]
    return _kept(data, data.array.reshape(target))


@folds("Transpose")
def transpose(data: Known, perm: tuple[int, ...] | None = None) -> Known:
    return _kept(data, np.transpose(data.array, perm))


@folds("Slice", since=10)
def slice_(
    data: Known, starts: Known, ends: Known, axes: Known | None = None, steps: Known | None = None
) -> Known:
    if any(v is not None and v.symbolic for v in (starts, ends, axes, steps)):
        raise TypeError("symbolic bounds")
    key: list[Any] = [slice(None)] * data.ndim
    at = axes.items() if axes is not None else list(range(len(starts.items())))
    step = steps.items() if steps is not None else [1] * len(at)
    for a, s, e, t in zip(at, starts.items(), ends.items(), step, strict=True):
        size = data.dims[a]
        key[a] = slice(s, None if t < 0 and e < -size else e, t)
    return _kept(data, data.array[tuple(key)])


@folds("Split", since=2)
def split(
    input: Known, split: Any = None, axis: int = 0, num_outputs: int | None = None
) -> tuple[Known, ...]:
    if split is None:
        raise TypeError("equal parts")
    sizes = split.items() if isinstance(split, Known) else list(split)
    edges = np.cumsum([int(s) for s in sizes])[:-1]
    return tuple(_kept(input, part) for part in np.split(input.array, edges, axis))


@folds("Size")
def size(data: Known) -> Known:
    return Known(np.array(data.array.size, np.int64), "int64")


@folds("Shape")
def shape(data: Known, start: int = 0, end: int | None = None) -> Known:
    return Known(np.array(data.dims[slice(start, end)], np.int64), "int64")


@folds("Range", since=11)
def range_(start: Known, limit: Known, delta: Known) -> Known:
    if _symbolic(start, limit, delta):
        raise TypeError("symbolic length")
    a, b, d = start.item(), limit.item(), delta.item()
    count = max(math.ceil((b - a) / d), 0)
    if count > LARGEST:
        raise TypeError("large")
    return Known((a + np.arange(count) * d).astype(start.array.dtype), start.element)


@folds("ConstantOfShape", since=9)
def constant_of_shape(input: Known, value: Known | None = None) -> Known:
    if input.symbolic or math.prod(int(d) for d in input.items()) > 64:
        raise TypeError("large")
    fill = value if value is not None else Known(np.zeros(1, np.float32), "float32")
    if fill.element in STORAGE:
        raise TypeError("emulated")
    dims = [int(d) for d in input.items()]
    return Known(np.full(dims, fill.array.reshape(-1)[0], fill.array.dtype), fill.element)


@folds("Expand", since=8)
def expand(input: Known, shape: Known) -> Known:
    if shape.symbolic:
        raise TypeError("symbolic shape")
    dims = np.broadcast_shapes(input.dims, tuple(int(d) for d in shape.items()))
    if math.prod(dims) > LARGEST:
        raise TypeError("large")
    return _kept(input, np.broadcast_to(input.array, dims).copy())


@folds("Tile", since=6)
def tile(input: Known, repeats: Known) -> Known:
    if repeats.symbolic:
        raise TypeError("symbolic repeats")
    times = [int(r) for r in repeats.items()]
    if math.prod(times) * input.array.size > LARGEST:
        raise TypeError("large")
    return _kept(input, np.tile(input.array, times))


def _reduced(plain: Callable[..., Any], symbolic: Callable[[list[Any]], Any]) -> Fold:
    def run(
        data: Known, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Known:
        at = tuple(_axes(axes)) if axes is not None else ()
        if not at and noop_with_empty_axes:
            return data
        if data.symbolic:
            if data.ndim != 1:
                raise TypeError("rank")
            return known([symbolic(data.items())] if keepdims else symbolic(data.items()))
        out = plain(data.array, axis=at or None, keepdims=bool(keepdims))
        return Known(np.asarray(out, dtype=data.array.dtype), data.element)

    return run


_FOLDS.update(
    {
        "ReduceProd": (1, _reduced(np.prod, lambda v: sympy.Mul(*v))),
        "ReduceSum": (1, _reduced(np.sum, lambda v: sympy.Add(*v))),
        "ReduceMax": (1, _reduced(np.max, lambda v: sympy.Max(*v))),
        "ReduceMin": (1, _reduced(np.min, lambda v: sympy.Min(*v))),
    }
)
