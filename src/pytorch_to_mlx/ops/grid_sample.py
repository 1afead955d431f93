"""Sampling at arbitrary points, and the grids to sample at; channels-last.

Images are [N, H, W, C] or [N, D, H, W, C], grids [N, ..., 2 or 3] as in torch: the last axis holds
x, y (and z) in [-1, 1], so x belongs to the *last* spatial axis. Results are [N, ..., C].
"""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.ops.interpolate import cubic_weights


def pixel_positions(grid: mx.array, size: int, align_corners: bool) -> mx.array:
    """From [-1, 1] to pixel positions; -1 and 1 are the outer pixels' centres if ``align_corners``,
    their outer edges otherwise."""
    return (grid + 1) / 2 * (size - 1) if align_corners else ((grid + 1) * size - 1) / 2


def reflect_positions(position: mx.array, size: int, align_corners: bool) -> mx.array:
    """Reflect positions into the image, at pixel centres if ``align_corners``, else at edges."""
    low, span = (0.0, size - 1) if align_corners else (-0.5, size)
    if span == 0:
        return mx.zeros_like(position)
    distance = mx.abs(position - low)
    flips = mx.floor(distance / span)
    rest = distance - flips * span
    return mx.where(flips % 2 == 0, rest, span - rest) + low


def pad_positions(
    position: mx.array, size: int, padding_mode: str, align_corners: bool
) -> mx.array:
    """Bring positions into the image: by border or reflection; zeros leaves them as they are."""
    if padding_mode == "reflection":
        position = reflect_positions(position, size, align_corners)
    if padding_mode == "zeros":
        return position
    return mx.clip(position, 0, size - 1)


def pixels_at(x: mx.array, places: list[mx.array]) -> mx.array:
    """Pixels of ``x`` at whole positions (floats [N, ...], one a spatial axis), zeros outside."""
    N, *sizes, C = x.shape
    inside: mx.array | None = None
    flat = mx.arange(N).reshape(N, *(1,) * (places[0].ndim - 1))
    for place, size in zip(places, sizes, strict=True):
        within = (place >= 0) & (place <= size - 1)
        inside = within if inside is None else inside & within
        flat = flat * size + mx.where(within, place, 0).astype(mx.int32)
    assert inside is not None
    pixels = mx.take(x.reshape(-1, C), mx.where(inside, flat, 0), axis=0)
    return mx.where(mx.expand_dims(inside, -1), pixels, mx.array(0, dtype=x.dtype))


def grid_positions(
    x: mx.array, grid: mx.array, padding_mode: str, align_corners: bool
) -> list[mx.array]:
    """Padded pixel positions, float32, for each spatial axis of ``x`` in order."""
    sizes = x.shape[1:-1]
    positions = []
    for i, size in enumerate(sizes):
        position = pixel_positions(
            grid[..., len(sizes) - 1 - i].astype(mx.float32), size, align_corners
        )
        positions.append(pad_positions(position, size, padding_mode, align_corners))
    return positions


def sample_at(x: mx.array, positions: list[mx.array]) -> mx.array:
    """Linear interpolation of ``x`` at pixel positions (floats [N, ...], one a spatial axis), zeros
    outside; weights in float32."""
    lows = [mx.floor(position) for position in positions]
    fractions = [position - low for position, low in zip(positions, lows, strict=True)]
    total = mx.zeros((), dtype=mx.float32)
    for corner in range(2 ** len(lows)):
        places = []
        weight = mx.ones((), dtype=mx.float32)
        for i, (low, t) in enumerate(zip(lows, fractions, strict=True)):
            high = corner >> i & 1
            places.append(low + high)
            weight = weight * (t if high else 1 - t)
        total = total + pixels_at(x, places) * mx.expand_dims(weight, -1)
    return total.astype(x.dtype)


def grid_sample_linear(
    x: mx.array, grid: mx.array, padding_mode: str = "zeros", align_corners: bool = False
) -> mx.array:
    """``grid_sample(mode="bilinear")``, 2-D and 3-D; weights in float32."""
    return sample_at(x, grid_positions(x, grid, padding_mode, align_corners))


def grid_sample_nearest(
    x: mx.array, grid: mx.array, padding_mode: str = "zeros", align_corners: bool = False
) -> mx.array:
    """``grid_sample(mode="nearest")``, 2-D and 3-D; halves round to even."""
    positions = grid_positions(x, grid, padding_mode, align_corners)
    return pixels_at(x, [mx.round(position) for position in positions])


def grid_sample_cubic(
    x: mx.array, grid: mx.array, padding_mode: str = "zeros", align_corners: bool = False
) -> mx.array:
    """``grid_sample(mode="bicubic")``, 2-D; each of its 16 pixels is padded by itself."""
    taps = []
    for i, size in enumerate(x.shape[1:-1]):
        position = pixel_positions(grid[..., 1 - i].astype(mx.float32), size, align_corners)
        low = mx.floor(position)
        weights = cubic_weights(position - low)
        places = [pad_positions(low + (k - 1), size, padding_mode, align_corners) for k in range(4)]
        # Reflection at edges lands on whole pixels up to rounding; torch truncates too.
        taps.append([(mx.trunc(p), w) for p, w in zip(places, weights, strict=True)])
    total = mx.zeros((), dtype=mx.float32)
    for row, row_weight in taps[0]:
        line = mx.zeros((), dtype=mx.float32)
        for column, weight in taps[1]:
            line = line + pixels_at(x, [row, column]) * mx.expand_dims(weight, -1)
        total = total + line * mx.expand_dims(row_weight, -1)
    return total.astype(x.dtype)


def affine_coordinates(size: int, align_corners: bool) -> mx.array:
    """Pixel centres in [-1, 1], float32; a single pixel lies at 0."""
    if size <= 1:
        return mx.zeros((size,), dtype=mx.float32)
    line = mx.linspace(-1, 1, size)
    return line if align_corners else line * ((size - 1) / size)


def affine_grid(theta: mx.array, size: tuple[int, ...], align_corners: bool = False) -> mx.array:
    """``affine_grid``: ``theta`` [N, 2, 3] or [N, 3, 4], ``size`` the spatial sizes (no N, no C).

    The grid is [N, H, W, 2] or [N, D, H, W, 3], ready for ``grid_sample_*``.
    """
    axes = [affine_coordinates(length, align_corners).astype(theta.dtype) for length in size]
    lines = mx.meshgrid(*axes, indexing="ij")
    base = mx.stack([*lines[::-1], mx.ones(size, dtype=theta.dtype)], axis=-1)
    grid = base.reshape(1, -1, len(size) + 1) @ mx.swapaxes(theta, 1, 2)
    return grid.reshape(theta.shape[0], *size, len(size))
