"""Random arrays: the same distribution as torch's, not the same numbers."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph.build import call
from pytorch_to_mlx.graph.dims import Dim
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import Value
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import as_array
from pytorch_to_mlx.lower.aten.shape import expand

Size = tuple[Dim, ...]


def _like(x: Value, dtype: str | None) -> str:
    return dtype or str(x.dtype)


def _drawn(target: Any, shape: Size, dtype: str | None, **more: Any) -> Value:
    kind = {} if dtype in (None, "float32") else {"dtype": DType(str(dtype))}
    if kind and DType(str(dtype)).is_complex and more:
        return _drawn_complex(target, tuple(shape), **more)
    return call(target, shape=tuple(shape), **more, **kind)


def _drawn_complex(
    target: Any, shape: Size, loc: Any = 0.0, scale: float = 1.0, **bounds: float
) -> Value:
    """Uniform: both parts are. Normal: they share the variance, and each has the mean."""
    if target is mx.random.uniform:
        parts = (call(target, shape=shape, **bounds) for _ in range(2))
        return call("ops.complex_of", *parts)
    return call(target, shape=shape, dtype=DType("complex64")) * scale + loc * (1 + 1j)


@lowers("aten.rand.default", "aten.rand.generator")
def rand(size: Size, generator: Any = None, dtype: str | None = None) -> Value:
    """rand(SymInt[] size, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _drawn(mx.random.uniform, size, dtype)


@lowers("aten.randn.default", "aten.randn.generator")
def randn(size: Size, generator: Any = None, dtype: str | None = None) -> Value:
    """randn(SymInt[] size, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _drawn(mx.random.normal, size, dtype)


@lowers("aten.rand_like")
def rand_like(self: Value, generator: Any = None, dtype: str | None = None) -> Value:
    """rand_like(Tensor self, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _drawn(mx.random.uniform, self.dims, _like(self, dtype))


@lowers("aten.randn_like")
def randn_like(self: Value, generator: Any = None, dtype: str | None = None) -> Value:
    """randn_like(Tensor self, *, ScalarType? dtype=None, ...) -> Tensor"""
    return _drawn(mx.random.normal, self.dims, _like(self, dtype))


@lowers("aten.randint.default", "aten.randint.generator")
def randint(high: Any, size: Size, generator: Any = None, dtype: str | None = None) -> Value:
    """randint(SymInt high, SymInt[] size, *, ScalarType? dtype=long, ...) -> Tensor"""
    return randint_low(0, high, size, generator, dtype)


@lowers("aten.randint.low", "aten.randint.low_generator")
def randint_low(
    low: Any, high: Any, size: Size, generator: Any = None, dtype: str | None = None
) -> Value:
    """randint.low(SymInt low, SymInt high, SymInt[] size, *, ScalarType? dtype=long, ...)
    -> Tensor"""
    kind = DType(dtype or "int64")
    drawn = kind if kind.is_integer else DType("int64")
    return call(mx.random.randint, low, high, tuple(size), dtype=drawn).astype(kind)


@lowers("aten.randint_like.default")
def randint_like(self: Value, high: Any, dtype: str | None = None) -> Value:
    """randint_like(Tensor self, SymInt high, *, ScalarType? dtype=None, ...) -> Tensor"""
    return randint_low(0, high, self.dims, None, _like(self, dtype))


@lowers("aten.randint_like.low_dtype")
def randint_like_low(self: Value, low: Any, high: Any, dtype: str | None = None) -> Value:
    """randint_like.low_dtype(Tensor self, SymInt low, SymInt high, *, ...) -> Tensor"""
    return randint_low(low, high, self.dims, None, _like(self, dtype))


@lowers("aten.randint_like.Tensor")
def randint_like_tensor(self: Value, high: Value, dtype: str | None = None) -> Value:
    """randint_like.Tensor(Tensor self, Tensor high, *, ScalarType? dtype=None, ...) -> Tensor"""
    return randint_low(0, high, self.dims, None, _like(self, dtype))


@lowers("aten.randperm")
def randperm(n: Dim, generator: Any = None, dtype: str | None = None) -> Value:
    """randperm(SymInt n, *, ScalarType? dtype=long, ...) -> Tensor"""
    out: Value = call("ops.randperm", n)
    out.shape, out.dtype = (n,), DType("int64")
    return out.astype(DType(dtype or "int64"))


@lowers("aten.bernoulli.default")
def bernoulli(self: Value, generator: Any = None) -> Value:
    """bernoulli(Tensor self, *, Generator? generator=None) -> Tensor"""
    return call("ops.bernoulli", self)


@lowers("aten.bernoulli.p", "aten.bernoulli.Tensor")
def bernoulli_p(self: Value, p: Any, generator: Any = None) -> Value:
    """bernoulli.p(Tensor self, float p, *, Generator? generator=None) -> Tensor"""
    chance = expand(as_array(p, "float32"), self.dims)
    return call("ops.bernoulli", chance).astype(DType(str(self.dtype)))


@lowers("aten.multinomial")
def multinomial(
    self: Value, num_samples: Dim, replacement: bool = False, generator: Any = None
) -> Value:
    """multinomial(Tensor self, SymInt num_samples, bool replacement=False, *,
    Generator? generator=None) -> Tensor"""
    return call("ops.multinomial", self, num_samples, replacement)


@lowers("aten.normal.Tensor_float", "aten.normal.float_Tensor", "aten.normal.Tensor_Tensor")
def normal(mean: Any, std: Any = 1.0, generator: Any = None) -> Value:
    """normal.Tensor_Tensor(Tensor mean, Tensor std, *, Generator? generator=None) -> Tensor"""
    return call("ops.normal", as_array(mean), as_array(std))


@lowers("aten.normal.float_float")
def normal_float(
    mean: float, std: float, size: Size, generator: Any = None, dtype: str | None = None
) -> Value:
    """normal.float_float(float mean, float std, SymInt[] size, *, ...) -> Tensor"""
    return _drawn(mx.random.normal, size, dtype, loc=mean, scale=std)


@lowers("aten.normal_functional")
def normal_functional(
    self: Value, mean: float = 0.0, std: float = 1.0, generator: Any = None
) -> Value:
    """normal_functional(Tensor self, float mean=0., float std=1., *, ...) -> Tensor"""
    return _drawn(mx.random.normal, self.dims, str(self.dtype), loc=mean, scale=std)


@lowers("aten.uniform")
def uniform(self: Value, *bounds: float, generator: Any = None, **named: float) -> Value:
    """uniform(Tensor self, float from=0., float to=1., *, Generator? generator=None) -> Tensor"""
    given = dict(zip(("from", "to"), bounds, strict=False)) | named
    low, high = given.get("from", 0.0), given.get("to", 1.0)
    return _drawn(mx.random.uniform, self.dims, str(self.dtype), low=low, high=high)


@lowers("aten.exponential")
def exponential(self: Value, lambd: float = 1.0, generator: Any = None) -> Value:
    """exponential(Tensor self, float lambd=1., *, Generator? generator=None) -> Tensor"""
    return call("ops.exponential", self, lambd)


@lowers("aten.geometric")
def geometric(self: Value, p: float, generator: Any = None) -> Value:
    """geometric(Tensor self, float p, *, Generator? generator=None) -> Tensor"""
    return call("ops.geometric", self, p)


@lowers("aten.cauchy")
def cauchy(self: Value, median: float = 0.0, sigma: float = 1.0, generator: Any = None) -> Value:
    """cauchy(Tensor self, float median=0., float sigma=1., *, ...) -> Tensor"""
    return call("ops.cauchy", self, median, sigma)


@lowers("aten.log_normal")
def log_normal(self: Value, mean: float = 1.0, std: float = 2.0, generator: Any = None) -> Value:
    """log_normal(Tensor self, float mean=1., float std=2., *, ...) -> Tensor"""
    return call("ops.log_normal", self, mean, std)


@lowers("aten.poisson")
def poisson(self: Value, generator: Any = None) -> Value:
    """poisson(Tensor self, Generator? generator=None) -> Tensor"""
    return call("ops.poisson", self)
