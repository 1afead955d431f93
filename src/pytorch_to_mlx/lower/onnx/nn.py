"""Convolutions, pools and norms."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dims import as_dim, is_static, product
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower._channels import settings, spatial, to_first, to_last, weights
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._common import call_as, cast, getitem, is_float
from pytorch_to_mlx.lower.onnx._context import node
from pytorch_to_mlx.lower.onnx._windows import Windows, pooled, windows
from pytorch_to_mlx.ops.conv import conv_integer
from pytorch_to_mlx.ops.norms import instance_norm, layer_norm_over, local_response_norm
from pytorch_to_mlx.ops.pooling_indices import max_pool_with_indices
from pytorch_to_mlx.ops.pooling_padded import avg_pool_padded, lp_pool_padded, max_pool_padded

CONV = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
CONV_TRANSPOSE = {**CONV, "output_padding": 0}


def convolution(x: Value, w: Value, b: Value | None, given: Windows, group: int) -> Value:
    """``x`` [N, C, *space], ``w`` [O, C / group, *kernel] as ONNX has them."""
    n = x.ndim - 2
    last = w.transpose(0, *range(2, n + 2), 1)
    if not is_float(x):
        general = (given.stride, given.pads, given.dilation, group)
        y: Value = spatial(x, n, lambda v: call(conv_integer, v, last, *general))
        return y if b is None else y + b.reshape(-1, *(1,) * n)
    padding: Any = given.padding if given.symmetric else 0
    if not given.symmetric:
        x = call(mx.pad, x, ((0, 0), (0, 0), *given.pads))
    options = settings(
        CONV, stride=given.stride, padding=padding, dilation=given.dilation, groups=group
    )
    out: Value = spatial(x, n, lambda v: call(f"ops.conv{n}d", v, last, *weights(b), **options))
    return out


def _space(x: Value) -> int:
    if not 1 <= x.ndim - 2 <= 3:
        raise Unsupported(f"an input of rank {x.ndim}: one to three spatial axes are known")
    return x.ndim - 2


@lowers("Conv")
def conv(
    X: Value,
    W: Value,
    B: Value | None = None,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    """Conv(T X, T W, T? B, string auto_pad, ints dilations, int group=1, ints pads, ...) -> T Y"""
    _space(X)
    kernel = tuple(int(d) for d in W.dims[2:])
    given = windows(X.dims[2:], kernel, strides, dilations, pads, auto_pad)
    return convolution(X, W, B, given, group)


@lowers("ConvInteger")
def conv_integer_(
    x: Value,
    w: Value,
    x_zero_point: Value | None = None,
    w_zero_point: Value | None = None,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    """ConvInteger(T1 x, T2 w, T1? x_zero_point, T2? w_zero_point, ...) -> int32 y"""
    _space(x)
    wide, kernel = cast(x, "int32"), cast(w, "int32")
    if x_zero_point is not None:
        wide = wide - cast(x_zero_point, "int32")
    if w_zero_point is not None:
        zero = cast(w_zero_point, "int32")
        kernel = kernel - (zero.reshape(-1, *(1,) * (w.ndim - 1)) if zero.ndim else zero)
    given = windows(
        x.dims[2:], tuple(int(d) for d in w.dims[2:]), strides, dilations, pads, auto_pad
    )
    return convolution(wide, kernel, None, given, group)


@lowers("ConvTranspose")
def conv_transpose(
    X: Value,
    W: Value,
    B: Value | None = None,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    output_padding: tuple[int, ...] | None = None,
    output_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    """ConvTranspose(T X, T W, T? B, ints output_padding, ints output_shape, ...) -> T Y"""
    n = _space(X)
    kernel = tuple(int(d) for d in W.dims[2:])
    plain = windows(X.dims[2:], kernel, strides, dilations, pads, "NOTSET")
    extra = tuple(output_padding or (0,) * n)
    cut = _cut(X.dims[2:], plain, extra, output_shape, auto_pad)
    even = all(is_static(a) and is_static(b) and a == b for a, b in cut)
    padding: Any = tuple(int(low) for low, _ in cut) if even else 0
    options = settings(
        CONV_TRANSPOSE,
        stride=plain.stride,
        padding=padding,
        dilation=plain.dilation,
        output_padding=extra,
        groups=group,
    )
    last = _transposed_weight(W, group)
    y: Value = spatial(
        X, n, lambda v: call(f"ops.conv_transpose{n}d", v, last, *weights(B), **options)
    )
    if even:
        return y
    if any((is_static(high) and int(high) < 0) or int(low) < 0 for low, high in cut):
        grow = tuple((max(-low, 0), max(-high, 0)) for low, high in cut)
        y = call(mx.pad, y, ((0, 0), (0, 0), *grow))
        cut = tuple((max(low, 0), max(high, 0)) for low, high in cut)
    key = [slice(None), slice(None)]
    for (low, high), size in zip(cut, y.dims[2:], strict=True):
        key.append(slice(low or None, as_dim(size - high) if high else None))
    return getitem(y, *key)


def _cut(
    sizes: tuple[Any, ...],
    w: Windows,
    extra: tuple[int, ...],
    output_shape: tuple[int, ...] | None,
    auto_pad: str,
) -> tuple[tuple[Any, Any], ...]:
    """What a full transposed convolution loses at each end of each axis."""
    if output_shape is None and auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        return w.pads if auto_pad != "VALID" else ((0, 0),) * len(w.kernel)
    cut = []
    for i, size in enumerate(sizes):
        full = w.stride[i] * (size - 1) + extra[i] + (w.kernel[i] - 1) * w.dilation[i] + 1
        wanted = output_shape[-len(sizes) :][i] if output_shape else size * w.stride[i]
        total = as_dim(full - wanted)
        if not is_static(total):
            raise Unsupported("an output shape for an input of dynamic size")
        if auto_pad == "SAME_UPPER":
            cut.append((total // 2, total - total // 2))
        else:
            cut.append((total - total // 2, total // 2))
    return tuple(cut)


def _transposed_weight(weight: Value, groups: int) -> Value:
    """ONNX's [I, O / groups, *kernel] as MLX's [O, *kernel, I / groups]."""
    n = weight.ndim - 2
    kernel = tuple(range(2, n + 2))
    if groups == 1:
        return weight.transpose(1, *kernel, 0)
    inputs, outputs, *sizes = weight.dims
    split = weight.reshape(groups, as_dim(inputs // groups), outputs, *sizes)
    order = (0, 2, *(k + 1 for k in kernel), 1)
    return split.transpose(*order).reshape(groups * outputs, *sizes, inputs // groups)


# -- pools -----------------------------------------------------------------------------------------


def _pool(x: Value, given: Windows, ceil_mode: int, fn: Any, *args: Any, **options: Any) -> Value:
    dims = (x.dims[0], *pooled(x.dims[2:], given, bool(ceil_mode)), x.dims[1])
    extra = (given.kernel, given.stride, given.pads, given.dilation)
    ceil = {"ceil_mode": True} if ceil_mode else {}
    y = call_as(fn, [(dims, x.dtype)], to_last(x), *args, *extra, **ceil, **options)
    return to_first(y)


@lowers("MaxPool")
def max_pool(
    X: Value,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: tuple[int, ...] | None = None,
    kernel_shape: tuple[int, ...] = (),
    pads: tuple[int, ...] | None = None,
    storage_order: int = 0,
    strides: tuple[int, ...] | None = None,
) -> Any:
    """MaxPool(T X, string auto_pad, int ceil_mode=0, ints kernel_shape, ...) -> (T Y, I Indices)"""
    given = windows(X.dims[2:], kernel_shape, strides, dilations, pads, auto_pad)
    wanted = node().wanted
    if len(wanted) > 1 and wanted[1]:
        return _max_pool_places(X, given, bool(ceil_mode), storage_order)
    if given.symmetric:
        ceil = (True,) if ceil_mode else ()
        options = (given.kernel, given.stride, given.padding, given.dilation, *ceil)
        return spatial(X, X.ndim - 2, lambda v: call("ops.max_pool", v, *options))
    return _pool(X, given, ceil_mode, max_pool_padded)


def _max_pool_places(x: Value, given: Windows, ceil_mode: bool, storage_order: int) -> Any:
    """Values and their places in the whole flattened input."""
    if not given.symmetric:
        raise Unsupported("indices of a pool whose pads differ at the two ends")
    options = (given.kernel, given.stride, given.padding, given.dilation, ceil_mode)
    y, places = spatial(x, x.ndim - 2, lambda v: call(max_pool_with_indices, v, *options))
    space = x.dims[2:]
    if storage_order:
        flipped, scale = None, 1
        for axis, size in enumerate(space):
            after = product(space[axis + 1 :])
            part = call(mx.remainder, call(mx.floor_divide, places, after), size) * scale
            flipped = part if flipped is None else flipped + part
            scale = as_dim(scale * size)
        places = flipped
    rows = call(mx.arange, product(x.dims[:2]), dtype=DType("int64"))
    offsets = rows.reshape(*x.dims[:2], *(1,) * len(space)) * product(space)
    return y, places + offsets


@lowers("AveragePool")
def average_pool(
    X: Value,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: tuple[int, ...] | None = None,
    kernel_shape: tuple[int, ...] = (),
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    """AveragePool(T X, string auto_pad, int ceil_mode=0, int count_include_pad=0, ...) -> T Y"""
    given = windows(X.dims[2:], kernel_shape, strides, dilations, pads, auto_pad)
    plain = given.symmetric and not ceil_mode and all(d == 1 for d in given.dilation)
    if plain and (count_include_pad or not any(given.padding)):
        options = (given.kernel, given.stride, given.padding)
        out: Value = spatial(X, X.ndim - 2, lambda v: call("ops.avg_pool", v, *options))
        return out
    include = {"count_include_pad": True} if count_include_pad else {}
    return _pool(X, given, ceil_mode, avg_pool_padded, **include)


@lowers("LpPool")
def lp_pool(
    X: Value,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: tuple[int, ...] | None = None,
    kernel_shape: tuple[int, ...] = (),
    p: float = 2,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    """LpPool(T X, string auto_pad, ints kernel_shape, int p=2, ints pads, ints strides) -> T Y"""
    given = windows(X.dims[2:], kernel_shape, strides, dilations, pads, auto_pad)
    return _pool(X, given, ceil_mode, lp_pool_padded, int(p))


def _space_axes(x: Value) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@lowers("GlobalAveragePool")
def global_average_pool(X: Value) -> Value:
    """GlobalAveragePool(T X) -> T Y"""
    return call(mx.mean, X, axis=_space_axes(X), keepdims=True)


@lowers("GlobalMaxPool")
def global_max_pool(X: Value) -> Value:
    """GlobalMaxPool(T X) -> T Y"""
    return call(mx.max, X, axis=_space_axes(X), keepdims=True)


@lowers("GlobalLpPool")
def global_lp_pool(X: Value, p: float = 2) -> Value:
    """GlobalLpPool(T X, int p=2) -> T Y"""
    total = call(mx.sum, call(mx.power, call(mx.abs, X), p), axis=_space_axes(X), keepdims=True)
    return call(mx.power, total, 1 / p)


# -- norms -----------------------------------------------------------------------------------------


@lowers("BatchNormalization")
def batch_normalization(
    X: Value,
    scale: Value,
    B: Value,
    input_mean: Value,
    input_var: Value,
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
    now, spread = call(mx.mean, x, axis=axes), call(mx.var, x, axis=axes)
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
    Scale: Value,
    B: Value | None = None,
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
    scale: Value,
    bias: Value,
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
