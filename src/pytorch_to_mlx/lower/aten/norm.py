"""Normalisation layers and weight norm."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dims import product
from pytorch_to_mlx.lower._channels import to_first, to_last
from pytorch_to_mlx.lower._precision import in_single
from pytorch_to_mlx.lower.aten import lowers
from pytorch_to_mlx.lower.aten._common import is_complex
from pytorch_to_mlx.lower.aten.reductions import mean_of, variance_of

FLOAT32_EPS = 1.1920928955078125e-07
DTYPE_EPS = {"float16": 0.0009765625, "bfloat16": 0.0078125, "float32": FLOAT32_EPS}


def _over_last(
    x: Value, normalized_shape: tuple[Any, ...], *params: Value | None
) -> tuple[Any, ...]:
    """``x`` and the parameters with the normalised axes merged into one."""
    count = len(normalized_shape)
    if count == 1:
        return x, *params
    merged = x.reshape(*x.dims[: x.ndim - count], product(normalized_shape))
    return merged, *(p if p is None else p.reshape(product(normalized_shape)) for p in params)


@lowers("aten.layer_norm.default")
def layer_norm(
    x: Value,
    normalized_shape: tuple[Any, ...],
    weight: Value | None = None,
    bias: Value | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Value:
    """layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, Tensor? bias=None,
    float eps=1.0000000000000001e-05, bool cudnn_enable=True) -> Tensor
    """
    merged, w, b = _over_last(x, normalized_shape, weight, bias)
    y = call(mx.fast.layer_norm, merged, w, b, eps)
    return y if merged is x else y.reshape(*x.dims)


@lowers("aten.native_layer_norm.default")
def native_layer_norm(
    x: Value,
    normalized_shape: tuple[Any, ...],
    weight: Value | None,
    bias: Value | None,
    eps: float,
) -> tuple[Value, Value, Value]:
    """native_layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight, Tensor? bias,
    float eps) -> (Tensor, Tensor, Tensor)
    """
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    mean = mean_of(x, axis=axes, keepdims=True)
    variance = variance_of(x, axis=axes, keepdims=True)
    return layer_norm(x, normalized_shape, weight, bias, eps), mean, call(mx.rsqrt, variance + eps)


@lowers("aten.rms_norm.default")
def rms_norm(
    x: Value,
    normalized_shape: tuple[Any, ...],
    weight: Value | None = None,
    eps: float | None = None,
) -> Value:
    """rms_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, float? eps=None) ->
    Tensor
    """
    eps = DTYPE_EPS.get(str(x.dtype), FLOAT32_EPS) if eps is None else eps
    if is_complex(x):  # by its plain square, as torch has it
        axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
        made = x / call(mx.sqrt, call(mx.mean, call(mx.square, x), axis=axes, keepdims=True) + eps)
        return made if weight is None else made * weight
    merged, w = _over_last(x, normalized_shape, weight)
    y = call(mx.fast.rms_norm, merged, w, eps)
    return y if merged is x else y.reshape(*x.dims)


@lowers("aten._fused_rms_norm.default")
def _fused_rms_norm(
    x: Value, normalized_shape: tuple[Any, ...], weight: Value | None, eps: float | None
) -> tuple[Value, Value]:
    """_fused_rms_norm(Tensor input, int[] normalized_shape, Tensor? weight, float? eps) ->
    (Tensor, Tensor)
    """
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    mean = in_single(x, lambda v: mean_of(call(mx.square, v), axis=axes, keepdims=True))
    rstd = call(mx.rsqrt, mean + (DTYPE_EPS[str(x.dtype)] if eps is None else eps))
    return rms_norm(x, normalized_shape, weight, eps), rstd


def _nothing() -> Value:
    """Stands for statistics that torch returns empty in inference."""
    return call(mx.zeros, (0,))


def _eval_batch_norm(
    x: Value, mean: Value, var: Value, weight: Value | None, bias: Value | None, eps: float
) -> Value:
    return to_first(call("ops.batch_norm", to_last(x), mean, var, weight, bias, eps))


def _statistics(x: Value) -> tuple[Value, Value]:
    """Mean and biased variance of each channel over batch and space."""
    axes = tuple(a for a in range(x.ndim) if a != 1)
    return mean_of(x, axis=axes), variance_of(x, axis=axes)


def _batch_norm(
    x: Value,
    weight: Value | None,
    bias: Value | None,
    mean: Value | None,
    var: Value | None,
    training: bool,
    eps: float,
) -> tuple[Value, Value, Value]:
    """The normalised array, and the batch's mean and ``1 / sqrt(var + eps)`` if they were used."""
    if not training and mean is not None and var is not None:
        return _eval_batch_norm(x, mean, var, weight, bias, eps), _nothing(), _nothing()
    batch_mean, batch_var = _statistics(x)
    y = _eval_batch_norm(x, batch_mean, batch_var, weight, bias, eps)
    return y, batch_mean, call(mx.rsqrt, batch_var + eps)


def _running(x: Value, mean: Value, var: Value, momentum: float) -> tuple[Value, Value]:
    """The running statistics after this batch (torch keeps the unbiased variance)."""
    axes = tuple(a for a in range(x.ndim) if a != 1)
    batch_mean, batch_var = mean_of(x, axis=axes), variance_of(x, axis=axes, ddof=1)
    keep = 1 - momentum
    return mean * keep + batch_mean * momentum, var * keep + batch_var * momentum


@lowers("aten._native_batch_norm_legit_no_training.default")
def _native_batch_norm_legit_no_training(
    x: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value,
    running_var: Value,
    momentum: float,
    eps: float,
) -> tuple[Value, Value, Value]:
    """_native_batch_norm_legit_no_training(Tensor input, Tensor? weight, Tensor? bias, Tensor
    running_mean, Tensor running_var, float momentum, float eps) -> (Tensor, Tensor, Tensor)
    """
    return _batch_norm(x, weight, bias, running_mean, running_var, False, eps)


@lowers("aten.native_batch_norm.default", "aten._native_batch_norm_legit.default")
def native_batch_norm(
    x: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Value, Value, Value]:
    """native_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor?
        running_var, bool training, float momentum, float eps) -> (Tensor, Tensor, Tensor)
    _native_batch_norm_legit(Tensor input, Tensor? weight, Tensor? bias, Tensor(a!)
        running_mean, Tensor(b!) running_var, bool training, float momentum, float eps) ->
        (Tensor, Tensor, Tensor)
    """
    return _batch_norm(x, weight, bias, running_mean, running_var, training, eps)


@lowers("aten._native_batch_norm_legit.no_stats")
def _native_batch_norm_legit_no_stats(
    x: Value, weight: Value | None, bias: Value | None, training: bool, momentum: float, eps: float
) -> tuple[Value, Value, Value]:
    """_native_batch_norm_legit.no_stats(Tensor input, Tensor? weight, Tensor? bias, bool training,
    float momentum, float eps) -> (Tensor, Tensor, Tensor)
    """
    return _batch_norm(x, weight, bias, None, None, training, eps)


@lowers("aten._native_batch_norm_legit_functional.default")
def _native_batch_norm_legit_functional(
    x: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value,
    running_var: Value,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Value, ...]:
    """_native_batch_norm_legit_functional(Tensor input, Tensor? weight, Tensor? bias, Tensor
    running_mean, Tensor running_var, bool training, float momentum, float eps) -> (Tensor,
    Tensor, Tensor, Tensor running_mean_out, Tensor running_var_out)
    """
    results = _batch_norm(x, weight, bias, running_mean, running_var, training, eps)
    stats = (
        _running(x, running_mean, running_var, momentum)
        if training
        else (running_mean, running_var)
    )
    return *results, *stats


@lowers("aten._batch_norm_no_update.default")
def _batch_norm_no_update(
    x: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    momentum: float,
    eps: float,
) -> tuple[Value, ...]:
    """_batch_norm_no_update(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean,
    Tensor? running_var, float momentum, float eps) -> (Tensor, Tensor, Tensor, Tensor)
    """
    return *_batch_norm(x, weight, bias, running_mean, running_var, False, eps), _nothing()


@lowers("aten._batch_norm_with_update_functional.default")
def _batch_norm_with_update_functional(
    x: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value,
    running_var: Value,
    momentum: float,
    eps: float,
) -> tuple[Value, ...]:
    """_batch_norm_with_update_functional(Tensor input, Tensor? weight, Tensor? bias, Tensor
    running_mean, Tensor running_var, float momentum, float eps) -> (Tensor, Tensor, Tensor,
    Tensor, Tensor running_mean_out, Tensor running_var_out)
    """
    results = _batch_norm(x, weight, bias, None, None, True, eps)
    return *results, _nothing(), *_running(x, running_mean, running_var, momentum)


@lowers("aten.batch_norm.default")
def batch_norm(
    x: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Value:
    """batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor?
    running_var, bool training, float momentum, float eps, bool cudnn_enabled) -> Tensor
    """
    return _batch_norm(x, weight, bias, running_mean, running_var, training, eps)[0]


@lowers("aten.group_norm.default")
def group_norm(
    x: Value,
    num_groups: int,
    weight: Value | None = None,
    bias: Value | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Value:
    """group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float
    eps=1.0000000000000001e-05, bool cudnn_enabled=True) -> Tensor
    """
    return to_first(call("ops.group_norm", to_last(x), num_groups, weight, bias, eps))


@lowers("aten.native_group_norm.default")
def native_group_norm(
    x: Value,
    weight: Value | None,
    bias: Value | None,
    N: Any,
    C: Any,
    HxW: Any,
    group: int,
    eps: float,
) -> tuple[Value, Value, Value]:
    """native_group_norm(Tensor input, Tensor? weight, Tensor? bias, SymInt N, SymInt C, SymInt
    HxW, int group, float eps) -> (Tensor, Tensor, Tensor)
    """
    grouped = x.reshape(x.dims[0], group, product(x.dims[1:]) // group)
    mean, var = mean_of(grouped, axis=-1), variance_of(grouped, axis=-1)
    return group_norm(x, group, weight, bias, eps), mean, call(mx.rsqrt, var + eps)


@lowers("aten.instance_norm.default")
def instance_norm(
    x: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Value:
    """instance_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor?
    running_var, bool use_input_stats, float momentum, float eps, bool cudnn_enabled) ->
    Tensor
    """
    if not use_input_stats and running_mean is not None and running_var is not None:
        return _eval_batch_norm(x, running_mean, running_var, weight, bias, eps)
    return to_first(call("ops.instance_norm", to_last(x), weight, bias, eps=eps))


def _norm_except(v: Value, dim: int) -> Value:
    axes = None if dim == -1 else tuple(a for a in range(v.ndim) if a != dim)
    how = {"axis": axes, "keepdims": dim != -1}
    return in_single(v, lambda w: call(mx.sqrt, call(mx.sum, call(mx.square, w), **how)))


@lowers("aten.norm_except_dim.default")
def norm_except_dim(v: Value, pow: int = 2, dim: int = 0) -> Value:
    """norm_except_dim(Tensor v, int pow=2, int dim=0) -> Tensor"""
    if pow == 2:
        return _norm_except(v, dim)
    axes = None if dim == -1 else tuple(a for a in range(v.ndim) if a != dim)
    total = call(mx.sum, call(mx.power, call(mx.abs, v), pow), axis=axes, keepdims=dim != -1)
    return call(mx.power, total, 1 / pow)


@lowers("aten._weight_norm.default")
def _weight_norm(v: Value, g: Value, dim: int = 0) -> Value:
    """_weight_norm(Tensor v, Tensor g, int dim=0) -> Tensor"""
    return v * (g / _norm_except(v, dim))


@lowers("aten._weight_norm_interface.default")
def _weight_norm_interface(v: Value, g: Value, dim: int = 0) -> tuple[Value, Value]:
    """_weight_norm_interface(Tensor v, Tensor g, int dim=0) -> (Tensor, Tensor)"""
    norm = _norm_except(v, dim)
    return v * (g / norm), norm
