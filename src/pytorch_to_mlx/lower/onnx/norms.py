"""Normalizations."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.lower._channels import to_first, to_last
from pytorch_to_mlx.lower._precision import in_single
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._common import Weight, call_as, cast
from pytorch_to_mlx.lower.onnx._context import node
from pytorch_to_mlx.ops.norms import instance_norm, layer_norm_over, local_response_norm


@lowers("BatchNormalization")
def batch_normalization(
    X: Value,
    scale: Weight,
    B: Weight,
    input_mean: Weight,
    input_var: Weight,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    spatial: int = 1,
    is_test: int = 1,
    consumed_inputs: Any = None,
) -> Any:
    """BatchNormalization(T X, T1 scale, T1 B, T2 input_mean, T2 input_var, float epsilon=1e-05,
    float momentum=0.9, int training_mode=0) -> (T Y, T2 running_mean, T2 running_var)"""
    if training_mode:
        return _batch_norm_training(X, scale, B, input_mean, input_var, epsilon, momentum)
    last = to_last(X) if X.ndim > 2 else X
    y = call("ops.batch_norm", last, input_mean, input_var, scale, B, epsilon)
    y = cast(y, str(X.dtype))
    return to_first(y) if X.ndim > 2 else y


def _batch_norm_training(
    x: Value, scale: Value, b: Value, mean: Value, var: Value, epsilon: float, momentum: float
) -> tuple[Value, Value, Value]:
    axes = (0, *range(2, x.ndim))
    now = in_single(x, lambda wide: call(mx.mean, wide, axis=axes))
    spread = in_single(x, lambda wide: call(mx.var, wide, axis=axes))
    last = to_last(x) if x.ndim > 2 else x
    y = call("ops.batch_norm", last, now, spread, scale, b, epsilon)
    blend = [
        cast(old * momentum + new * (1 - momentum), str(old.dtype))
        for old, new in ((mean, now), (var, spread))
    ]
    return cast(to_first(y) if x.ndim > 2 else y, str(x.dtype)), blend[0], blend[1]


@lowers("InstanceNormalization")
def instance_normalization(input: Value, scale: Value, B: Value, epsilon: float = 1e-5) -> Value:
    """InstanceNormalization(T input, T scale, T B, float epsilon=1e-05) -> T output"""
    options = {} if epsilon == 1e-5 else {"eps": epsilon}
    last = to_last(input)
    return to_first(call_as(instance_norm, [(last.dims, input.dtype)], last, scale, B, **options))


@lowers("LayerNormalization")
def layer_normalization(
    X: Value,
    Scale: Weight,
    B: Weight | None = None,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Any:
    """LayerNormalization(T X, T Scale, T? B, int axis=-1, float epsilon=1e-05, int stash_type=1)
    -> (T Y, U Mean, U InvStdDev)"""
    dims = X.ndim - axis % X.ndim
    same = Scale.ndim == dims and (B is None or B.ndim == dims)
    if dims == 1 and same:
        y = call("mx.fast.layer_norm", X, Scale, B, epsilon)
    elif same:
        y = call_as(layer_norm_over, [(X.dims, X.dtype)], X, dims, Scale, B, epsilon)
    else:
        y = call_as(layer_norm_over, [(X.dims, X.dtype)], X, dims, None, None, epsilon) * Scale
        y = y if B is None else y + B
    wanted = node().wanted
    if len(wanted) < 2 or not any(wanted[1:]):
        return y
    axes = tuple(range(X.ndim - dims, X.ndim))
    wide = cast(X, "float32") if stash_type == 1 else X
    mean = call(mx.mean, wide, axis=axes, keepdims=True)
    spread = call(mx.var, wide, axis=axes, keepdims=True)
    return y, mean, call(mx.rsqrt, spread + epsilon)


@lowers("RMSNormalization")
def rms_normalization(
    X: Value, scale: Value, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """RMSNormalization(T X, V scale, int axis=-1, float epsilon=1e-05, int stash_type=1) -> V Y"""
    dims = X.ndim - axis % X.ndim
    if dims == 1 and scale.ndim == 1:
        return cast(call("mx.fast.rms_norm", X, scale, epsilon), str(scale.dtype))
    axes = tuple(range(X.ndim - dims, X.ndim))
    wide = cast(X, "float32") if stash_type == 1 else X
    mean = call(mx.mean, call(mx.square, wide), axis=axes, keepdims=True)
    normal = cast(wide * call(mx.rsqrt, mean + epsilon), str(X.dtype))
    return normal * scale


@lowers("GroupNormalization", since=21)
def group_normalization(
    X: Value,
    scale: Weight,
    bias: Weight,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Value:
    """GroupNormalization(T X, T scale, T bias, int num_groups, float epsilon=1e-05) -> T Y"""
    y = call("ops.group_norm", to_last(X), num_groups, scale, bias, epsilon)
    return to_first(y)


@lowers("LRN")
def lrn(X: Value, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Value:
    """LRN(T X, int size, float alpha=0.0001, float beta=0.75, float bias=1) -> T Y"""
    last = to_last(X)
    if size % 2 == 0:
        raise Unsupported("an even window: ONNX and torch put its middle at different channels")
    y = call_as(local_response_norm, [(last.dims, X.dtype)], last, size, alpha, beta, bias)
    return to_first(y)


@lowers("LpNormalization")
def lp_normalization(input: Value, axis: int = -1, p: int = 2) -> Value:
    """LpNormalization(T input, int axis=-1, int p=2) -> T output; 0 where the norm is 0."""
    powers = call(mx.abs, input) if p == 1 else call(mx.square, input)
    norm = call(mx.sum, powers, axis=axis, keepdims=True)
    norm = norm if p == 1 else call(mx.sqrt, norm)
    zero = call(mx.zeros_like, input)
    return call(mx.where, call(mx.equal, norm, 0), zero, input / norm)
