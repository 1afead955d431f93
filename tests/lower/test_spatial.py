"""Pooling, padding, resizing, grid sampling, sliding blocks against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.lower.harness import check_op

SIGNAL = torch.randn(2, 4, 9)
IMAGE = torch.randn(2, 4, 8, 7)
VOLUME = torch.randn(2, 4, 5, 6, 4)
aten = torch.ops.aten

CASES: dict[str, tuple[Callable[..., Any], torch.Tensor]] = {
    "max_pool1d": (lambda x: F.max_pool1d(x, 3, 2, 1), SIGNAL),
    "max_pool1d unbatched": (lambda x: F.max_pool1d(x, 2), SIGNAL[0]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), IMAGE),
    "max_pool2d ceil": (lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), IMAGE),
    "max_pool2d dilation": (lambda x: F.max_pool2d(x, (2, 3), 1, 0, (2, 1)), IMAGE),
    "max_pool2d indices": (lambda x: F.max_pool2d(x, 2, return_indices=True), IMAGE),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2), VOLUME),
    "max_pool3d indices": (lambda x: F.max_pool3d(x, 2, return_indices=True), VOLUME),
    "max_pool1d indices": (lambda x: F.max_pool1d(x, 2, return_indices=True), SIGNAL),
    "max_unpool2d": (
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=(8, 7)),
        IMAGE,
    ),
    "max_unpool3d": (
        lambda x: F.max_unpool3d(*F.max_pool3d(x, 2, return_indices=True), 2),
        VOLUME[:, :, :4],
    ),
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 3, 2, 1), SIGNAL),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2), IMAGE),
    "avg_pool2d not the pad": (
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        IMAGE,
    ),
    "avg_pool2d divisor": (lambda x: F.avg_pool2d(x, 2, divisor_override=3), IMAGE),
    "avg_pool3d": (lambda x: F.avg_pool3d(x, 2), VOLUME),
    "lp_pool2d": (lambda x: F.lp_pool2d(x, 2, 2), IMAGE),
    "global average": (lambda x: F.adaptive_avg_pool2d(x, 1), IMAGE),
    "adaptive_avg_pool1d": (lambda x: F.adaptive_avg_pool1d(x, 4), SIGNAL),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (3, 2)), IMAGE),
    "adaptive_avg_pool3d": (lambda x: F.adaptive_avg_pool3d(x, 2), VOLUME),
    "adaptive_max_pool1d": (lambda x: F.adaptive_max_pool1d(x, 4), SIGNAL),
    "adaptive_max_pool2d": (
        lambda x: F.adaptive_max_pool2d(x, (3, 2), return_indices=True),
        IMAGE,
    ),
    "adaptive_max_pool3d": (lambda x: F.adaptive_max_pool3d(x, 2), VOLUME),
    "fractional_max_pool2d": (
        lambda x: aten.fractional_max_pool2d(x, [2, 2], [4, 3], torch.full((2, 4, 2), 0.4)),
        IMAGE,
    ),
    "pad": (lambda x: F.pad(x, (1, 2, 0, 1)), IMAGE),
    "pad value": (lambda x: F.pad(x, (1, 2), value=-2.5), SIGNAL),
    "pad cuts": (lambda x: F.pad(x, (-1, 2, 1, -2), value=1.5), IMAGE),
    "pad integers": (lambda x: F.pad(x, (1, 2), value=7), (SIGNAL * 9).long()),
    "constant_pad_nd": (lambda x: aten.constant_pad_nd(x, [1, 0], 3), SIGNAL),
    "reflect": (lambda x: F.pad(x, (3, 2), mode="reflect"), SIGNAL),
    "reflect 2d": (lambda x: F.pad(x, (1, 2, 3, 0), mode="reflect"), IMAGE),
    "reflect 3d": (lambda x: F.pad(x, (1, 2, 0, 1, 2, 1), mode="reflect"), VOLUME),
    "replicate": (lambda x: F.pad(x, (3, 12), mode="replicate"), SIGNAL),
    "replicate 2d": (lambda x: aten.replication_pad2d(x, [1, 2, 0, 3]), IMAGE),
    "circular": (lambda x: F.pad(x, (3, 2), mode="circular"), SIGNAL),
    "nearest 1d": (lambda x: F.interpolate(x, size=14), SIGNAL),
    "nearest 2d factor": (lambda x: F.interpolate(x, scale_factor=2), IMAGE),
    "nearest 2d fraction": (lambda x: F.interpolate(x, scale_factor=1.6), IMAGE),
    "nearest 3d": (lambda x: F.interpolate(x, size=(3, 7, 8)), VOLUME),
    "nearest-exact": (lambda x: F.interpolate(x, size=(5, 9), mode="nearest-exact"), IMAGE),
    "linear": (lambda x: F.interpolate(x, size=14, mode="linear"), SIGNAL),
    "bilinear": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), IMAGE),
    "bilinear shrinking": (lambda x: F.interpolate(x, scale_factor=0.6, mode="bilinear"), IMAGE),
    "bilinear corners": (
        lambda x: F.interpolate(x, size=(11, 5), mode="bilinear", align_corners=True),
        IMAGE,
    ),
    "bilinear antialias": (
        lambda x: F.interpolate(x, size=(5, 3), mode="bilinear", antialias=True),
        IMAGE,
    ),
    "bicubic": (lambda x: F.interpolate(x, size=(11, 5), mode="bicubic"), IMAGE),
    "bicubic antialias": (
        lambda x: F.interpolate(x, size=(5, 3), mode="bicubic", antialias=True),
        IMAGE,
    ),
    "trilinear": (lambda x: F.interpolate(x, scale_factor=2, mode="trilinear"), VOLUME),
    "area": (lambda x: F.interpolate(x, size=(3, 4), mode="area"), IMAGE),
    "upsample_nearest2d": (lambda x: aten.upsample_nearest2d(x, [16, 14], 2.0, 2.0), IMAGE),
    "upsample_bilinear2d": (lambda x: aten.upsample_bilinear2d(x, [9, 4], False), IMAGE),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), IMAGE),
    "pixel_shuffle unbatched": (lambda x: F.pixel_shuffle(x, 2), IMAGE[0]),
    "pixel_unshuffle": (lambda x: F.pixel_unshuffle(x, 2), IMAGE[..., :6]),
    "channel_shuffle": (lambda x: F.channel_shuffle(x, 2), IMAGE),
    "unfold": (lambda x: F.unfold(x, (3, 2), 1, 1, 2), IMAGE),
    "unfold unbatched": (lambda x: F.unfold(x, 3), IMAGE[0]),
    "fold": (lambda x: F.fold(x, (4, 5), 2, stride=1), torch.randn(2, 12, 12)),
    "affine_grid": (
        lambda t: F.affine_grid(t, [2, 4, 5, 6], align_corners=False),
        torch.randn(2, 2, 3),
    ),
    "affine_grid 3d": (
        lambda t: F.affine_grid(t, [2, 4, 3, 5, 6], align_corners=True),
        torch.randn(2, 3, 4),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_spatial(name: str) -> None:
    fn, x = CASES[name]
    check_op(fn, x, atol=1e-5, dynamic=False)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("outside", ["zeros", "border", "reflection"])
def test_grid_sample(mode: str, outside: str) -> None:
    grid = torch.rand(2, 3, 4, 2) * 2.6 - 1.3
    for corners in (False, True):
        check_op(
            lambda x, g, c=corners: F.grid_sample(x, g, mode, outside, align_corners=c),
            IMAGE,
            grid,
            atol=1e-5,
            dynamic=False,
        )


def test_grid_sample_of_volumes() -> None:
    grid = torch.rand(2, 3, 2, 4, 3) * 2.6 - 1.3
    check_op(
        lambda x, g: F.grid_sample(x, g, align_corners=False),
        VOLUME,
        grid,
        atol=1e-5,
        dynamic=False,
    )


@pytest.mark.parametrize(
    "name",
    [
        "max_pool2d",
        "avg_pool2d",
        "global average",
        "pad",
        "reflect",
        "nearest 2d factor",
        "bilinear",
    ],
)
def test_at_another_size(name: str) -> None:
    fn, x = CASES[name]
    check_op(fn, x, atol=1e-5)
