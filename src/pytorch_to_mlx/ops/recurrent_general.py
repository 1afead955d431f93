"""LSTM, GRU and plain recurrence with chosen activations, clipping, peepholes and directions.

These are ONNX's recurrences where they differ from torch's. Weights are laid out as in
``recurrent.py``: for each direction ``w_ih, w_hh[, b_ih, b_hh]``, gates in torch's order. An
activation is its name with what ONNX calls alpha and beta: ``("tanh", 0.0, 0.0)``.
"""

from __future__ import annotations

import mlx.core as mx

from pytorch_to_mlx.ops.recurrent import recurrent_direction

Activation = tuple[str, float, float]


def activate(x: mx.array, activation: Activation, clip: float | None = None) -> mx.array:
    """An activation by name, its input first held within ``-clip .. clip``."""
    name, alpha, beta = activation
    if clip is not None:
        x = mx.clip(x, -clip, clip)
    if name == "sigmoid":
        return mx.sigmoid(x)
    if name == "tanh":
        return mx.tanh(x)
    if name == "relu":
        return mx.maximum(x, 0)
    if name == "affine":
        return alpha * x + beta
    if name == "leakyrelu":
        return mx.where(x < 0, alpha * x, x)
    if name == "thresholdedrelu":
        return mx.where(x < alpha, mx.zeros_like(x), x)
    if name == "scaledtanh":
        return alpha * mx.tanh(beta * x)
    if name == "hardsigmoid":
        return mx.clip(alpha * x + beta, 0, 1)
    if name == "elu":
        return mx.where(x < 0, alpha * mx.expm1(x), x)
    if name == "softsign":
        return x / (1 + mx.abs(x))
    if name == "softplus":
        return mx.logaddexp(x, mx.zeros_like(x))
    raise ValueError(f"no activation is called {name!r}")


def general_lstm_step(
    projected: mx.array,
    state: tuple[mx.array, ...],
    weights: tuple[mx.array | None, ...],
    activations: tuple[Activation, ...],
    clip: float | None,
    peepholes: mx.array | None,
    coupled: bool,
) -> tuple[mx.array, ...]:
    """One step from ``x @ w_ih.T + b_ih`` [B, 4H]; activations of the gates, the input, the cell.

    ``peepholes`` [3H] let the input, forget and output gates see the cell. A ``coupled`` cell
    forgets as much as the input gate lets in.
    """
    (h, c), (w_hh, b_hh, _) = state, weights
    assert w_hh is not None
    gate, entry, leave = activations
    gates = mx.addmm(projected if b_hh is None else projected + b_hh, h, w_hh.T)
    i, f, g, o = mx.split(gates, 4, axis=-1)
    if peepholes is not None:
        p_i, p_f, p_o = mx.split(peepholes, 3)
        i, f = i + p_i * c, f + p_f * c
    i = activate(i, gate, clip)
    f = 1 - i if coupled else activate(f, gate, clip)
    c = f * c + i * activate(g, entry, clip)
    o = activate(o if peepholes is None else o + p_o * c, gate, clip)
    return o * activate(c, leave), c


def general_gru_step(
    projected: mx.array,
    state: tuple[mx.array, ...],
    weights: tuple[mx.array | None, ...],
    activations: tuple[Activation, ...],
    clip: float | None,
    reset_after: bool,
) -> tuple[mx.array, ...]:
    """One step from ``x @ w_ih.T + b_ih`` [B, 3H]; activations of the gates and the new state.

    The reset gate scales the state's share of the new state (``reset_after``, as torch does) or
    the state itself before its matmul.
    """
    (h,), (w_hh, b_hh, _) = state, weights
    assert w_hh is not None
    gate, entry = activations
    size = h.shape[-1]
    x_gates, x_new = projected[..., : 2 * size], projected[..., 2 * size :]
    gates = x_gates + h @ w_hh[: 2 * size].T
    b_new = 0.0 if b_hh is None else b_hh[2 * size :]
    if b_hh is not None:
        gates = gates + b_hh[: 2 * size]
    r, z = mx.split(activate(gates, gate, clip), 2, axis=-1)
    w_new = w_hh[2 * size :].T
    share = r * (h @ w_new + b_new) if reset_after else (r * h) @ w_new + b_new
    n = activate(x_new + share, entry, clip)
    return (n + z * (h - n),)


def general_rnn_step(
    projected: mx.array,
    state: tuple[mx.array, ...],
    weights: tuple[mx.array | None, ...],
    activations: tuple[Activation, ...],
    clip: float | None,
) -> tuple[mx.array, ...]:
    """One step of a plain recurrence from ``x @ w_ih.T + b_ih`` [B, H]."""
    (h,), (w_hh, b_hh, _) = state, weights
    assert w_hh is not None
    total = mx.addmm(projected if b_hh is None else projected + b_hh, h, w_hh.T)
    return (activate(total, activations[0], clip),)


def each_direction(
    step: object,
    settings: list[tuple[object, ...]],
    x: mx.array,
    states: tuple[mx.array, ...],
    params: tuple[mx.array, ...],
    backward: tuple[bool, ...],
    lengths: mx.array | None,
) -> tuple[mx.array, ...]:
    """Outputs [T, B, D * H] and last states [D, B, H] of a step with its settings a direction."""
    assert callable(step)
    each = len(params) // len(backward)
    outputs, finals = [], []
    for k, reverse in enumerate(backward):
        y, final = recurrent_direction(
            lambda *given, k=k: step(*given, *settings[k]),
            x,
            lengths,
            tuple(s[k] for s in states),
            params[k * each : (k + 1) * each],
            each > 2,
            reverse,
        )
        outputs.append(y)
        finals.append(final)
    out = outputs[0] if len(outputs) == 1 else mx.concatenate(outputs, axis=-1)
    if lengths is not None:
        out = past_end_zero(out, lengths)
    return (out, *(mx.stack(list(parts)) for parts in zip(*finals, strict=True)))


def past_end_zero(y: mx.array, lengths: mx.array) -> mx.array:
    """``y`` [T, B, H] with zeros from each sequence's length on."""
    inside = mx.arange(y.shape[0])[:, None] < lengths
    return mx.where(inside[..., None], y, mx.zeros_like(y))


def general_lstm(
    x: mx.array,
    h0: mx.array,
    c0: mx.array,
    params: tuple[mx.array, ...],
    activations: tuple[Activation, ...],
    peepholes: mx.array | None = None,
    clip: float | None = None,
    coupled: bool = False,
    backward: tuple[bool, ...] = (False,),
    lengths: mx.array | None = None,
) -> tuple[mx.array, ...]:
    """An LSTM over ``x`` [T, B, I]: outputs [T, B, D * H], last states ``h`` and ``c`` [D, B, H].

    ``backward`` says of each of the D directions whether it starts at the end; ``activations`` are
    three a direction, ``peepholes`` [D, 3H]. With ``lengths`` [B], sequences end there and their
    outputs are zero from then on.
    """
    settings: list[tuple[object, ...]] = [
        (activations[3 * k : 3 * k + 3], clip, None if peepholes is None else peepholes[k], coupled)
        for k in range(len(backward))
    ]
    return each_direction(general_lstm_step, settings, x, (h0, c0), params, backward, lengths)


def general_gru(
    x: mx.array,
    h0: mx.array,
    params: tuple[mx.array, ...],
    activations: tuple[Activation, ...],
    clip: float | None = None,
    reset_after: bool = False,
    backward: tuple[bool, ...] = (False,),
    lengths: mx.array | None = None,
) -> tuple[mx.array, ...]:
    """A GRU over ``x`` [T, B, I]: outputs [T, B, D * H] and last state [D, B, H].

    ``activations`` are two a direction; the rest is as for ``general_lstm``.
    """
    settings: list[tuple[object, ...]] = [
        (activations[2 * k : 2 * k + 2], clip, reset_after) for k in range(len(backward))
    ]
    return each_direction(general_gru_step, settings, x, (h0,), params, backward, lengths)


def general_rnn(
    x: mx.array,
    h0: mx.array,
    params: tuple[mx.array, ...],
    activations: tuple[Activation, ...],
    clip: float | None = None,
    backward: tuple[bool, ...] = (False,),
    lengths: mx.array | None = None,
) -> tuple[mx.array, ...]:
    """A plain recurrence over ``x`` [T, B, I]: outputs [T, B, D * H] and last state [D, B, H].

    ``activations`` are one a direction; the rest is as for ``general_lstm``.
    """
    settings: list[tuple[object, ...]] = [
        (activations[k : k + 1], clip) for k in range(len(backward))
    ]
    return each_direction(general_rnn_step, settings, x, (h0,), params, backward, lengths)
