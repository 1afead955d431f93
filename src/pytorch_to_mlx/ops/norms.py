"""Normalisations beyond MLX's layers. Spatial arguments are channels last: [N, ..., C]."""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.ops.reductions import vector_norm


def scale_and_shift(x: mx.array, weight: mx.array | None, bias: mx.array | None) -> mx.array:
    """``x * weight + bias``, either of which may be missing."""
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def standardize(x: mx.array, axes: tuple[int, ...], eps: float) -> mx.array:
    """Zero mean and unit (biased) variance over ``axes``, computed and returned in float32."""
    wide = x.astype(mx.float32)
    centered = wide - mx.mean(wide, axis=axes, keepdims=True)
    return centered * mx.rsqrt(mx.mean(mx.square(centered), axis=axes, keepdims=True) + eps)


def batch_norm_train(
    x: mx.array,
    weight: mx.array | None = None,
    bias: mx.array | None = None,
    running_mean: mx.array | None = None,
    running_var: mx.array | None = None,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[mx.array, mx.array | None, mx.array | None]:
    """Batch norm by the batch's own statistics ([N, ..., C]), with the updated running ones.

    ``torch.nn.functional.batch_norm(training=True)``: the running variance is the unbiased one.
    """
    axes = tuple(range(x.ndim - 1))
    y = scale_and_shift(standardize(x, axes, eps), weight, bias).astype(x.dtype)
    if running_mean is None or running_var is None:
        return y, running_mean, running_var
    wide = x.astype(mx.float32)
    mean, unbiased = mx.mean(wide, axis=axes), mx.var(wide, axis=axes, ddof=1)
    new_mean = (1 - momentum) * running_mean + momentum * mean
    new_var = (1 - momentum) * running_var + momentum * unbiased
    return y, new_mean.astype(running_mean.dtype), new_var.astype(running_var.dtype)


def instance_norm(
    x: mx.array,
    weight: mx.array | None = None,
    bias: mx.array | None = None,
    running_mean: mx.array | None = None,
    running_var: mx.array | None = None,
    use_input_stats: bool = True,
    eps: float = 1e-5,
) -> mx.array:
    """``torch.nn.functional.instance_norm`` of [N, ..., C]: each channel of each sample alone.

    Without ``use_input_stats`` the running statistics [C] are used.
    """
    if use_input_stats or running_mean is None or running_var is None:
        y = standardize(x, tuple(range(1, x.ndim - 1)), eps)
    else:
        y = (x.astype(mx.float32) - running_mean) * mx.rsqrt(running_var + eps)
    return scale_and_shift(y, weight, bias).astype(x.dtype)


def layer_norm_over(
    x: mx.array,
    dims: int,
    weight: mx.array | None = None,
    bias: mx.array | None = None,
    eps: float = 1e-5,
) -> mx.array:
    """``torch.layer_norm`` over the last ``dims`` axes, the shape of ``weight`` and ``bias``."""
    if dims == 1:
        return mx.fast.layer_norm(x, weight, bias, eps)
    y = standardize(x, tuple(range(-dims, 0)), eps)
    return scale_and_shift(y, weight, bias).astype(x.dtype)


def rms_norm_over(
    x: mx.array, dims: int, weight: mx.array | None = None, eps: float | None = None
) -> mx.array:
    """``torch.rms_norm`` over the last ``dims`` axes; ``eps=None`` is the dtype's epsilon."""
    if eps is None:
        eps = mx.finfo(mx.float32 if x.dtype != mx.float64 else x.dtype).eps
    if dims == 1:
        return mx.fast.rms_norm(x, weight, eps)
    wide = x.astype(mx.float32)
    axes = tuple(range(-dims, 0))
    y = wide * mx.rsqrt(mx.mean(mx.square(wide), axis=axes, keepdims=True) + eps)
    return scale_and_shift(y, weight, None).astype(x.dtype)


def local_response_norm(
    x: mx.array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> mx.array:
    """``torch.nn.functional.local_response_norm`` of [N, ..., C], across neighbouring channels."""
    channels = x.shape[-1]
    before = size // 2
    squares = mx.pad(mx.square(x), [(0, 0)] * (x.ndim - 1) + [(before, (size - 1) // 2)])
    total = squares[..., :channels]
    for shift in range(1, size):
        total = total + squares[..., shift : shift + channels]
    return x / mx.power(total * (alpha / size) + k, beta)


def weight_norm(v: mx.array, g: mx.array, axis: int = 0) -> mx.array:
    """``torch._weight_norm``: ``g * v / |v|``, the norm over all axes but ``axis`` (-1: all)."""
    others = tuple(i for i in range(v.ndim) if i != axis)
    return v * (g / vector_norm(v, 2, others, keepdims=True))


def normalize(x: mx.array, p: float = 2.0, axis: int = 1, eps: float = 1e-12) -> mx.array:
    """``torch.nn.functional.normalize``: divide by the p-norm along ``axis``, at least ``eps``."""
    return x / mx.maximum(vector_norm(x, p, axis, keepdims=True), eps)
