"""Windows to columns and back, and moves between channels and space; channels-last.

Channels are the last axis; leading axes are free unless the docstring says otherwise.
"""

from __future__ import annotations

import math

import mlx.core as mx


def row_strides(shape: tuple[int, ...]) -> list[int]:
    """Element strides of a row-contiguous array."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def unfold_dim(x: mx.array, axis: int, size: int, step: int) -> mx.array:
    """``Tensor.unfold``: windows of ``size`` every ``step`` along an axis, as a new last axis."""
    if x.ndim == 0:
        return x.reshape(1)[:size]
    axis %= x.ndim
    shape, strides = list(x.shape), row_strides(tuple(x.shape))
    if size > shape[axis]:
        raise ValueError(f"window {size} is longer than axis {axis} of {shape[axis]}")
    inner = strides[axis]
    shape[axis] = (shape[axis] - size) // step + 1
    strides[axis] *= step
    return mx.as_strided(x, [*shape, size], [*strides, inner])


def unfold(
    x: mx.array,
    kernel: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int],
    stride: tuple[int, int],
) -> mx.array:
    """``F.unfold`` (im2col): [N, H, W, C] to [N, L, C * kH * kW], torch's result transposed."""
    N, H, W, C = x.shape
    x = mx.pad(x, [(0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)])
    rows, columns = fold_counts((H, W), kernel, dilation, padding, stride)
    n, h, w, c = row_strides(tuple(x.shape))
    windows = mx.as_strided(
        x,
        (N, rows, columns, C, *kernel),
        (n, h * stride[0], w * stride[1], c, h * dilation[0], w * dilation[1]),
    )
    return windows.reshape(N, rows * columns, C * kernel[0] * kernel[1])


def fold_counts(
    size: tuple[int, int],
    kernel: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int],
    stride: tuple[int, int],
) -> tuple[int, int]:
    """Rows and columns of windows over an image of ``size``."""
    rows, columns = (
        (size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    )
    return rows, columns


def fold(
    x: mx.array,
    output_size: tuple[int, int],
    kernel: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int],
    stride: tuple[int, int],
) -> mx.array:
    """``F.fold`` (col2im): [N, L, C * kH * kW] to [N, H, W, C], overlapping windows added up."""
    N = x.shape[0]
    C = x.shape[-1] // (kernel[0] * kernel[1])
    rows, columns = fold_counts(output_size, kernel, dilation, padding, stride)
    x = x.reshape(N, rows, columns, C, *kernel)
    tiled = rows * kernel[0] == output_size[0] and columns * kernel[1] == output_size[1]
    if tiled and stride == kernel and dilation == (1, 1) and padding == (0, 0):
        return x.transpose(0, 1, 4, 2, 5, 3).reshape(N, *output_size, C)
    H, W = output_size[0] + 2 * padding[0], output_size[1] + 2 * padding[1]
    y = mx.zeros((N, H, W, C), dtype=x.dtype)
    for i in range(kernel[0]):
        top = i * dilation[0]
        down = slice(top, top + (rows - 1) * stride[0] + 1, stride[0])
        for j in range(kernel[1]):
            left = j * dilation[1]
            across = slice(left, left + (columns - 1) * stride[1] + 1, stride[1])
            y = y.at[:, down, across].add(x[..., i, j])
    return y[:, padding[0] : H - padding[0], padding[1] : W - padding[1]]


def col2im(
    x: mx.array,
    image: tuple[int, ...],
    block: tuple[int, ...],
    dilation: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    stride: tuple[int, ...],
) -> mx.array:
    """Blocks of an image, added up: [N, C * prod(block), L] to [N, C, *image], channels first, any
    number of spatial axes, ``pads`` (low, high) an axis. Source: ONNX ``Col2Im``."""
    padded = [size + low + high for size, (low, high) in zip(image, pads, strict=True)]
    axes = list(zip(padded, block, dilation, stride, strict=True))
    counts = [(size - d * (k - 1) - 1) // s + 1 for size, k, d, s in axes]
    N, taps = x.shape[0], math.prod(block)
    x = x.reshape(N, -1, taps, *counts)
    y = mx.zeros((N, x.shape[1], *padded), dtype=x.dtype)
    for tap in range(taps):
        key = [slice(None), slice(None)]
        for inner, (_, k, d, s), count in zip(row_strides(block), axes, counts, strict=True):
            first = tap // inner % k * d
            key.append(slice(first, first + (count - 1) * s + 1, s))
        y = y.at[tuple(key)].add(x[:, :, tap])
    ends = zip(image, pads, strict=True)
    inside = tuple(slice(low, low + size) for size, (low, _) in ends)
    return y[(slice(None), slice(None)) + inside]


def pixel_shuffle(x: mx.array, factor: int) -> mx.array:
    """``pixel_shuffle``: [..., H, W, C * r * r] to [..., H * r, W * r, C]."""
    *lead, H, W, C = x.shape
    C = C // (factor * factor)
    x = x.reshape(math.prod(lead), H, W, C, factor, factor).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(*lead, H * factor, W * factor, C)


def pixel_unshuffle(x: mx.array, factor: int) -> mx.array:
    """``pixel_unshuffle``: [..., H * r, W * r, C] to [..., H, W, C * r * r]."""
    *lead, H, W, C = x.shape
    H, W = H // factor, W // factor
    x = x.reshape(math.prod(lead), H, factor, W, factor, C).transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(*lead, H, W, C * factor * factor)


def depth_to_space(x: mx.array, block: int) -> mx.array:
    """[..., H, W, r * r * C] to [..., H * r, W * r, C], block positions outermost in the channels
    (ONNX ``DepthToSpace``, mode DCR; mode CRD is ``pixel_shuffle``)."""
    *lead, H, W, C = x.shape
    C = C // (block * block)
    x = x.reshape(math.prod(lead), H, W, block, block, C).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(*lead, H * block, W * block, C)


def space_to_depth(x: mx.array, block: int) -> mx.array:
    """[..., H * r, W * r, C] to [..., H, W, r * r * C], the inverse of ``depth_to_space``."""
    *lead, H, W, C = x.shape
    H, W = H // block, W // block
    x = x.reshape(math.prod(lead), H, block, W, block, C).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(*lead, H, W, block * block * C)


def channel_shuffle(x: mx.array, groups: int) -> mx.array:
    """``channel_shuffle``: interleave the ``groups`` of channels, [..., C]."""
    *lead, C = x.shape
    return mx.swapaxes(x.reshape(*lead, groups, C // groups), -1, -2).reshape(*lead, C)
