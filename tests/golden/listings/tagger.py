"""Tagger in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


class LSTM(nn.Module):
    """LSTM."""

    def __init__(self):
        super().__init__()
        self.forward_0 = nn.LSTM(12, 10)
        self.backward_0 = nn.LSTM(12, 10)
        self.forward_1 = nn.LSTM(20, 10)
        self.backward_1 = nn.LSTM(20, 10)

    def __call__(self, x: mx.array) -> mx.array:
        forward, _ = self.forward_0(x)
        backward, _ = self.backward_0(x[:, ::-1])
        forward = mx.concatenate([forward, backward[:, ::-1]], axis=-1)
        x, _ = self.forward_1(forward)
        backward, _ = self.backward_1(forward[:, ::-1])
        return mx.concatenate([x, backward[:, ::-1]], axis=-1)


class Tagger(nn.Module):
    """Tagger (networks.py:90)."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(60, 12)
        self.lstm = LSTM()
        self.hidden = nn.Linear(20, 10)
        self.tags = nn.Linear(10, 7)

    def __call__(self, tokens: mx.array) -> mx.array:
        """tokens: int64[B, T] -> float32[B, T, 7]"""
        return self.tags(mx.tanh(self.hidden(self.lstm(self.embedding(tokens)))))


def load(path: str | Path = Path(__file__).parent) -> Tagger:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = Tagger()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
