"""LSTM, GRU and RNN.

What torch has too (the usual activations, no clipping or peepholes, forward or both directions)
becomes the same call as torch's, so that it ends up as the same layers; the rest is a call of the
general form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call, rules_ops  # noqa: F401 - registers its rules
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._common import array, getitem
from pytorch_to_mlx.lower.onnx._values import Known
from pytorch_to_mlx.ops import recurrent as plain
from pytorch_to_mlx.ops import recurrent_general as general

#: Gates in torch's order, by their places in ONNX's: i o f c, z r h.
LSTM_GATES, GRU_GATES, RNN_GATES = (0, 2, 3, 1), (1, 0, 2), (0,)
#: Peepholes i o f, as the general form takes them: i f o.
PEEPHOLES = (0, 2, 1)
#: What ONNX calls alpha and beta, where an activation has them, and their defaults.
ALPHA = {
    "affine": 1.0,
    "leakyrelu": 0.01,
    "thresholdedrelu": 1.0,
    "scaledtanh": 1.0,
    "hardsigmoid": 0.2,
    "elu": 1.0,
}
BETA = {"affine": 0.0, "scaledtanh": 1.0, "hardsigmoid": 0.5}
PLAIN = frozenset({"sigmoid", "tanh", "relu", "softsign", "softplus"})


@dataclass
class Recurrence:
    """One recurrent node: its inputs in torch's layout, and which way its directions go."""

    x: Value  # [T, B, I]
    params: tuple[Value, ...]
    lengths: Value | None
    size: Any
    backward: tuple[bool, ...]
    batch_first: bool

    def state(self, given: Value | None) -> Value:
        """An initial state [D, B, H]; zeros where none is given."""
        if given is None:
            dims = (len(self.backward), self.x.dims[1], self.size)
            return call(mx.zeros, dims, DType(str(self.x.dtype)))
        return given.transpose(1, 0, 2) if self.batch_first else given

    def results(self, y: Value, *states: Value) -> tuple[Value, ...]:
        """ONNX's Y [T, D, B, H] and last states, batch-first where asked for."""
        steps, batch = self.x.dims[:2]
        split = y.reshape(steps, batch, len(self.backward), self.size)
        if self.batch_first:
            return (split.transpose(1, 0, 2, 3), *(s.transpose(1, 0, 2) for s in states))
        return (split.transpose(0, 2, 1, 3), *states)

    def general(self, fn: Callable[..., Any], states: Sequence[Value], **settings: Any) -> Any:
        """A call of the general form."""
        if self.backward != (False,):
            settings["backward"] = self.backward
        if self.lengths is not None:
            settings["lengths"] = self.lengths
        return self.results(*call(fn, self.x, *states, self.params, **settings))

    def torch(self, fn: Callable[..., Any], states: Sequence[Value]) -> Any:
        """A call of torch's form, which the passes make layers of."""
        settings: dict[str, Any] = {}
        if len(self.params) // len(self.backward) == 2:
            settings["has_biases"] = False
        if len(self.backward) == 2:
            settings["bidirectional"] = True
        if self.lengths is not None:
            settings["lengths"] = self.lengths
        only_back = self.backward == (True,)
        given = _flipped(self.x) if only_back else self.x
        y, *ends = call(fn, given, *states, self.params, **settings)
        if self.lengths is not None:
            y = call(general.past_end_zero, y, self.lengths)
        return self.results(_flipped(y) if only_back else y, *ends)


def _flipped(x: Value) -> Value:
    return getitem(x, slice(None, None, -1))


def recurrence(
    order: tuple[int, ...],
    x: Value,
    w: Value,
    r: Value,
    b: Value | None,
    sequence_lens: Any,
    direction: str,
    layout: int,
) -> Recurrence:
    """The node's inputs in torch's layout.

    Raises:
        Unsupported: the direction has another name than ONNX's three.
    """
    ways = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    if direction.lower() not in ways:
        raise Unsupported(f"the direction {direction!r}")
    backward = ways[direction.lower()]
    size = r.dims[-1]
    params: list[Value] = []
    for k in range(len(backward)):
        params += [_ordered(getitem(v, k), order) for v in (w, r)]
        if b is not None:
            rows = len(order) * size
            halves = (slice(None, rows), slice(rows, None))
            params += [_ordered(getitem(b, k, half), order) for half in halves]
    steps = x.transpose(1, 0, 2) if layout else x
    lengths = _lengths(sequence_lens, steps.dims[0])
    return Recurrence(steps, tuple(params), lengths, size, backward, bool(layout))


def _lengths(given: Any, steps: Any) -> Value | None:
    """The lengths of sequences, unless all are known to be whole."""
    if given is None:
        return None
    if isinstance(given, Known) and all(v == steps for v in given.items()):
        return None
    return array(given)


def _ordered(x: Value, order: tuple[int, ...]) -> Value:
    """The gates' blocks of rows in another order."""
    if order == tuple(range(len(order))):
        return x
    gates = call(mx.split, x, len(order), axis=0)
    return call(mx.concatenate, tuple(gates[g] for g in order), axis=0)


def _activations(
    names: Sequence[str] | None,
    alphas: Sequence[float] | None,
    betas: Sequence[float] | None,
    default: tuple[str, ...],
    directions: int,
) -> tuple[tuple[str, float, float], ...]:
    """Name, alpha and beta of every activation; given alphas and betas are used up in order.

    Raises:
        Unsupported: an activation is not one of ONNX's, or there are too few.
    """
    chosen = [n.lower() for n in names or default * directions]
    if len(chosen) != len(default) * directions:
        raise Unsupported(f"{len(chosen)} activations where {len(default) * directions} are needed")
    alpha, beta = list(alphas or ()), list(betas or ())
    out = []
    for name in chosen:
        if name not in ALPHA and name not in PLAIN:
            raise Unsupported(f"the activation {name!r}")
        a = (alpha.pop(0) if alpha else ALPHA[name]) if name in ALPHA else 0.0
        b = (beta.pop(0) if beta else BETA[name]) if name in BETA else 0.0
        out.append((name, a, b))
    return tuple(out)


def _named(chosen: tuple[tuple[str, float, float], ...]) -> tuple[str, ...]:
    return tuple(name for name, _, _ in chosen)


@lowers("LSTM")
def lstm(
    X: Value,
    W: Value,
    R: Value,
    B: Value | None = None,
    sequence_lens: Any = None,
    initial_h: Value | None = None,
    initial_c: Value | None = None,
    P: Value | None = None,
    *,
    activations: tuple[str, ...] | None = None,
    activation_alpha: tuple[float, ...] | None = None,
    activation_beta: tuple[float, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    output_sequence: int = 0,
) -> Any:
    """LSTM(T X, T W, T R, T? B, T1? sequence_lens, T? initial_h, T? initial_c, T? P) -> (T Y,
    T Y_h, T Y_c)"""
    node = recurrence(LSTM_GATES, X, W, R, B, sequence_lens, direction, layout)
    usual = ("sigmoid", "tanh", "tanh")
    ways = len(node.backward)
    chosen = _activations(activations, activation_alpha, activation_beta, usual, ways)
    states = [node.state(initial_h), node.state(initial_c)]
    special = P is not None or clip is not None or input_forget
    if not special and _named(chosen) == usual * ways and _as_torch(node):
        return node.torch(plain.lstm, states)
    settings: dict[str, Any] = {"activations": chosen}
    if P is not None:
        rows = [_ordered(getitem(P, k), PEEPHOLES) for k in range(ways)]
        settings["peepholes"] = call(mx.stack, tuple(rows))
    if clip is not None:
        settings["clip"] = clip
    if input_forget:
        settings["coupled"] = True
    return node.general(general.general_lstm, states, **settings)


@lowers("GRU")
def gru(
    X: Value,
    W: Value,
    R: Value,
    B: Value | None = None,
    sequence_lens: Any = None,
    initial_h: Value | None = None,
    *,
    activations: tuple[str, ...] | None = None,
    activation_alpha: tuple[float, ...] | None = None,
    activation_beta: tuple[float, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
    output_sequence: int = 0,
) -> Any:
    """GRU(T X, T W, T R, T? B, T1? sequence_lens, T? initial_h) -> (T Y, T Y_h)"""
    node = recurrence(GRU_GATES, X, W, R, B, sequence_lens, direction, layout)
    usual = ("sigmoid", "tanh")
    ways = len(node.backward)
    chosen = _activations(activations, activation_alpha, activation_beta, usual, ways)
    states = [node.state(initial_h)]
    usual_step = _named(chosen) == usual * ways and linear_before_reset and clip is None
    if usual_step and _as_torch(node):
        return node.torch(plain.gru, states)
    settings: dict[str, Any] = {"activations": chosen}
    if clip is not None:
        settings["clip"] = clip
    if linear_before_reset:
        settings["reset_after"] = True
    return node.general(general.general_gru, states, **settings)


@lowers("RNN")
def rnn(
    X: Value,
    W: Value,
    R: Value,
    B: Value | None = None,
    sequence_lens: Any = None,
    initial_h: Value | None = None,
    *,
    activations: tuple[str, ...] | None = None,
    activation_alpha: tuple[float, ...] | None = None,
    activation_beta: tuple[float, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    output_sequence: int = 0,
) -> Any:
    """RNN(T X, T W, T R, T? B, T1? sequence_lens, T? initial_h) -> (T Y, T Y_h)"""
    node = recurrence(RNN_GATES, X, W, R, B, sequence_lens, direction, layout)
    ways = len(node.backward)
    chosen = _activations(activations, activation_alpha, activation_beta, ("tanh",), ways)
    states = [node.state(initial_h)]
    torch_has = {"tanh": plain.rnn_tanh, "relu": plain.rnn_relu}
    (name, *others) = dict.fromkeys(_named(chosen))
    if name in torch_has and not others and clip is None and _as_torch(node):
        return node.torch(torch_has[name], states)
    settings: dict[str, Any] = {"activations": chosen}
    if clip is not None:
        settings["clip"] = clip
    return node.general(general.general_rnn, states, **settings)


def _as_torch(node: Recurrence) -> bool:
    """Whether torch's form can go these ways: backwards alone only over whole sequences."""
    return node.lengths is None or node.backward != (True,)
