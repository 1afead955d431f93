"""Activation functions."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower._precision import in_single, softmax_along
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import is_complex, is_float
from pytorch_to_mlx.ops import activations as ops


@lowers("aten.relu.default")
def relu(x: Value) -> Value:
    """relu(Tensor self) -> Tensor"""
    return call(nn.relu, x)


@lowers("aten.relu6.default")
def relu6(x: Value) -> Value:
    """relu6(Tensor self) -> Tensor"""
    # MLX's own has a float as its bound.
    return call(nn.relu6, x) if is_float(x) else call(mx.clip, x, 0, 6)


@lowers("aten.silu.default")
def silu(x: Value) -> Value:
    """silu(Tensor self) -> Tensor"""
    if is_complex(x):
        return x / (call(mx.exp, -x) + 1)
    return call(nn.silu, x)


@lowers("aten.gelu.default")
def gelu(x: Value, approximate: str = "none") -> Value:
    """gelu(Tensor self, *, str approximate="none") -> Tensor"""
    return call(nn.gelu_approx if approximate == "tanh" else nn.gelu, x)


@lowers("aten.mish.default")
def mish(x: Value) -> Value:
    """mish(Tensor self) -> Tensor"""
    return call(nn.mish, x)


@lowers("aten.hardswish.default")
def hardswish(x: Value) -> Value:
    """hardswish(Tensor self) -> Tensor"""
    return call(nn.hardswish, x)


@lowers("aten.hardsigmoid.default")
def hardsigmoid(x: Value) -> Value:
    """hardsigmoid(Tensor self) -> Tensor"""
    return call(nn.relu6, x + 3) / 6


@lowers("aten.hardtanh.default")
def hardtanh(x: Value, min_val: Any = -1, max_val: Any = 1) -> Value:
    """hardtanh(Tensor self, Scalar min_val=-1, Scalar max_val=1) -> Tensor"""
    return call(mx.clip, x, min_val, max_val)


@lowers("aten.leaky_relu.default")
def leaky_relu(x: Value, negative_slope: Any = 0.01) -> Value:
    """leaky_relu(Tensor self, Scalar negative_slope=0.01) -> Tensor"""
    if 0 <= negative_slope <= 1:
        return call(nn.leaky_relu, x, negative_slope)
    return call(mx.where, call(mx.greater, x, 0), x, x * negative_slope)


@lowers("aten.elu.default")
def elu(x: Value, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> Value:
    """elu(Tensor self, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1) -> Tensor"""
    if scale == 1 and input_scale == 1:
        return call(nn.elu, x, *(() if alpha == 1 else (alpha,)))
    curve = call(mx.expm1, x * input_scale) * (alpha * scale)
    return call(mx.where, call(mx.greater, x, 0), x * scale, curve)


# nn.selu rounds its two constants to six digits; torch has them in full.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@lowers("aten.selu.default")
def selu(x: Value) -> Value:
    """selu(Tensor self) -> Tensor"""
    return call(nn.elu, x, SELU_ALPHA) * SELU_SCALE


@lowers("aten.celu.default")
def celu(x: Value, alpha: Any = 1.0) -> Value:
    """celu(Tensor self, Scalar alpha=1.) -> Tensor"""
    return call(nn.celu, x, *(() if alpha == 1 else (alpha,)))


@lowers("aten.softplus.default")
def softplus(x: Value, beta: Any = 1, threshold: Any = 20) -> Value:
    """softplus(Tensor self, Scalar beta=1, Scalar threshold=20) -> Tensor"""
    # From the threshold on torch is linear; at 20 the two differ by less than float32 resolves.
    if beta == 1 and threshold >= 20:
        return call(nn.softplus, x)
    scaled = x if beta == 1 else x * beta
    curve = call(nn.softplus, scaled)
    curve = curve if beta == 1 else curve / beta
    return call(mx.where, call(mx.greater, scaled, threshold), x, curve)


@lowers("aten.log_sigmoid.default")
def log_sigmoid(x: Value) -> Value:
    """log_sigmoid(Tensor self) -> Tensor"""
    return call(nn.log_sigmoid, x)


@lowers("aten.log_sigmoid_forward.default")
def log_sigmoid_forward(x: Value) -> tuple[Value, Value]:
    """log_sigmoid_forward(Tensor self) -> (Tensor output, Tensor buffer)"""
    # The second result is a buffer for the gradient, empty except on a CPU; nothing reads it.
    return call(nn.log_sigmoid, x), call(mx.exp, -call(mx.abs, x))


@lowers("aten.hardshrink.default")
def hardshrink(x: Value, lambd: Any = 0.5) -> Value:
    """hardshrink(Tensor self, Scalar lambd=0.5) -> Tensor"""
    keep = call(mx.greater, call(mx.abs, x), lambd)
    return call(mx.where, call(mx.logical_or, keep, call(mx.isnan, x)), x, 0.0)


@lowers("aten.softshrink.default")
def softshrink(x: Value, lambd: Any = 0.5) -> Value:
    """softshrink(Tensor self, Scalar lambd=0.5) -> Tensor"""
    return x - call(mx.clip, x, -lambd, lambd)


@lowers("aten.threshold.default")
def threshold(x: Value, threshold: Any, value: Any) -> Value:
    """threshold(Tensor self, Scalar threshold, Scalar value) -> Tensor"""
    return call(mx.where, call(mx.less_equal, x, threshold), value, x)


@lowers("aten.prelu.default", "aten._prelu_kernel.default")
def prelu(x: Value, weight: Value) -> Value:
    """prelu(Tensor self, Tensor weight) -> Tensor
    _prelu_kernel(Tensor self, Tensor weight) -> Tensor
    """
    if weight.ndim == 1 and x.ndim > 2 and weight.dims[0] != 1:
        weight = weight.reshape(-1, *(1,) * (x.ndim - 2))
    elif weight.ndim == 1 and x.ndim == 0:
        weight = weight.reshape()
    return call(nn.prelu, x, weight)


@lowers("aten.rrelu.default")
def rrelu(
    x: Value, lower: Any = 0.125, upper: Any = 1 / 3, training: bool = False, generator: Any = None
) -> Value:
    """rrelu(Tensor self, Scalar lower=0.125, Scalar upper=0.33333333333333331, bool
    training=False, Generator? generator=None) -> Tensor
    """
    if training:
        slopes = call(mx.random.uniform, low=lower, high=upper, shape=x.dims)
        return call(mx.where, call(mx.less_equal, x, 0), x * slopes, x)
    return leaky_relu(x, (lower + upper) / 2)


@lowers("aten.glu.default")
def glu(x: Value, dim: int = -1) -> Value:
    """glu(Tensor self, int dim=-1) -> Tensor"""
    return call(nn.glu, x, *(() if dim == -1 else (dim,)))


def softmax_of(x: Value, dim: int) -> Value:
    """Softmax along an axis; half precision accumulates in float32, as torch does."""
    if x.ndim == 0:
        return call(mx.exp, x - x)
    return softmax_along(x, dim)


def log_softmax_of(x: Value, dim: int) -> Value:
    """Log-softmax along an axis; half precision accumulates in float32, as torch does."""
    if x.ndim == 0:
        return x - x
    # Not nn.log_softmax: MLX 0.32 compiles it without shapes, and when a size changes it writes out
    # of bounds.
    return in_single(x, lambda wide: call(ops.log_softmax, wide, axis=dim))


@lowers("aten.softmax.int")
def softmax(x: Value, dim: int, dtype: str | None = None) -> Value:
    """softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor"""
    return softmax_of(x if dtype is None else x.astype(dtype), dim)


@lowers("aten._softmax.default")
def _softmax(x: Value, dim: int, half_to_float: bool) -> Value:
    """_softmax(Tensor self, int dim, bool half_to_float) -> Tensor"""
    return softmax_of(x.astype(DType("float32")) if half_to_float else x, dim)


@lowers("aten.log_softmax.int", "aten.special_log_softmax.default")
def log_softmax(x: Value, dim: int, dtype: str | None = None) -> Value:
    """log_softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor
    special_log_softmax(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor
    """
    return log_softmax_of(x if dtype is None else x.astype(dtype), dim)


@lowers("aten._log_softmax.default")
def _log_softmax(x: Value, dim: int, half_to_float: bool) -> Value:
    """_log_softmax(Tensor self, int dim, bool half_to_float) -> Tensor"""
    return log_softmax_of(x.astype(DType("float32")) if half_to_float else x, dim)


@lowers("aten._safe_softmax.default")
def _safe_softmax(x: Value, dim: int, dtype: str | None = None) -> Value:
    """_safe_softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor"""
    x = x if dtype is None else x.astype(dtype)
    masked = call(mx.all, call(mx.equal, x, -float("inf")), axis=dim, keepdims=True)
    return call(mx.where, masked, 0.0, softmax_of(x, dim))
