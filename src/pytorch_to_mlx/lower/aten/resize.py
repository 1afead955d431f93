"""Resizing, sampling at grids, rearranging pixels and channels, sliding blocks."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import sympy

from pytorch_to_mlx.graph import FloorDiv, Value, call, is_static
from pytorch_to_mlx.graph.dims import PyCall
from pytorch_to_mlx.lower._channels import add_batch, drop_batch, per_axis, spatial, to_last
from pytorch_to_mlx.lower.aten import Unsupported, lowers
from pytorch_to_mlx.ops.fold import channel_shuffle as ops_channel_shuffle
from pytorch_to_mlx.ops.fold import fold, unfold
from pytorch_to_mlx.ops.fold import pixel_shuffle as ops_pixel_shuffle
from pytorch_to_mlx.ops.fold import pixel_unshuffle as ops_pixel_unshuffle
from pytorch_to_mlx.ops.grid_sample import (
    affine_grid,
    grid_sample_cubic,
    grid_sample_linear,
    grid_sample_nearest,
)
from pytorch_to_mlx.ops.interpolate import (
    interpolate_antialias,
    interpolate_cubic,
    interpolate_linear,
    interpolate_nearest,
)


def _scaled(size: Any, scale: float) -> Any:
    """``floor(size * scale)``, the output size that a scale factor asks for."""
    if is_static(size):
        return math.floor(int(size) * scale)
    ratio = Fraction(scale)
    if ratio.denominator <= 64:
        return FloorDiv(size * ratio.numerator, sympy.Integer(ratio.denominator))
    return PyCall(sympy.Symbol("py:math.floor"), size * scale)


def _target(x: Value, axes: int, output_size: Any, scales: Any) -> tuple[Any, Any]:
    """Output sizes, and the scale factors where they are not simply the ratios of the sizes."""
    sizes = x.dims[-axes:]
    if output_size is None:
        output_size = [_scaled(s, f) for s, f in zip(sizes, scales, strict=True)]
    if scales is None or all(
        f is None or (f >= 1 and float(f).is_integer() and n == s * int(f))
        for f, s, n in zip(scales, sizes, output_size, strict=True)
    ):
        return tuple(output_size), None
    return tuple(output_size), tuple(scales)


def _nearest(axes: int, x: Value, output_size: Any, scales: Any, exact: bool = False) -> Value:
    size, factors = _target(x, axes, output_size, scales)
    given: dict[str, Any] = {} if factors is None else {"scales": factors}
    if exact:
        given["exact"] = True
    return spatial(x, axes, lambda v: call(interpolate_nearest, v, size, **given))


def _smooth(
    axes: int,
    fn: Any,
    x: Value,
    output_size: Any,
    align_corners: bool,
    scales: Any,
    **more: Any,
) -> Value:
    size, factors = _target(x, axes, output_size, scales)
    given: dict[str, Any] = {} if factors is None else {"scales": factors}
    given |= {"align_corners": align_corners, **more}
    return spatial(x, axes, lambda v: call(fn, v, size, **given))


@lowers("aten.upsample_nearest1d.default")
def upsample_nearest1d(x: Value, output_size: Any, scales: float | None = None) -> Value:
    """upsample_nearest1d(Tensor self, SymInt[1] output_size, float? scales=None) -> Tensor"""
    return _nearest(1, x, output_size, (scales,))


@lowers("aten.upsample_nearest2d.default")
def upsample_nearest2d(
    x: Value, output_size: Any, scales_h: float | None = None, scales_w: float | None = None
) -> Value:
    """upsample_nearest2d(Tensor self, SymInt[2] output_size, float? scales_h=None, float?
    scales_w=None) -> Tensor
    """
    return _nearest(2, x, output_size, (scales_h, scales_w))


@lowers("aten.upsample_nearest3d.default")
def upsample_nearest3d(
    x: Value,
    output_size: Any,
    scales_d: float | None = None,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Value:
    """upsample_nearest3d(Tensor self, SymInt[3] output_size, float? scales_d=None, float?
    scales_h=None, float? scales_w=None) -> Tensor
    """
    return _nearest(3, x, output_size, (scales_d, scales_h, scales_w))


@lowers("aten.upsample_nearest1d.vec", "aten.upsample_nearest2d.vec", "aten.upsample_nearest3d.vec")
def upsample_nearest_vec(x: Value, output_size: Any, scale_factors: Any) -> Value:
    """upsample_nearest1d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) ->
        Tensor
    upsample_nearest2d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) ->
        Tensor
    upsample_nearest3d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) ->
        Tensor
    """
    return _nearest(x.ndim - 2, x, output_size, scale_factors)


@lowers("aten._upsample_nearest_exact1d.default")
def _upsample_nearest_exact1d(x: Value, output_size: Any, scales: float | None = None) -> Value:
    """_upsample_nearest_exact1d(Tensor self, SymInt[1] output_size, float? scales=None) ->
    Tensor
    """
    return _nearest(1, x, output_size, (scales,), exact=True)


@lowers("aten._upsample_nearest_exact2d.default")
def _upsample_nearest_exact2d(
    x: Value, output_size: Any, scales_h: float | None = None, scales_w: float | None = None
) -> Value:
    """_upsample_nearest_exact2d(Tensor self, SymInt[2] output_size, float? scales_h=None, float?
    scales_w=None) -> Tensor
    """
    return _nearest(2, x, output_size, (scales_h, scales_w), exact=True)


@lowers("aten._upsample_nearest_exact3d.default")
def _upsample_nearest_exact3d(
    x: Value,
    output_size: Any,
    scales_d: float | None = None,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Value:
    """_upsample_nearest_exact3d(Tensor self, SymInt[3] output_size, float? scales_d=None, float?
    scales_h=None, float? scales_w=None) -> Tensor
    """
    return _nearest(3, x, output_size, (scales_d, scales_h, scales_w), exact=True)


@lowers(
    "aten._upsample_nearest_exact1d.vec",
    "aten._upsample_nearest_exact2d.vec",
    "aten._upsample_nearest_exact3d.vec",
)
def _upsample_nearest_exact_vec(x: Value, output_size: Any, scale_factors: Any) -> Value:
    """_upsample_nearest_exact1d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors)
        -> Tensor
    _upsample_nearest_exact2d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors)
        -> Tensor
    _upsample_nearest_exact3d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors)
        -> Tensor
    """
    return _nearest(x.ndim - 2, x, output_size, scale_factors, exact=True)


@lowers("aten.upsample_linear1d.default")
def upsample_linear1d(
    x: Value, output_size: Any, align_corners: bool, scales: float | None = None
) -> Value:
    """upsample_linear1d(Tensor self, SymInt[1] output_size, bool align_corners, float?
    scales=None) -> Tensor
    """
    return _smooth(1, interpolate_linear, x, output_size, align_corners, (scales,))


@lowers("aten.upsample_bilinear2d.default")
def upsample_bilinear2d(
    x: Value,
    output_size: Any,
    align_corners: bool,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Value:
    """upsample_bilinear2d(Tensor self, SymInt[2] output_size, bool align_corners, float?
    scales_h=None, float? scales_w=None) -> Tensor
    """
    return _smooth(2, interpolate_linear, x, output_size, align_corners, (scales_h, scales_w))


@lowers("aten.upsample_trilinear3d.default")
def upsample_trilinear3d(
    x: Value,
    output_size: Any,
    align_corners: bool,
    scales_d: float | None = None,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Value:
    """upsample_trilinear3d(Tensor self, SymInt[3] output_size, bool align_corners, float?
    scales_d=None, float? scales_h=None, float? scales_w=None) -> Tensor
    """
    scales = (scales_d, scales_h, scales_w)
    return _smooth(3, interpolate_linear, x, output_size, align_corners, scales)


@lowers(
    "aten.upsample_linear1d.vec", "aten.upsample_bilinear2d.vec", "aten.upsample_trilinear3d.vec"
)
def upsample_linear_vec(
    x: Value, output_size: Any, align_corners: bool, scale_factors: Any
) -> Value:
    """upsample_linear1d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]?
        scale_factors) -> Tensor
    upsample_bilinear2d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]?
        scale_factors) -> Tensor
    upsample_trilinear3d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]?
        scale_factors) -> Tensor
    """
    return _smooth(x.ndim - 2, interpolate_linear, x, output_size, align_corners, scale_factors)


@lowers("aten.upsample_bicubic2d.default")
def upsample_bicubic2d(
    x: Value,
    output_size: Any,
    align_corners: bool,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Value:
    """upsample_bicubic2d(Tensor self, SymInt[2] output_size, bool align_corners, float?
    scales_h=None, float? scales_w=None) -> Tensor
    """
    return _smooth(2, interpolate_cubic, x, output_size, align_corners, (scales_h, scales_w))


@lowers("aten.upsample_bicubic2d.vec")
def upsample_bicubic2d_vec(
    x: Value, output_size: Any, align_corners: bool, scale_factors: Any
) -> Value:
    """upsample_bicubic2d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]?
    scale_factors) -> Tensor
    """
    return _smooth(2, interpolate_cubic, x, output_size, align_corners, scale_factors)


@lowers("aten._upsample_bilinear2d_aa.default")
def _upsample_bilinear2d_aa(
    x: Value,
    output_size: Any,
    align_corners: bool,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Value:
    """_upsample_bilinear2d_aa(Tensor self, SymInt[2] output_size, bool align_corners, float?
    scales_h=None, float? scales_w=None) -> Tensor
    """
    return _smooth(2, interpolate_antialias, x, output_size, align_corners, (scales_h, scales_w))


@lowers("aten._upsample_bilinear2d_aa.vec")
def _upsample_bilinear2d_aa_vec(
    x: Value, output_size: Any, align_corners: bool, scale_factors: Any
) -> Value:
    """_upsample_bilinear2d_aa.vec(Tensor input, SymInt[]? output_size, bool align_corners,
    float[]? scale_factors) -> Tensor
    """
    return _smooth(2, interpolate_antialias, x, output_size, align_corners, scale_factors)


@lowers("aten._upsample_bicubic2d_aa.default")
def _upsample_bicubic2d_aa(
    x: Value,
    output_size: Any,
    align_corners: bool,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Value:
    """_upsample_bicubic2d_aa(Tensor self, SymInt[2] output_size, bool align_corners, float?
    scales_h=None, float? scales_w=None) -> Tensor
    """
    scales = (scales_h, scales_w)
    return _smooth(2, interpolate_antialias, x, output_size, align_corners, scales, cubic=True)


@lowers("aten._upsample_bicubic2d_aa.vec")
def _upsample_bicubic2d_aa_vec(
    x: Value, output_size: Any, align_corners: bool, scale_factors: Any
) -> Value:
    """_upsample_bicubic2d_aa.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]?
    scale_factors) -> Tensor
    """
    return _smooth(
        2, interpolate_antialias, x, output_size, align_corners, scale_factors, cubic=True
    )


INTERPOLATION = (grid_sample_linear, grid_sample_nearest, grid_sample_cubic)
OUTSIDE = ("zeros", "border", "reflection")


@lowers(
    "aten.grid_sampler.default",
    "aten.grid_sampler_2d.default",
    "aten.grid_sampler_3d.default",
    "aten._grid_sampler_2d_cpu_fallback.default",
)
def grid_sampler(
    x: Value, grid: Value, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Value:
    """grid_sampler(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool
        align_corners) -> Tensor
    grid_sampler_2d(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool
        align_corners) -> Tensor
    grid_sampler_3d(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool
        align_corners) -> Tensor
    _grid_sampler_2d_cpu_fallback(Tensor input, Tensor grid, int interpolation_mode, int
        padding_mode, bool align_corners) -> Tensor
    """
    if interpolation_mode == 2 and x.ndim == 5:
        raise Unsupported("bicubic grid sampling of volumes, which torch refuses too")
    given: dict[str, Any] = {"padding_mode": OUTSIDE[padding_mode]} if padding_mode else {}
    if align_corners:
        given["align_corners"] = True
    fn = INTERPOLATION[interpolation_mode]
    return spatial(x, x.ndim - 2, lambda v: call(fn, v, grid, **given))


@lowers("aten.affine_grid_generator.default")
def affine_grid_generator(theta: Value, size: Any, align_corners: bool) -> Value:
    """affine_grid_generator(Tensor theta, SymInt[] size, bool align_corners) -> Tensor"""
    return call(affine_grid, theta, size[2:], *((True,) if align_corners else ()))


def _last_three(x: Value, fn: Any, amount: Any) -> Value:
    """``fn`` over ``[..., C, H, W]`` in channels-last order."""
    lead = tuple(range(x.ndim - 3))
    c, h, w = x.ndim - 3, x.ndim - 2, x.ndim - 1
    return call(fn, x.transpose(*lead, h, w, c), amount).transpose(*lead, w, c, h)


@lowers("aten.pixel_shuffle.default")
def pixel_shuffle(x: Value, upscale_factor: int) -> Value:
    """pixel_shuffle(Tensor self, int upscale_factor) -> Tensor"""
    return _last_three(x, ops_pixel_shuffle, upscale_factor)


@lowers("aten.pixel_unshuffle.default")
def pixel_unshuffle(x: Value, downscale_factor: int) -> Value:
    """pixel_unshuffle(Tensor self, int downscale_factor) -> Tensor"""
    return _last_three(x, ops_pixel_unshuffle, downscale_factor)


@lowers("aten.channel_shuffle.default", "aten.native_channel_shuffle.default")
def channel_shuffle(x: Value, groups: Any) -> Value:
    """channel_shuffle(Tensor self, SymInt groups) -> Tensor
    native_channel_shuffle(Tensor self, SymInt groups) -> Tensor
    """
    return spatial(x, x.ndim - 2, lambda v: call(ops_channel_shuffle, v, groups))


@lowers("aten.im2col.default")
def im2col(x: Value, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Value:
    """im2col(Tensor self, int[2] kernel_size, int[2] dilation, int[2] padding, int[2] stride) ->
    Tensor
    """
    window = [per_axis(v, 2) for v in (kernel_size, dilation, padding, stride)]
    batched = x.ndim == 4
    columns = call(unfold, to_last(x if batched else add_batch(x)), *window).transpose(0, 2, 1)
    return columns if batched else drop_batch(columns)


@lowers("aten.col2im.default")
def col2im(
    x: Value, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Value:
    """col2im(Tensor self, SymInt[2] output_size, int[2] kernel_size, int[2] dilation, int[2]
    padding, int[2] stride) -> Tensor
    """
    window = [per_axis(v, 2) for v in (output_size, kernel_size, dilation, padding, stride)]
    return spatial(x, 1, lambda v: call(fold, v, *window))
