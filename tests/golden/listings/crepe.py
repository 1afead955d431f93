"""Pitch in MLX."""

from __future__ import annotations

import math
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


def pooled_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> int:
    """Number of windows along an axis, by torch's rule: with ``ceil_mode`` the last one must start
    inside the input or its low padding."""
    reach = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-reach // stride) if ceil_mode else reach // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    return count


def slice_axis(x: mx.array, axis: int, start: int, stop: int, step: int = 1) -> mx.array:
    """``x[..., start:stop:step, ...]`` on a non-negative ``axis``."""
    return x[(slice(None),) * axis + (slice(start, stop, step),)]


def pad_axis(x: mx.array, axis: int, low: int, high: int, value: float) -> mx.array:
    """Constant padding of one non-negative axis, in the dtype of ``x``."""
    if low <= 0 and high <= 0:
        return x
    pads = [(0, 0)] * x.ndim
    pads[axis] = (max(low, 0), max(high, 0))
    return mx.pad(x, pads, constant_values=mx.array(value, dtype=x.dtype))


def strided_taps(
    x: mx.array, axis: int, kernel: int, stride: int, dilation: int, count: int
) -> list[mx.array]:
    """For each kernel tap the elements it sees in ``count`` windows: ``kernel`` strided slices."""
    span = (count - 1) * stride + 1
    return [
        slice_axis(x, axis, tap * dilation, tap * dilation + span, stride) for tap in range(kernel)
    ]


def lowest(dtype: mx.Dtype) -> float:
    """The identity of ``max`` in a dtype."""
    return -math.inf if mx.issubdtype(dtype, mx.floating) else mx.iinfo(dtype).min


def max_pool(
    x: mx.array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    ceil_mode: bool = False,
) -> mx.array:
    """``max_pool{1,2,3}d``; NaN wins, as in torch."""
    first = x.ndim - 1 - len(kernel)
    for axis, (k, s, p, d) in enumerate(
        zip(kernel, stride, padding, dilation, strict=True), start=first
    ):
        size = x.shape[axis]
        count = pooled_size(size, k, s, p, d, ceil_mode)
        high = (count - 1) * s + d * (k - 1) + 1 - size - p
        x = pad_axis(x, axis, p, high, lowest(x.dtype))
        if count == 1 and d == 1:
            x = mx.max(slice_axis(x, axis, 0, k), axis=axis, keepdims=True)
            continue
        taps = strided_taps(x, axis, k, s, d, count)
        x = taps[0]
        for tap in taps[1:]:
            x = mx.maximum(x, tap)
    return x


class Pitch(nn.Module):
    """Pitch (networks.py:108)."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, (512, 1), stride=(4, 1))
        self.conv1_BN = nn.BatchNorm(16, eps=0.001)
        self.conv2 = nn.Conv2d(16, 8, (64, 1))
        self.conv2_BN = nn.BatchNorm(8, eps=0.001)
        self.conv3 = nn.Conv2d(8, 8, (64, 1))
        self.conv3_BN = nn.BatchNorm(8, eps=0.001)
        self.conv4 = nn.Conv2d(8, 8, (64, 1))
        self.conv4_BN = nn.BatchNorm(8, eps=0.001)
        self.conv5 = nn.Conv2d(8, 12, (64, 1))
        self.conv5_BN = nn.BatchNorm(12, eps=0.001)
        self.conv6 = nn.Conv2d(12, 16, (64, 1))
        self.conv6_BN = nn.BatchNorm(16, eps=0.001)
        self.classifier = nn.Linear(64, 36)

    def __call__(self, frames: mx.array) -> mx.array:
        """frames: float32[B, T] -> float32[B, 36]"""
        B, T = frames.shape
        x = mx.pad(frames[:, None, :, None], ((0, 0), (0, 0), (254, 254), (0, 0))).transpose(
            0, 2, 3, 1
        )
        conv1_bn = max_pool(self.conv1_BN(nn.relu(self.conv1(x))), (2, 1), (2, 1), (0, 0), (1, 1))
        conv2_bn = self.conv2_BN(
            nn.relu(self.conv2(mx.pad(conv1_bn, ((0, 0), (31, 32), (0, 0), (0, 0)))))
        )
        conv2_bn = mx.pad(
            max_pool(conv2_bn, (2, 1), (2, 1), (0, 0), (1, 1)), ((0, 0), (31, 32), (0, 0), (0, 0))
        )
        conv3_bn = max_pool(
            self.conv3_BN(nn.relu(self.conv3(conv2_bn))), (2, 1), (2, 1), (0, 0), (1, 1)
        )
        conv4_bn = self.conv4_BN(
            nn.relu(self.conv4(mx.pad(conv3_bn, ((0, 0), (31, 32), (0, 0), (0, 0)))))
        )
        conv4_bn = mx.pad(
            max_pool(conv4_bn, (2, 1), (2, 1), (0, 0), (1, 1)), ((0, 0), (31, 32), (0, 0), (0, 0))
        )
        conv5_bn = max_pool(
            self.conv5_BN(nn.relu(self.conv5(conv4_bn))), (2, 1), (2, 1), (0, 0), (1, 1)
        )
        conv6_bn = self.conv6_BN(
            nn.relu(self.conv6(mx.pad(conv5_bn, ((0, 0), (31, 32), (0, 0), (0, 0)))))
        )
        classifier = self.classifier(
            max_pool(conv6_bn, (2, 1), (2, 1), (0, 0), (1, 1)).reshape(B, -1)
        )
        return mx.sigmoid(classifier)


def load(path: str | Path = Path(__file__).parent) -> Pitch:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = Pitch()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
