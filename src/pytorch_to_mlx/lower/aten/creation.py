"""Arrays made of sizes and numbers."""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx
import sympy

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.dims import Dim, FloorDiv, as_dim
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import as_array, number_kind
from pytorch_to_mlx.lower.aten.shape import expand


def _typed(dtype: str | None, default: str) -> dict[str, Any]:
    """``dtype=`` where MLX's default for the call is another."""
    return {} if dtype is None or dtype == default else {"dtype": DType(dtype)}


def filled(size: tuple[Dim, ...], value: Any, dtype: str) -> Value:
    """The plainest constructor of an array full of one number."""
    kind, symbolic = DType(dtype), isinstance(value, sympy.Basic)
    if kind == "bool" and not symbolic:
        value = bool(value)
    elif kind.is_integer and not symbolic:
        value = int(value)
        if kind.startswith("uint"):
            value %= 2 ** (8 * kind.size)  # torch wraps negative numbers
    elif kind.is_floating and not symbolic:
        value = float(value)
    elif kind.is_complex and not symbolic:
        value = complex(value)  # mx.full of a float is float, whatever its dtype argument says
    if not size:
        return call("mx.array", value, dtype=kind)
    plain = kind != "bool" and not symbolic and not kind.is_complex
    if plain and value in (0, 1) and math.copysign(1, value) > 0:
        return call(mx.ones if value else mx.zeros, tuple(size), **_typed(dtype, "float32"))
    return call(mx.full, tuple(size), value, **_typed(dtype, "float32" if kind.is_floating else ""))


def _number_dtype(value: Any) -> str:
    return {bool: "bool", int: "int64", float: "float32", complex: "complex64"}[number_kind(value)]


@lowers("aten.full.default")
def full(size: tuple[Dim, ...], fill_value: Any, dtype: str | None = None) -> Value:
    """full(SymInt[] size, Scalar fill_value, *, ScalarType? dtype=None, ...) -> Tensor"""
    return filled(size, fill_value, dtype or _number_dtype(fill_value))


@lowers("aten.zeros.default", "aten.empty.memory_format", "aten.empty_permuted")
def zeros(size: tuple[Dim, ...], physical_layout: Any = None, dtype: str | None = None) -> Value:
    """zeros(SymInt[] size, *, ScalarType? dtype=None, ...) -> Tensor"""
    return filled(size, 0, dtype or "float32")


@lowers("aten.empty_strided")
def empty_strided(size: tuple[Dim, ...], stride: Any, dtype: str | None = None) -> Value:
    """empty_strided(SymInt[] size, SymInt[] stride, *, ScalarType? dtype=None, ...) -> Tensor"""
    return zeros(size, dtype=dtype)


@lowers("aten.ones.default")
def ones(size: tuple[Dim, ...], dtype: str | None = None) -> Value:
    """ones(SymInt[] size, *, ScalarType? dtype=None, ...) -> Tensor"""
    return filled(size, 1, dtype or "float32")


@lowers("aten.new_zeros", "aten.new_empty")
def new_zeros(self: Value, size: tuple[Dim, ...], dtype: str | None = None) -> Value:
    """new_zeros(Tensor self, SymInt[] size, *, ScalarType? dtype=None, ...) -> Tensor"""
    return filled(size, 0, dtype or str(self.dtype))


@lowers("aten.new_empty_strided")
def new_empty_strided(
    self: Value, size: tuple[Dim, ...], stride: Any, dtype: str | None = None
) -> Value:
    """new_empty_strided(Tensor self, SymInt[] size, SymInt[] stride, *, ...) -> Tensor"""
    return filled(size, 0, dtype or str(self.dtype))


@lowers("aten.new_ones")
def new_ones(self: Value, size: tuple[Dim, ...], dtype: str | None = None) -> Value:
    """new_ones(Tensor self, SymInt[] size, *, ScalarType? dtype=None, ...) -> Tensor"""
    return filled(size, 1, dtype or str(self.dtype))


@lowers("aten.new_full")
def new_full(
    self: Value, size: tuple[Dim, ...], fill_value: Any, dtype: str | None = None
) -> Value:
    """new_full(Tensor self, SymInt[] size, Scalar fill_value, *, ScalarType? dtype=None, ...)
    -> Tensor"""
    return filled(size, fill_value, dtype or str(self.dtype))


@lowers("aten.zeros_like", "aten.empty_like")
def zeros_like(self: Value, dtype: str | None = None) -> Value:
    """zeros_like(Tensor self, *, ScalarType? dtype=None, ...) -> Tensor"""
    if dtype in (None, str(self.dtype)):
        return call(mx.zeros_like, self)
    return filled(self.dims, 0, str(dtype))


@lowers("aten.ones_like")
def ones_like(self: Value, dtype: str | None = None) -> Value:
    """ones_like(Tensor self, *, ScalarType? dtype=None, ...) -> Tensor"""
    if dtype in (None, str(self.dtype)):
        return call(mx.ones_like, self)
    return filled(self.dims, 1, str(dtype))


@lowers("aten.full_like")
def full_like(self: Value, fill_value: Any, dtype: str | None = None) -> Value:
    """full_like(Tensor self, Scalar fill_value, *, ScalarType? dtype=None, ...) -> Tensor"""
    return filled(self.dims, fill_value, dtype or str(self.dtype))


@lowers("aten.fill.Scalar")
def fill_scalar(self: Value, value: Any) -> Value:
    """fill.Scalar(Tensor self, Scalar value) -> Tensor"""
    return filled(self.dims, value, str(self.dtype))


@lowers("aten.fill.Tensor")
def fill_tensor(self: Value, value: Value) -> Value:
    """fill.Tensor(Tensor self, Tensor value) -> Tensor"""
    return expand(value.astype(DType(str(self.dtype))), self.dims)


@lowers("aten.scalar_tensor")
def scalar_tensor(s: Any, dtype: str | None = None) -> Value:
    """scalar_tensor(Scalar s, *, ScalarType? dtype=None, ...) -> Tensor"""
    return as_array(s, dtype or "float32")


@lowers("aten.arange.default")
def arange(end: Any, dtype: str | None = None) -> Value:
    """arange(Scalar end, *, ScalarType? dtype=None, ...) -> Tensor"""
    return arange_step(0, end, 1, dtype=dtype)


@lowers("aten.arange.start", "aten.arange.start_step")
def arange_step(start: Any, end: Any, step: Any = 1, dtype: str | None = None) -> Value:
    """arange.start_step(Scalar start, Scalar end, Scalar step=1, *, ScalarType? dtype=None,
    ...) -> Tensor"""
    bounds: tuple[Any, ...] = (start, end, step)
    kind = DType(dtype or ("float32" if any(number_kind(b) is float for b in bounds) else "int64"))
    if kind.is_integer:  # torch truncates each bound first
        bounds = tuple(int(b) if type(b) is float else b for b in bounds)
    elif kind.is_floating and any(type(b) is float for b in bounds):
        n = _count(*bounds)
        if n is not None:
            return _float_range(start, step, n, kind)
    shown = (
        (bounds[1],) if bounds[0] == 0 and bounds[2] == 1 else bounds[: 2 if bounds[2] == 1 else 3]
    )
    return call(mx.arange, *shown, dtype=kind)


def _count(start: Any, end: Any, step: Any) -> Any:
    """How many numbers a range has that begins, ends or steps at a fraction; ``None`` where that is
    not known. Up to a symbolic end it takes whole steps: the ceiling of a ceiling's quotient.
    """
    if all(type(b) in (int, float) for b in (start, end, step)):
        return max(0, math.ceil((end - start) / step))
    whole = isinstance(end, sympy.Expr) and end.is_integer
    if whole and type(start) is float and type(step) is int and step > 0:
        return as_dim(-FloorDiv(-(end - math.floor(start)), step))
    return None


def _float_range(start: float, step: float, n: Any, kind: DType) -> Value:
    """A range of floats with torch's count: computed in double precision,
    never from rounded steps."""
    steps = call(mx.arange, n, dtype=kind)
    scaled = steps if step == 1 else steps * step
    return scaled if start == 0 else scaled + start


@lowers("aten.linspace.default", "p2m.linspace")
def linspace(start: Any, end: Any, steps: Dim, dtype: str | None = None) -> Value:
    """linspace(Scalar start, Scalar end, int steps, *, ScalarType? dtype=None, ...) -> Tensor"""
    kind = DType(dtype or "float32")
    if kind.is_integer:
        return call(mx.linspace, start, end, steps).astype(kind)
    return call(mx.linspace, start, end, steps, **_typed(kind, "float32"))


@lowers("aten.logspace.default")
def logspace(
    start: Any, end: Any, steps: Dim, base: float = 10.0, dtype: str | None = None
) -> Value:
    """logspace(Scalar start, Scalar end, int steps, float base=10.0, *, ScalarType? dtype=None,
    ...) -> Tensor"""
    out = call(mx.power, float(base), call(mx.linspace, start, end, steps))
    return out.astype(DType(dtype or "float32"))


@lowers("aten.eye.default")
def eye(n: Dim, dtype: str | None = None) -> Value:
    """eye(SymInt n, *, ScalarType? dtype=None, ...) -> Tensor"""
    return call(mx.eye, n, **_typed(dtype, "float32"))


@lowers("aten.eye.m")
def eye_m(n: Dim, m: Dim, dtype: str | None = None) -> Value:
    """eye.m(SymInt n, SymInt m, *, ScalarType? dtype=None, ...) -> Tensor"""
    return call(mx.eye, n, m, **_typed(dtype, "float32"))


@lowers("aten.tril_indices")
def tril_indices(row: int, col: int, offset: int = 0, dtype: str | None = None) -> Value:
    """tril_indices(int row, int col, int offset=0, *, ScalarType? dtype=long, ...) -> Tensor"""
    return call("ops.tril_indices", row, col, offset)


@lowers("aten.triu_indices")
def triu_indices(row: int, col: int, offset: int = 0, dtype: str | None = None) -> Value:
    """triu_indices(int row, int col, int offset=0, *, ScalarType? dtype=long, ...) -> Tensor"""
    return call("ops.triu_indices", row, col, offset)
