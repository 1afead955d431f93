"""Layers that round numbers to those of a quantized model."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn


class ThroughCodes(nn.Module):
    """Numbers as integer codes from ``lowest`` to ``highest`` can say them: quantized, and back.

    One ``scale`` and ``zero_point`` for all. Source: the ONNX standard, ``QuantizeLinear`` and
    ``DequantizeLinear``.
    """

    def __init__(self, lowest: int, highest: int):
        super().__init__()
        self.lowest, self.highest = lowest, highest
        self.scale = mx.ones(())
        self.zero_point = mx.zeros(())
        self.freeze()

    def __call__(self, x: mx.array) -> mx.array:
        codes = mx.round(x / self.scale).astype(mx.float32) + self.zero_point
        codes = mx.clip(codes, self.lowest, self.highest)
        return ((codes - self.zero_point) * self.scale).astype(self.scale.dtype)
