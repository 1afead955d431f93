"""Pitch in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


class MaxPool(nn.Module):
    """The maximum over windows of x [N, ..., C] that lie side by side, one size a spatial axis.

    It is that of strided slices. (``nn.MaxPool2d`` reduces a view of all windows, which takes
    longer.)
    """

    def __init__(self, kernel_size: tuple[int, ...]):
        super().__init__()
        self.kernel_size = kernel_size

    def __call__(self, x: mx.array) -> mx.array:
        for axis, kernel in enumerate(self.kernel_size, start=1):
            before = (slice(None),) * axis
            end = x.shape[axis] // kernel * kernel
            y = x[before + (slice(0, end, kernel),)]
            for tap in range(1, kernel):
                y = mx.maximum(y, x[before + (slice(tap, end, kernel),)])
            x = y
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
        self.pool = MaxPool((2, 1))

    def __call__(self, frames: mx.array) -> mx.array:
        """frames: float32[B, T] -> float32[B, 36]"""
        B = frames.shape[0]
        x = mx.pad(frames[:, None, :, None], ((0, 0), (0, 0), (254, 254), (0, 0))).transpose(
            0, 2, 3, 1
        )
        x = mx.pad(
            self.pool(self.conv1_BN(nn.relu(self.conv1(x)))), ((0, 0), (31, 32), (0, 0), (0, 0))
        )
        x = mx.pad(
            self.pool(self.conv2_BN(nn.relu(self.conv2(x)))), ((0, 0), (31, 32), (0, 0), (0, 0))
        )
        x = mx.pad(
            self.pool(self.conv3_BN(nn.relu(self.conv3(x)))), ((0, 0), (31, 32), (0, 0), (0, 0))
        )
        x = mx.pad(
            self.pool(self.conv4_BN(nn.relu(self.conv4(x)))), ((0, 0), (31, 32), (0, 0), (0, 0))
        )
        x = mx.pad(
            self.pool(self.conv5_BN(nn.relu(self.conv5(x)))), ((0, 0), (31, 32), (0, 0), (0, 0))
        )
        x = self.classifier(self.pool(self.conv6_BN(nn.relu(self.conv6(x)))).reshape(B, -1))
        return mx.sigmoid(x)


def load(path: str | Path = Path(__file__).parent) -> Pitch:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = Pitch()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
