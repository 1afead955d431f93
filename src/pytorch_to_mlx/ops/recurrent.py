"""LSTM, GRU and plain recurrent networks: stacked, bidirectional, projected, packed.

Weights keep torch's layout: ``w_ih`` [gates * hidden, inputs], ``w_hh`` [gates * hidden, hidden (or
projected)], biases [gates * hidden]; gates in torch's order (LSTM: in, forget, cell, out; GRU:
reset, update, new), which is MLX's order too. ``params`` is torch's flat list: for each layer, for
each direction, ``w_ih, w_hh[, b_ih, b_hh][, w_hr]``.
"""

from __future__ import annotations

import mlx.core as mx


def lstm_step(
    projected: mx.array, state: tuple[mx.array, ...], weights: tuple[mx.array | None, ...]
) -> tuple[mx.array, ...]:
    """One LSTM step from ``x @ w_ih.T + b_ih`` [B, 4H]; weights ``w_hh, b_hh, w_hr``."""
    (h, c), (w_hh, b_hh, w_hr) = state, weights
    assert w_hh is not None
    gates = mx.addmm(projected if b_hh is None else projected + b_hh, h, w_hh.T)
    i, f, g, o = mx.split(gates, 4, axis=-1)
    c = mx.sigmoid(f) * c + mx.sigmoid(i) * mx.tanh(g)
    h = mx.sigmoid(o) * mx.tanh(c)
    return (h if w_hr is None else h @ w_hr.T), c


def gru_step(
    projected: mx.array, state: tuple[mx.array, ...], weights: tuple[mx.array | None, ...]
) -> tuple[mx.array, ...]:
    """One GRU step from ``x @ w_ih.T + b_ih`` [B, 3H]; weights ``w_hh, b_hh``."""
    (h,), (w_hh, b_hh, _) = state, weights
    assert w_hh is not None
    recurrent = h @ w_hh.T if b_hh is None else mx.addmm(b_hh, h, w_hh.T)
    xr, xz, xn = mx.split(projected, 3, axis=-1)
    hr, hz, hn = mx.split(recurrent, 3, axis=-1)
    n = mx.tanh(xn + mx.sigmoid(xr + hr) * hn)
    return (n + mx.sigmoid(xz + hz) * (h - n),)


def rnn_tanh_step(
    projected: mx.array, state: tuple[mx.array, ...], weights: tuple[mx.array | None, ...]
) -> tuple[mx.array, ...]:
    """One step of a tanh network from ``x @ w_ih.T + b_ih`` [B, H]; weights ``w_hh, b_hh``."""
    (h,), (w_hh, b_hh, _) = state, weights
    assert w_hh is not None
    return (mx.tanh(mx.addmm(projected if b_hh is None else projected + b_hh, h, w_hh.T)),)


def rnn_relu_step(
    projected: mx.array, state: tuple[mx.array, ...], weights: tuple[mx.array | None, ...]
) -> tuple[mx.array, ...]:
    """One step of a relu network from ``x @ w_ih.T + b_ih`` [B, H]; weights ``w_hh, b_hh``."""
    (h,), (w_hh, b_hh, _) = state, weights
    assert w_hh is not None
    return (mx.maximum(mx.addmm(projected if b_hh is None else projected + b_hh, h, w_hh.T), 0),)


def recurrent_direction(
    step: object,
    x: mx.array,
    lengths: mx.array | None,
    state: tuple[mx.array, ...],
    weights: tuple[mx.array, ...],
    has_biases: bool,
    reverse: bool,
) -> tuple[mx.array, tuple[mx.array, ...]]:
    """One layer in one direction over ``x`` [T, B, inputs].

    With ``lengths`` [B], a sequence keeps its state past its end (its outputs there mean nothing).
    """
    assert callable(step)
    w_ih, w_hh = weights[:2]
    b_ih, b_hh = weights[2:4] if has_biases else (None, None)
    w_hr = weights[-1] if len(weights) in (3, 5) else None
    # The input's share of all steps in one matmul; only the recurrent share is sequential.
    projected = project_input(x, w_ih, b_ih)
    times = range(x.shape[0])
    outputs = []
    for t in reversed(times) if reverse else times:
        moved = step(projected[t], state, (w_hh, b_hh, w_hr))
        outputs.append(moved[0])
        if lengths is not None:
            runs = (t < lengths)[:, None]
            moved = tuple(mx.where(runs, new, old) for new, old in zip(moved, state, strict=True))
        state = moved
    if reverse:
        outputs.reverse()
    return mx.stack(outputs), state


def recurrent_stack(
    step: object,
    x: mx.array,
    states: tuple[mx.array, ...],
    params: tuple[mx.array, ...],
    has_biases: bool,
    num_layers: int,
    bidirectional: bool,
    lengths: mx.array | None,
) -> tuple[mx.array, tuple[mx.array, ...]]:
    """All layers and directions; final states stacked as torch does, [layers * directions, ...]."""
    directions = 2 if bidirectional else 1
    each = len(params) // (num_layers * directions)
    finals = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            k = layer * directions + direction
            state = tuple(s[k] for s in states)
            weights = params[k * each : (k + 1) * each]
            y, final = recurrent_direction(
                step, x, lengths, state, weights, has_biases, direction == 1
            )
            outputs.append(y)
            finals.append(final)
        x = mx.concatenate(outputs, axis=-1) if bidirectional else outputs[0]
    ends = tuple(mx.stack(list(parts)) for parts in zip(*finals, strict=True))
    return x, ends


def pad_packed(
    x: mx.array, lengths: mx.array, padding_value: float = 0.0, total_length: int | None = None
) -> mx.array:
    """``x`` [T, B, ...] with the padding value past each sequence's end, [total_length, B, ...].

    As ``torch.nn.utils.rnn.pad_packed_sequence``; by default as long as the longest sequence.
    """
    steps = mx.max(lengths).item() if total_length is None else total_length
    assert isinstance(steps, int)
    if steps > x.shape[0]:
        x = mx.pad(x, [(0, steps - x.shape[0])] + [(0, 0)] * (x.ndim - 1))
    inside = mx.arange(steps)[:, None] < lengths
    inside = inside.reshape(inside.shape + (1,) * (x.ndim - 2))
    return mx.where(inside, x[:steps], mx.array(padding_value, dtype=x.dtype))


def lstm(
    x: mx.array,
    h0: mx.array,
    c0: mx.array,
    params: tuple[mx.array, ...],
    has_biases: bool = True,
    num_layers: int = 1,
    bidirectional: bool = False,
    lengths: mx.array | None = None,
) -> tuple[mx.array, mx.array, mx.array]:
    """``torch.lstm`` at inference: ``x`` [T, B, I] to output [T, B, D * H], and ``h_n``, ``c_n``.

    ``h0`` [layers * D, B, H or projection], ``c0`` [layers * D, B, H]. With ``lengths`` [B],
    sequences end there, as packed ones do; what lies past their ends in the output means nothing.
    """
    y, (h, c) = recurrent_stack(
        lstm_step, x, (h0, c0), params, has_biases, num_layers, bidirectional, lengths
    )
    return y, h, c


def gru(
    x: mx.array,
    h0: mx.array,
    params: tuple[mx.array, ...],
    has_biases: bool = True,
    num_layers: int = 1,
    bidirectional: bool = False,
    lengths: mx.array | None = None,
) -> tuple[mx.array, mx.array]:
    """``torch.gru`` at inference: ``x`` [T, B, I] to [T, B, D * H], ``h_n``."""
    y, (h,) = recurrent_stack(
        gru_step, x, (h0,), params, has_biases, num_layers, bidirectional, lengths
    )
    return y, h


def rnn_tanh(
    x: mx.array,
    h0: mx.array,
    params: tuple[mx.array, ...],
    has_biases: bool = True,
    num_layers: int = 1,
    bidirectional: bool = False,
    lengths: mx.array | None = None,
) -> tuple[mx.array, mx.array]:
    """``torch.rnn_tanh`` at inference: ``x`` [T, B, I] to [T, B, D * H], ``h_n``."""
    y, (h,) = recurrent_stack(
        rnn_tanh_step, x, (h0,), params, has_biases, num_layers, bidirectional, lengths
    )
    return y, h


def rnn_relu(
    x: mx.array,
    h0: mx.array,
    params: tuple[mx.array, ...],
    has_biases: bool = True,
    num_layers: int = 1,
    bidirectional: bool = False,
    lengths: mx.array | None = None,
) -> tuple[mx.array, mx.array]:
    """``torch.rnn_relu`` at inference: ``x`` [T, B, I] to [T, B, D * H], ``h_n``."""
    y, (h,) = recurrent_stack(
        rnn_relu_step, x, (h0,), params, has_biases, num_layers, bidirectional, lengths
    )
    return y, h


def project_input(x: mx.array, w_ih: mx.array, b_ih: mx.array | None) -> mx.array:
    """``x @ w_ih.T + b_ih``."""
    return x @ w_ih.T if b_ih is None else mx.addmm(b_ih, x, w_ih.T)


def lstm_cell(
    x: mx.array,
    h: mx.array,
    c: mx.array,
    w_ih: mx.array,
    w_hh: mx.array,
    b_ih: mx.array | None = None,
    b_hh: mx.array | None = None,
) -> tuple[mx.array, ...]:
    """``torch.lstm_cell``: ``x`` [B, I], ``h`` and ``c`` [B, H] to the next ``h, c``."""
    return lstm_step(project_input(x, w_ih, b_ih), (h, c), (w_hh, b_hh, None))


def gru_cell(
    x: mx.array,
    h: mx.array,
    w_ih: mx.array,
    w_hh: mx.array,
    b_ih: mx.array | None = None,
    b_hh: mx.array | None = None,
) -> mx.array:
    """``torch.gru_cell``: ``x`` [B, I], ``h`` [B, H] to the next ``h``."""
    return gru_step(project_input(x, w_ih, b_ih), (h,), (w_hh, b_hh, None))[0]


def rnn_cell(
    x: mx.array,
    h: mx.array,
    w_ih: mx.array,
    w_hh: mx.array,
    b_ih: mx.array | None = None,
    b_hh: mx.array | None = None,
    nonlinearity: str = "tanh",
) -> mx.array:
    """``torch.rnn_tanh_cell`` or ``rnn_relu_cell``: ``x`` [B, I], ``h`` [B, H] to ``h``."""
    projected = project_input(x, w_ih, b_ih)
    if nonlinearity == "relu":
        return rnn_relu_step(projected, (h,), (w_hh, b_hh, None))[0]
    return rnn_tanh_step(projected, (h,), (w_hh, b_hh, None))[0]
