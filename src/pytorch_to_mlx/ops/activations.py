"""Activation functions with every parameter torch gives them."""

from __future__ import annotations

import math

import mlx.core as mx


def relu6(x: mx.array) -> mx.array:
    """``torch.nn.functional.relu6``: clamp into [0, 6]."""
    return mx.clip(x, 0, 6)


def hardtanh(x: mx.array, min_val: float = -1.0, max_val: float = 1.0) -> mx.array:
    """``torch.nn.functional.hardtanh``: clamp into [min_val, max_val]."""
    return mx.clip(x, min_val, max_val)


def hardsigmoid(x: mx.array) -> mx.array:
    """``torch.nn.functional.hardsigmoid``: ``relu6(x + 3) / 6``."""
    return mx.clip(x + 3, 0, 6) / 6


def hardswish(x: mx.array) -> mx.array:
    """``torch.nn.functional.hardswish``: ``x * relu6(x + 3) / 6``."""
    return x * mx.clip(x + 3, 0, 6) / 6


def hardshrink(x: mx.array, lambd: float = 0.5) -> mx.array:
    """``torch.nn.functional.hardshrink``: zero within [-lambd, lambd]."""
    return mx.where((x >= -lambd) & (x <= lambd), mx.zeros_like(x), x)


def softshrink(x: mx.array, lambd: float = 0.5) -> mx.array:
    """``torch.nn.functional.softshrink``: towards zero by ``lambd``, at most to zero."""
    return mx.where(x > lambd, x - lambd, mx.where(x < -lambd, x + lambd, x * 0))


def tanhshrink(x: mx.array) -> mx.array:
    """``torch.nn.functional.tanhshrink``: ``x - tanh(x)``."""
    return x - mx.tanh(x)


def threshold_below(x: mx.array, threshold: float, value: float) -> mx.array:
    """``torch.nn.functional.threshold``: ``value`` where ``x <= threshold``."""
    return mx.where(x <= threshold, mx.array(value, dtype=x.dtype), x)


def leaky_relu(x: mx.array, negative_slope: float = 0.01) -> mx.array:
    """``torch.nn.functional.leaky_relu``."""
    return mx.where(x > 0, x, x * negative_slope)


def prelu(x: mx.array, weight: mx.array) -> mx.array:
    """``torch.nn.functional.prelu``; ``weight`` broadcasts against ``x`` (channels last)."""
    return mx.where(x > 0, x, weight * x)


def rrelu(x: mx.array, lower: float = 1 / 8, upper: float = 1 / 3) -> mx.array:
    """``torch.nn.functional.rrelu`` at inference: the mean slope."""
    return mx.where(x >= 0, x, x * ((lower + upper) / 2))


def elu(x: mx.array, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> mx.array:
    """``aten.elu``: ``scale * (x if x > 0 else alpha * expm1(input_scale * x))``."""
    return mx.where(x > 0, x * scale, mx.expm1(x * input_scale) * (alpha * scale))


def selu(x: mx.array) -> mx.array:
    """``torch.nn.functional.selu``."""
    return elu(x, 1.6732632423543772, 1.0507009873554805)


def celu(x: mx.array, alpha: float = 1.0) -> mx.array:
    """``torch.nn.functional.celu``: ``alpha * expm1(x / alpha)`` below zero."""
    return mx.where(x > 0, x, mx.expm1(x / alpha) * alpha)


def softplus(x: mx.array, beta: float = 1.0, threshold: float = 20.0) -> mx.array:
    """``torch.nn.functional.softplus``: linear where ``beta * x > threshold``."""
    scaled = x * beta
    soft = mx.logaddexp(scaled, mx.zeros_like(scaled)) / beta
    return mx.where(scaled > threshold, x, soft)


def log_sigmoid(x: mx.array) -> mx.array:
    """``torch.nn.functional.logsigmoid``."""
    return mx.minimum(x, 0) - mx.log1p(mx.exp(-mx.abs(x)))


def silu(x: mx.array) -> mx.array:
    """``torch.nn.functional.silu``: ``x * sigmoid(x)``."""
    return x * mx.sigmoid(x)


def mish(x: mx.array) -> mx.array:
    """``torch.nn.functional.mish``: ``x * tanh(softplus(x))``."""
    return x * mx.tanh(mx.logaddexp(x, mx.zeros_like(x)))


def gelu(x: mx.array, approximate: str = "none") -> mx.array:
    """``torch.nn.functional.gelu``; ``approximate`` is "none" (erf) or "tanh"."""
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
        return 0.5 * x * (1 + mx.tanh(inner))
    return x * (1 + mx.erf(x / math.sqrt(2))) / 2


def glu(x: mx.array, axis: int = -1) -> mx.array:
    """``torch.nn.functional.glu``: first half times the sigmoid of the second."""
    a, b = mx.split(x, 2, axis=axis)
    return a * mx.sigmoid(b)


def softsign(x: mx.array) -> mx.array:
    """``torch.nn.functional.softsign``: ``x / (1 + |x|)``."""
    return x / (1 + mx.abs(x))


def log_softmax(x: mx.array, axis: int = -1) -> mx.array:
    """``torch.log_softmax``."""
    return x - mx.logsumexp(x, axis=axis, keepdims=True)
