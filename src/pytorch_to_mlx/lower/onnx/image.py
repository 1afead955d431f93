"""Images: sampling at points, columns to images, unpooling, cropping, deformed convolution."""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Value
from pytorch_to_mlx.graph.dims import as_dim, is_static
from pytorch_to_mlx.lower._channels import spatial, to_first, to_last
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._common import Ints, axes_of, call_as, fresh
from pytorch_to_mlx.lower.onnx._windows import windows
from pytorch_to_mlx.ops.detection import deform_conv
from pytorch_to_mlx.ops.fold import col2im
from pytorch_to_mlx.ops.grid_sample import (
    affine_grid,
    grid_sample_cubic,
    grid_sample_linear,
    grid_sample_nearest,
)
from pytorch_to_mlx.ops.pooling_indices import max_unpool_flat
from pytorch_to_mlx.ops.rearrange import center_crop_pad

SAMPLERS = {
    "bilinear": grid_sample_linear,
    "linear": grid_sample_linear,
    "nearest": grid_sample_nearest,
    "bicubic": grid_sample_cubic,
    "cubic": grid_sample_cubic,
}


def known_size(d: Any) -> bool:
    """Whether a host integer is sure to be a size: a number, or made of the inputs' sizes."""
    return is_static(d) or all(s.is_positive for s in d.free_symbols)


def sizes_of(given: Ints) -> tuple[Any, ...]:
    """Sizes of a result; what is read from arrays gives new ones."""
    return tuple(d if known_size(d) else fresh() for d in given)


@lowers("GridSample")
def grid_sample(
    X: Value,
    grid: Value,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> Value:
    """GridSample(T1 X, T2 grid, int align_corners=0, string mode="linear", string
    padding_mode="zeros") -> T1 Y"""
    if SAMPLERS[mode] is grid_sample_cubic and X.ndim != 4:
        raise Unsupported("cubic grid sampling of anything but images")
    options: dict[str, Any] = {} if padding_mode == "zeros" else {"padding_mode": padding_mode}
    if align_corners:
        options["align_corners"] = True
    dims = (X.dims[0], *grid.dims[1:-1], X.dims[1])
    fn = SAMPLERS[mode]
    out: Value = spatial(
        X, X.ndim - 2, lambda v: call_as(fn, [(dims, X.dtype)], v, grid, **options)
    )
    return out


@lowers("AffineGrid")
def affine_grid_(theta: Value, size: Ints, align_corners: int = 0) -> Value:
    """AffineGrid(T1 theta, int64 size, int align_corners=0) -> T1 grid"""
    space = tuple(size[2:])
    dims = (theta.dims[0], *sizes_of(space), len(space))
    extra = (True,) if align_corners else ()
    out: Value = call_as(affine_grid, [(dims, theta.dtype)], theta, space, *extra)
    return out


@lowers("Col2Im")
def col2im_(
    input: Value,
    image_shape: Ints,
    block_shape: Ints,
    dilations: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    """Col2Im(T input, int64 image_shape, int64 block_shape, ints dilations, ints pads, ints
    strides) -> T output"""
    given = windows(image_shape, block_shape, strides, dilations, pads, "NOTSET")
    taps: Any = 1
    for k in block_shape:
        taps = taps * k
    channels = input.dims[1]
    sure = is_static(taps) and is_static(channels)
    dims = (
        input.dims[0],
        int(channels) // int(taps) if sure else fresh(),
        *sizes_of(image_shape),
    )
    settings = (image_shape, block_shape, given.dilation, given.pads, given.stride)
    out: Value = call_as(col2im, [(dims, input.dtype)], input, *settings)
    return out


@lowers("MaxUnpool")
def max_unpool(
    X: Value,
    I: Value,
    output_shape: Ints | None = None,
    kernel_shape: tuple[int, ...] = (),
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    """MaxUnpool(T1 X, int64 I, int64? output_shape, ints kernel_shape, ints pads, ints strides)
    -> T1 output"""
    w = windows(X.dims[2:], kernel_shape, strides, None, pads, "NOTSET")
    axes = zip(X.dims[2:], w.kernel, w.stride, w.pads, strict=True)
    space = tuple(as_dim((n - 1) * s + k - low - high) for n, k, s, (low, high) in axes)
    size = (*X.dims[:2], *space)
    dims = size if output_shape is None else sizes_of(output_shape)
    extra = () if output_shape is None else (output_shape,)
    out: Value = call_as(max_unpool_flat, [(dims, X.dtype)], X, I, size, *extra)
    return out


@lowers("CenterCropPad")
def center_crop_pad_(input_data: Value, shape: Ints, axes: tuple[int, ...] | None = None) -> Value:
    """CenterCropPad(T input_data, Tind shape, ints axes) -> T output_data"""
    rank = input_data.ndim
    at = tuple(range(rank)) if axes is None else axes_of(axes, rank)
    dims = list(input_data.dims)
    for axis, size in zip(at, sizes_of(shape), strict=True):
        dims[axis] = size
    result = [(tuple(dims), input_data.dtype)]
    out: Value = call_as(center_crop_pad, result, input_data, shape, at)
    return out


@lowers("DeformConv")
def deform_conv_(
    X: Value,
    W: Value,
    offset: Value,
    B: Value | None = None,
    mask: Value | None = None,
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    offset_group: int = 1,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    """DeformConv(T X, T W, T offset, T? B, T? mask, ints dilations, int group=1, int
    offset_group=1, ...) -> T Y"""
    if X.ndim != 4:
        raise Unsupported("deformed convolution of anything but images")
    kernel = tuple(int(d) for d in W.dims[2:])
    w = windows(X.dims[2:], kernel, strides, dilations, pads, "NOTSET")
    moves = to_last(offset)
    dims = (*moves.dims[:3], W.dims[0])
    options: dict[str, Any] = {} if mask is None else {"mask": to_last(mask)}
    settings = {
        "stride": w.stride,
        "pads": tuple(int(low) for low, _ in w.pads),
        "dilation": w.dilation,
        "groups": group,
        "offset_groups": offset_group,
    }
    plain: dict[str, Any] = {
        "stride": (1, 1),
        "pads": (0, 0),
        "dilation": (1, 1),
        "groups": 1,
        "offset_groups": 1,
    }
    options.update({k: v for k, v in settings.items() if v != plain[k]})
    bias = () if B is None else (B,)
    args = (to_last(X), to_last(W), moves, *bias)
    return to_first(call_as(deform_conv, [(dims, X.dtype)], *args, **options))
