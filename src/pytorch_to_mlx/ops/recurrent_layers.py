"""Recurrent layers whose step is one matmul and one compiled kernel, in one direction or both.

The input's share of every step is one matmul over the whole sequence, and each step multiplies the
states of both directions at once. Weights are laid out as in ``mlx.nn``, the rows of the forward
direction before those of the backward one; gates in torch's order. States are torch's:
[directions, B, hidden].
"""

from __future__ import annotations

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


@mx.compile
def gru_update(given: mx.array, recurrent: mx.array, hidden: mx.array) -> mx.array:
    """A GRU's next state from the input's share of its gates and the state's, each [..., 3H]."""
    r, z, n = mx.split(given, 3, axis=-1)
    hr, hz, hn = mx.split(recurrent, 3, axis=-1)
    n = mx.tanh(n + mx.sigmoid(r + hr) * hn)
    return n + mx.sigmoid(z + hz) * (hidden - n)


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


class GRULayer(nn.Module):
    """A GRU over x [B, T, I]: the outputs [B, T, directions * H] and its last state."""

    def __init__(
        self, input_size: int, hidden_size: int, bidirectional: bool = False, bias: bool = True
    ):
        super().__init__()
        self.directions = 2 if bidirectional else 1
        self.hidden_size = hidden_size
        rows = self.directions * 3 * hidden_size
        self.Wx = mx.zeros((rows, input_size))
        self.Wh = mx.zeros((rows, hidden_size))
        self.bx = mx.zeros((rows,)) if bias else None
        self.bh = mx.zeros((rows,)) if bias else None

    def __call__(self, x: mx.array, hidden: mx.array | None = None) -> tuple[mx.array, mx.array]:
        D, B, H = self.directions, x.shape[0], self.hidden_size
        weight = mx.unflatten(self.Wh, 0, (D, -1)).swapaxes(1, 2)
        bias = None if self.bh is None else mx.unflatten(self.bh, 0, (D, 1, -1))
        if hidden is None:
            hidden = mx.zeros((D, B, H), x.dtype)
        outputs = []
        for given in recurrent_input(x, self.Wx, self.bx, D):
            recurrent = hidden @ weight if bias is None else mx.addmm(bias, hidden, weight)
            hidden = gru_update(given, recurrent, hidden)
            outputs.append(hidden)
        return recurrent_output(outputs), hidden


class RNNLayer(nn.Module):
    """A plain recurrence over x [B, T, I]: the outputs [B, T, directions * H] and its last state.

    ``nonlinearity`` is ``tanh`` or ``relu``.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        bias: bool = True,
        nonlinearity: str = "tanh",
    ):
        super().__init__()
        self.directions = 2 if bidirectional else 1
        self.hidden_size = hidden_size
        self.nonlinearity = nonlinearity
        rows = self.directions * hidden_size
        self.Wx = mx.zeros((rows, input_size))
        self.Wh = mx.zeros((rows, hidden_size))
        self.bias = mx.zeros((rows,)) if bias else None

    def __call__(self, x: mx.array, hidden: mx.array | None = None) -> tuple[mx.array, mx.array]:
        D, B, H = self.directions, x.shape[0], self.hidden_size
        weight = mx.unflatten(self.Wh, 0, (D, -1)).swapaxes(1, 2)
        activation = nn.relu if self.nonlinearity == "relu" else mx.tanh
        if hidden is None:
            hidden = mx.zeros((D, B, H), x.dtype)
        outputs = []
        for given in recurrent_input(x, self.Wx, self.bias, D):
            hidden = activation(mx.addmm(given, hidden, weight))
            outputs.append(hidden)
        return recurrent_output(outputs), hidden
