"""What the families share: arrays, host numbers and element types of what a lowering is given.

The annotation of a lowering's parameter says what it takes: ``Value`` an array (constants become
weights or literals), ``Weight`` one that a layer has of its own, ``Ints`` host integers (a runtime
array is read, which waits for the device), ``Number`` a Python number where it is known, ``Any``
whatever is there.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import sympy

from pytorch_to_mlx.graph.build import attach_outputs, call, current_builder, freeze, target_name
from pytorch_to_mlx.graph.dims import Dim, as_dim, is_static, symbol
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import Node, Param, Value
from pytorch_to_mlx.lower.onnx._context import node
from pytorch_to_mlx.lower.onnx._dtypes import STORAGE, storage, to_storage
from pytorch_to_mlx.lower.onnx._values import Known, known, plain
from pytorch_to_mlx.lower.registry import Unsupported

Ints: TypeAlias = "tuple[Any, ...]"
Number: TypeAlias = Any
Weight: TypeAlias = Value

#: Constants with at most this many elements that hold integers are written as literals.
LITERAL = 8
#: Numbers that are read from a runtime array, and elements of tables that attributes describe.
MOST_READ, LARGEST_TABLE = 128, 1 << 26

_counter = itertools.count()


def is_array(x: Any) -> bool:
    return isinstance(x, Value) and x.kind == "array"


# -- arrays ----------------------------------------------------------------------------------------


def array(x: Any) -> Value:
    """An array in the graph; a constant becomes a weight, or a literal where it is a number.

    Raises:
        Unsupported: it is absent, a sequence, or of a type without arrays.
    """
    if isinstance(x, Value):
        return x
    if not isinstance(x, Known):
        raise Unsupported(f"an array is needed, not {type(x).__name__}")
    cache: dict[Any, Value] = node().lowering.arrays
    if x in cache:
        return cache[x]
    made = _made(x)
    if x.element in STORAGE:
        node().lowering.elements[made] = x.element
    if made.node is None:  # a weight; a call made inside a branch does not exist outside it
        cache[x] = made
    return made


def weight(x: Any) -> Value:
    """An array for the weight or bias of a layer: a constant of any size is a weight then."""
    if isinstance(x, Known) and x.constant and not x.source and x not in node().lowering.arrays:
        made: Value = node().lowering.weight(x, to_storage(x.array), storage(x.element))
        node().lowering.arrays[x] = made
    return array(x)


def _made(x: Known) -> Value:
    dtype = storage(x.element)
    if x.symbolic:
        flat = call("mx.array", tuple(x.items()), dtype=dtype)
        return flat if x.ndim == 1 else call("mx.reshape", flat, x.dims)
    if x.ndim == 0 and dtype != "float64" and _is_literal(x.item(), dtype):
        return call("mx.array", x.item(), dtype=dtype)
    written = dtype == "int64" or (not x.source and (dtype.is_integer or dtype == "float32"))
    if 0 < x.array.size <= LITERAL and x.ndim == 1 and written:
        return call("mx.array", tuple(x.items()), dtype=dtype)
    return node().lowering.weight(x, to_storage(x.array), dtype)


def _is_literal(value: Any, dtype: str) -> bool:
    """Whether Python's number makes exactly this array."""
    if isinstance(value, (bool, int)):
        return dtype == "bool" or -(2**31) <= value < 2**31
    return isinstance(value, float) and dtype in ("float32", "float16", "bfloat16")


def element(x: Any) -> str:
    """The ONNX element type of an array or constant (MLX's name, or an emulated type's)."""
    if isinstance(x, Known):
        return x.element
    return node().lowering.elements.get(x, str(x.dtype))


def tagged(x: Value, element: str) -> Value:
    """The value, marked as holding an emulated element type."""
    if element in STORAGE:
        node().lowering.elements[x] = element
    return x


def dims_of(x: Any) -> tuple[Dim, ...]:
    """The sizes of an array or constant."""
    return x.dims


def number(x: Any) -> Any:
    """A Python number for a constant with one element; otherwise the array."""
    if isinstance(x, Known) and x.array.size == 1 and x.element not in STORAGE:
        value = x.item()
        if isinstance(value, (bool, int, float)):
            return value
    return x if x is None else array(x)


def operand(x: Any, other: Any) -> Any:
    """A constant with one element as a Python number, where ``other`` is an array of its dtype
    and rank; otherwise the array."""
    if not isinstance(x, Known) or not is_array(other) or x.array.size != 1 or x.symbolic:
        return array(x)
    value = plain(x.array.reshape(-1)[0])
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31
    fits = x.ndim <= other.ndim and x.element not in STORAGE and element(other) == x.element
    return value if fits and (whole or isinstance(value, float)) else array(x)


def all_zero(x: Any) -> bool:
    """Whether this is a constant with nothing but zeros."""
    return isinstance(x, Known) and not x.symbolic and not x.array.any()


# -- host numbers ----------------------------------------------------------------------------------


def ints(x: Any) -> tuple[Any, ...]:
    """The elements of a one-dimensional tensor as host integers.

    Those of a runtime array are read one by one, which waits for the device: each is a symbol.

    Raises:
        Unsupported: how many there are is not known.
    """
    if isinstance(x, (tuple, list)):
        return tuple(x)
    if isinstance(x, int):
        return (x,)
    if isinstance(x, Known):
        return tuple(x.items())
    if x.ndim == 0:
        return (host(x),)
    if x.ndim != 1 or not is_static(x.dims[0]):
        raise Unsupported("sizes or axes in a runtime array of unknown length")
    if isinstance(x.node, Node) and x.node.target == "mx.array" and x.ndim == 1:
        given = x.node.args[0]
        if isinstance(given, tuple):
            return given
    return tuple(host(call("getitem", x, (i,))) for i in _read_places(x))


def host(x: Value, kind: str = "int") -> sympy.Symbol:
    """A number read from an array with one element: a symbol that its node binds."""
    if x.ndim:
        x = call("mx.reshape", x, ())
    out = call_as("host.item", [((), None)], x)
    out.kind = kind
    name = f"n{next(_counter)}"
    out.symbol = (
        sympy.Symbol(name, integer=True) if kind == "int" else sympy.Symbol(name, real=True)
    )
    return out.symbol


def floats(x: Any) -> tuple[Any, ...]:
    """The elements of a one-dimensional tensor as host floats; runtime ones are read, as ``ints``.

    Raises:
        Unsupported: how many there are is not known.
    """
    if isinstance(x, (tuple, list)):
        return tuple(float(v) for v in x)
    if isinstance(x, Known):
        return tuple(float(v) if is_static(v) or isinstance(v, float) else v for v in x.items())
    if x.ndim != 1 or not is_static(x.dims[0]):
        raise Unsupported("numbers in a runtime array of unknown length")
    return tuple(host(call("getitem", x, (i,)), "float") for i in _read_places(x))


def _read_places(x: Value) -> range:
    """The places of a runtime array of numbers, each of which is one statement."""
    if int(x.dims[0]) > MOST_READ:
        raise Unsupported(f"{int(x.dims[0])} numbers that are read from the device one by one")
    return range(int(x.dims[0]))


def table_size(*dims: int) -> tuple[int, ...]:
    """Dims of a table that attributes ask for.

    Raises:
        Unsupported: it would have more than ``LARGEST_TABLE`` elements.
    """
    if any(d < 0 for d in dims) or math.prod(dims) > LARGEST_TABLE:
        raise Unsupported(f"attributes ask for a table of {' x '.join(map(str, dims))} numbers")
    return dims


def fresh(hint: str = "d") -> sympy.Symbol:
    """A size that only the running model knows."""
    return symbol(f"{re.sub(r'[^0-9A-Za-z_]', '_', hint)}{next(_counter)}")


def static(*dims: Dim) -> bool:
    return all(is_static(d) for d in dims)


def axis_of(axis: Any, rank: int) -> Any:
    """A known axis counted from the front; a symbol stays."""
    return int(axis) % max(rank, 1) if is_static(axis) else axis


def axes_of(axes: Any, rank: int) -> tuple[int, ...]:
    """Known axes counted from the front.

    Raises:
        Unsupported: an axis is only known to the running model.
    """
    if not all(is_static(a) for a in axes):
        raise Unsupported("axes that only the running model knows")
    for a in axes:
        if not -max(rank, 1) <= int(a) < max(rank, 1):
            raise Unsupported(f"the axis {a} of an array of rank {rank}")
    return tuple(int(a) % max(rank, 1) for a in axes)


# -- calls -----------------------------------------------------------------------------------------


def call_as(
    fn: str | Callable[..., Any],
    results: Sequence[tuple[tuple[Dim, ...] | None, str | None]],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """A call whose shapes and dtypes the lowering knows better than inference."""
    builder = current_builder()
    made = Node(
        target_name(fn),
        tuple(freeze(a) for a in args),
        {k: freeze(a) for k, a in kwargs.items()},
        scope=builder.scope,
        origin=builder.origin,
    )
    attach_outputs(made, [Value(s, None if d is None else DType(d)) for s, d in results])
    builder.add(made)
    return made.outputs[0] if len(results) == 1 else tuple(made.outputs)


def cast(x: Value, dtype: str) -> Value:
    return x if x.dtype == dtype else call("mx.astype", x, DType(dtype))


def getitem(x: Value, *index: Any) -> Value:
    return call("getitem", x, tuple(index))


def shape_value(dims: tuple[Dim, ...]) -> Known:
    """Sizes as the int64 tensor that ``Shape`` gives."""
    return known([as_dim(d) for d in dims])


def is_float(x: Any) -> bool:
    return DType(str(x.dtype)).is_floating


def param_kind(x: Known, array: np.ndarray) -> str:
    """Floating initializers of rank 1 and more are what training changes."""
    given = x.source or x.constant
    return "parameter" if given and array.ndim and array.dtype.kind in "fV" else "constant"


def new_param(path: str, x: Known, value: Value, kind: str) -> Param:
    return Param(path, value, kind, sources=(x.source or path,))
