"""Detection: suppression of overlapping boxes, features of regions, deformed convolution."""

from __future__ import annotations

import math

import mlx.core as mx

from pytorch_to_mlx.ops.grid_sample import sample_at


def box_corners(boxes: mx.array, centered: bool) -> tuple[mx.array, mx.array]:
    """Low and high corners [..., 2] of boxes given as two opposite corners in either order, or if
    ``centered`` as center and size."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if centered:
        return first - second / 2, first + second / 2
    return mx.minimum(first, second), mx.maximum(first, second)


def overlaps(
    a: tuple[mx.array, mx.array], b: tuple[mx.array, mx.array], threshold: float
) -> mx.array:
    """Whether the intersection over the union of boxes, given as corners, is above a threshold."""
    sides = mx.maximum(mx.minimum(a[1], b[1]) - mx.maximum(a[0], b[0]), 0)
    shared = mx.prod(sides, axis=-1)
    union = mx.prod(a[1] - a[0], axis=-1) + mx.prod(b[1] - b[0], axis=-1) - shared
    return (union > 0) & (shared / mx.where(union > 0, union, 1) > threshold)


def non_max_suppression(
    boxes: mx.array,
    scores: mx.array,
    limit: int,
    iou_threshold: float = 0.0,
    score_threshold: float = -math.inf,
    centered: bool = False,
) -> mx.array:
    """Boxes that overlap no better one of their class: int64 [found, 3] of batch, class and box.

    ``boxes`` [N, B, 4], ``scores`` [N, K, B]; at most ``limit`` boxes a class, best first. How many
    there are depends on the values, so this evaluates them. Source: ONNX ``NonMaxSuppression``.
    """
    N, K = scores.shape[:2]
    order = mx.argsort(-scores, axis=-1)
    above = mx.take_along_axis(scores, order, axis=-1) > score_threshold
    candidates = int(mx.max(mx.sum(above, axis=-1))) if scores.size and limit > 0 else 0
    if not candidates:
        return mx.zeros((0, 3), dtype=mx.int64)
    order, keep = order[..., :candidates], above[..., :candidates]
    rows = mx.arange(N).reshape(N, 1, 1)
    low, high = box_corners(boxes[rows, order], centered)
    later = mx.arange(candidates)
    for i in range(candidates - 1):
        best = low[:, :, i : i + 1], high[:, :, i : i + 1]
        beaten = overlaps(best, (low, high), iou_threshold) & (later > i)
        keep = keep & ~(keep[:, :, i : i + 1] & beaten)
        if i % 64 == 63:
            mx.eval(keep)
    keep = keep & (mx.cumsum(keep.astype(mx.int32), axis=-1) <= limit)
    found = int(mx.sum(keep))
    # The kept ones first, in their order.
    places = mx.argsort(~keep.reshape(-1))[:found].astype(mx.int64)
    box = mx.take(order.reshape(-1), places).astype(mx.int64)
    group = places // candidates
    return mx.stack([group // K, group % K, box], axis=1)


def region_samples(
    start: mx.array, extent: mx.array, bins: int, size: int, ratio: int
) -> tuple[mx.array, mx.array, mx.array]:
    """Positions of samples along an axis of each region, [R, bins * samples], whether each lies in
    the region's own grid and how many that has a bin, [R]. A ``ratio`` of 0 takes a sample for
    every pixel of a bin, rounded up, which evaluates the regions."""
    step = extent / bins
    count = mx.full(start.shape, ratio) if ratio > 0 else mx.ceil(step)
    most = ratio if ratio > 0 else max(int(mx.max(count)), 0) if count.size else 0
    taps = mx.arange(most)
    inner = (taps + 0.5) / mx.maximum(count, 1)[:, None]
    position = mx.arange(bins)[:, None] + inner[:, None, :]
    position = start[:, None, None] + position * step[:, None, None]
    used = mx.broadcast_to((taps < count[:, None])[:, None, :], position.shape)
    return position.reshape(len(start), bins * most), used.reshape(len(start), bins * most), count


def roi_align(
    x: mx.array,
    regions: mx.array,
    batch: mx.array,
    size: tuple[int, int],
    sampling_ratio: int = 0,
    scale: float = 1.0,
    half_pixel: bool = True,
    largest: bool = False,
) -> mx.array:
    """Features of regions: the mean of samples in each bin, or the ``largest`` weighted corner.

    ``x`` [N, H, W, C], ``regions`` [R, 4] as x, y, x, y, ``batch`` [R]; the result is
    [R, *size, C]. Source: ONNX ``RoiAlign``.
    """
    H, W, C = x.shape[1:]
    corners = regions.astype(mx.float32) * scale - (0.5 if half_pixel else 0.0)
    start, extent = corners[:, :2], corners[:, 2:] - corners[:, :2]
    extent = extent if half_pixel else mx.maximum(extent, 1)
    y, use_y, count_y = region_samples(start[:, 1], extent[:, 1], size[0], H, sampling_ratio)
    x_, use_x, count_x = region_samples(start[:, 0], extent[:, 0], size[1], W, sampling_ratio)
    used = use_y[:, :, None] & use_x[:, None, :]
    inside = ((y >= -1) & (y <= H))[:, :, None] & ((x_ >= -1) & (x_ <= W))[:, None, :]
    y, x_ = mx.clip(y, 0, H - 1), mx.clip(x_, 0, W - 1)
    flat, first = x.reshape(-1, C), batch.astype(mx.int32)[:, None, None] * (H * W)
    parts = []
    for down in (0, 1):
        row = mx.minimum(mx.floor(y) + down, H - 1).astype(mx.int32)
        weight_y = mx.abs(1 - down - (y - mx.floor(y)))
        for right in (0, 1):
            column = mx.minimum(mx.floor(x_) + right, W - 1).astype(mx.int32)
            weight_x = mx.abs(1 - right - (x_ - mx.floor(x_)))
            weight = mx.where(inside & used, weight_y[:, :, None] * weight_x[:, None, :], 0)
            pixels = mx.take(flat, first + row[:, :, None] * W + column[:, None, :], axis=0)
            parts.append(pixels * weight[..., None])
    grid = (len(regions), size[0], y.shape[1] // size[0], size[1], x_.shape[1] // size[1], C)
    if largest:
        best = mx.max(mx.stack(parts), axis=0)
        best = mx.where(used[..., None], best, -math.inf).reshape(grid)
        return mx.max(best, axis=(2, 4)).astype(x.dtype)
    total = mx.sum(mx.sum(mx.stack(parts), axis=0).reshape(grid), axis=(2, 4))
    count = mx.maximum(count_y * count_x, 1)
    return (total / count[:, None, None, None]).astype(x.dtype)


def deform_conv(
    x: mx.array,
    weight: mx.array,
    offset: mx.array,
    bias: mx.array | None = None,
    mask: mx.array | None = None,
    stride: tuple[int, int] = (1, 1),
    pads: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    offset_groups: int = 1,
) -> mx.array:
    """Convolution whose taps are moved by ``offset``, with zeros outside the image, and scaled by
    ``mask``. ``pads`` are those before the image; channels last: ``x`` [N, H, W, C], ``weight``
    [O, kH, kW, C / groups], ``offset`` [N, oH, oW, offset_groups * kH * kW * 2] as y, x, ``mask``
    with one for each of these pairs. Source: ONNX ``DeformConv``.
    """
    N, H, W, C = x.shape
    O, kH, kW, _ = weight.shape
    oH, oW = offset.shape[1:3]
    taps = kH * kW
    moved = offset.reshape(N, oH, oW, offset_groups, kH, kW, 2).transpose(0, 3, 1, 2, 4, 5, 6)
    top = mx.arange(oH).reshape(oH, 1, 1, 1) * stride[0] - pads[0]
    left = mx.arange(oW).reshape(oW, 1, 1) * stride[1] - pads[1]
    y = top + mx.arange(kH).reshape(kH, 1) * dilation[0] + moved[..., 0]
    x_ = left + mx.arange(kW) * dilation[1] + moved[..., 1]
    images = x.reshape(N, H, W, offset_groups, -1).transpose(0, 3, 1, 2, 4)
    images = images.reshape(N * offset_groups, H, W, C // offset_groups)
    shape = (N * offset_groups, oH, oW, taps)
    samples = sample_at(images, [y.reshape(shape), x_.reshape(shape)])
    samples = samples.reshape(N, offset_groups, oH, oW, taps, C // offset_groups)
    samples = samples.transpose(0, 2, 3, 4, 1, 5)
    if mask is not None:
        scales = mask.reshape(N, oH, oW, offset_groups, taps).swapaxes(-1, -2)
        samples = samples * scales[..., None]
    columns = samples.reshape(N, oH, oW, taps, groups, C // groups).transpose(0, 1, 2, 4, 3, 5)
    columns = columns.reshape(N, oH, oW, groups, 1, -1)
    kernel = weight.reshape(groups, O // groups, -1).swapaxes(-1, -2)
    result = (columns @ kernel).reshape(N, oH, oW, O)
    return result if bias is None else result + bias
