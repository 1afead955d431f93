"""Activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.onnx import lowers
from pytorch_to_mlx.lower.onnx._common import call_as, cast, is_float
from pytorch_to_mlx.lower.onnx._values import Known
from pytorch_to_mlx.ops.activations import elu as elu_of

_PLAIN: dict[str, str] = {
    "Softsign": "nn.softsign",
    "Mish": "nn.mish",
}


def _register(name: str, target: str) -> None:
    @lowers(name)
    def lowering(X: Value) -> Value:
        return call(target, X)

    lowering.__doc__ = f"{name}(T X) -> T Y"


for _name, _target in _PLAIN.items():
    _register(_name, _target)


def _same(fn: str | Callable[..., Any], x: Value, *args: Any) -> Value:
    """A call that keeps shape and dtype."""
    return cast(call_as(fn, [(x.dims, x.dtype)], x, *args), str(x.dtype))


@lowers("Relu")
def relu(X: Value) -> Value:
    """Relu(T X) -> T Y"""
    return call("nn.relu", X)


@lowers("LeakyRelu")
def leaky_relu(X: Value, alpha: float = 0.01) -> Value:
    """LeakyRelu(T X, float alpha=0.01) -> T Y"""
    return call("nn.leaky_relu", X, *(() if alpha == 0.01 else (alpha,)))


@lowers("Elu")
def elu(X: Value, alpha: float = 1.0) -> Value:
    """Elu(T X, float alpha=1) -> T Y"""
    return _same("nn.elu", X, *(() if alpha == 1.0 else (alpha,)))


@lowers("Celu")
def celu(X: Value, alpha: float = 1.0) -> Value:
    """Celu(T X, float alpha=1) -> T Y"""
    return _same("nn.celu", X, *(() if alpha == 1.0 else (alpha,)))


@lowers("Selu")
def selu(X: Value, alpha: float = 1.6732632, gamma: float = 1.050701) -> Value:
    """Selu(T X, float alpha=1.67326, float gamma=1.0507) -> T Y"""
    return _same(elu_of, X, alpha, gamma)


@lowers("Softplus")
def softplus(X: Value) -> Value:
    """Softplus(T X) -> T Y"""
    return call("nn.softplus", X)


@lowers("HardSigmoid")
def hard_sigmoid(X: Value, alpha: float = 0.2, beta: float = 0.5) -> Value:
    """HardSigmoid(T X, float alpha=0.2, float beta=0.5) -> T Y"""
    return call(mx.clip, X * alpha + beta, 0.0, 1.0)


@lowers("HardSwish")
def hard_swish(X: Value) -> Value:
    """HardSwish(T X) -> T Y"""
    return call("nn.hardswish", X)


@lowers("ThresholdedRelu")
def thresholded_relu(X: Value, alpha: float = 1.0) -> Value:
    """ThresholdedRelu(T X, float alpha=1) -> T Y"""
    return call(mx.where, call(mx.greater, X, alpha), X, call(mx.zeros_like, X))


@lowers("Shrink")
def shrink(input: Value, bias: float = 0.0, lambd: float = 0.5) -> Value:
    """Shrink(T input, float bias=0, float lambd=0.5) -> T output"""
    zero = call(mx.zeros_like, input)
    high = call(mx.where, call(mx.greater, input, lambd), input - bias, zero)
    low = call(mx.less, input, -lambd)
    return cast(call(mx.where, low, input + bias, high), str(input.dtype))


@lowers("PRelu", since=7)
def prelu(X: Value, slope: Value) -> Value:
    """PRelu(T X, T slope) -> T Y; the slope broadcasts to X."""
    if is_float(X) and slope.dims == (1,):
        return call("nn.prelu", X, slope)
    return cast(call(mx.where, call(mx.less, X, 0), slope * X, X), str(X.dtype))


@lowers("PRelu")
def prelu_1(X: Value, slope: Value, consumed_inputs: Any = None) -> Value:
    """PRelu(T X, T slope) -> T Y; one slope for all, or one a channel."""
    if slope.ndim == 1 and slope.dims != (1,):
        slope = slope.reshape(*slope.dims, *(1,) * (X.ndim - 2))
    return prelu(X, slope)


@lowers("Gelu", since=20)
def gelu(X: Value, approximate: str = "none") -> Value:
    """Gelu(T X, string approximate="none") -> T Y"""
    return _same("nn.gelu_approx" if approximate == "tanh" else "nn.gelu", X)


@lowers("Swish")
def swish(X: Value, alpha: float = 1.0) -> Value:
    """Swish(T X, float alpha=1) -> T Y"""
    if alpha == 1.0:
        return call("nn.silu", X)
    return X * call(mx.sigmoid, X * alpha)


@lowers("Dropout")
def dropout(
    data: Value,
    ratio: Any = None,
    training_mode: Any = None,
    seed: int = 0,
    is_test: int = 1,
    consumed_inputs: Any = None,
) -> Any:
    """Dropout(T data, T1? ratio, B? training_mode, int seed) -> (T output, B mask); at inference
    nothing is dropped."""
    from pytorch_to_mlx.lower.onnx.random import training_dropout

    off = ratio is not None and isinstance(ratio, Known) and ratio.item() == 0
    inference = training_mode is None or (
        isinstance(training_mode, Known) and not training_mode.item()
    )
    if not inference and not off:
        return training_dropout(data, ratio, training_mode)
    return data, call(mx.ones, data.dims, DType("bool"))
