"""Tagger in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


def recurrent_input(
    x: mx.array, weight: mx.array, bias: mx.array | None, directions: int
) -> mx.array:
    """The input's share of all steps: x [B, T, I] to [T, directions, B, gates].

    The steps of the backward direction stand in its own order, the last one first.
    """
    B, T, _ = x.shape
    x = x.swapaxes(0, 1)
    y = x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)
    y = y.reshape(T, B, directions, -1)
    if directions == 1:
        return y.swapaxes(1, 2)
    return mx.stack([y[:, :, 0], y[::-1, :, 1]], axis=1)


def recurrent_output(steps: list[mx.array]) -> mx.array:
    """What the steps made, each [directions, B, H], as one sequence [B, T, directions * H]."""
    y = mx.stack(steps)
    forward = y[:, 0]
    if y.shape[1] == 1:
        return forward.swapaxes(0, 1)
    return mx.concatenate([forward, y[::-1, 1]], axis=-1).swapaxes(0, 1)


@mx.compile
def lstm_update(gates: mx.array, cell: mx.array) -> tuple[mx.array, mx.array]:
    """An LSTM's next states from its gates before activation [..., 4H]."""
    i, f, g, o = mx.split(gates, 4, axis=-1)
    cell = mx.sigmoid(f) * cell + mx.sigmoid(i) * mx.tanh(g)
    return mx.sigmoid(o) * mx.tanh(cell), cell


class LSTMLayer(nn.Module):
    """An LSTM over x [B, T, I]: the outputs [B, T, directions * H] and its last two states.

    With ``projection_size``, the hidden state (not the cell) has that size.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        bias: bool = True,
        projection_size: int = 0,
    ):
        super().__init__()
        self.directions = 2 if bidirectional else 1
        self.hidden_size = hidden_size
        rows, size = self.directions * 4 * hidden_size, projection_size or hidden_size
        self.Wx = mx.zeros((rows, input_size))
        self.Wh = mx.zeros((rows, size))
        self.bias = mx.zeros((rows,)) if bias else None
        if projection_size:
            self.Wp = mx.zeros((self.directions * size, hidden_size))

    def __call__(
        self, x: mx.array, hidden: mx.array | None = None, cell: mx.array | None = None
    ) -> tuple[mx.array, mx.array, mx.array]:
        D, B, H = self.directions, x.shape[0], self.hidden_size
        weight = mx.unflatten(self.Wh, 0, (D, -1)).swapaxes(1, 2)
        projection = mx.unflatten(self.Wp, 0, (D, -1)).swapaxes(1, 2) if "Wp" in self else None
        if hidden is None:
            hidden = mx.zeros((D, B, weight.shape[1]), x.dtype)
        if cell is None:
            cell = mx.zeros((D, B, H), x.dtype)
        outputs = []
        for gates in recurrent_input(x, self.Wx, self.bias, D):
            hidden, cell = lstm_update(mx.addmm(gates, hidden, weight), cell)
            if projection is not None:
                hidden = hidden @ projection
            outputs.append(hidden)
        return recurrent_output(outputs), hidden, cell


class LSTM(nn.Module):
    """LSTM."""

    def __init__(self):
        super().__init__()
        self.layers = [LSTMLayer(12, 10, bidirectional=True), LSTMLayer(20, 10, bidirectional=True)]

    def __call__(self, x: mx.array) -> mx.array:
        for layer in self.layers:
            x, _, _ = layer(x)
        return x


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
