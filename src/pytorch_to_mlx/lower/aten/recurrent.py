"""LSTM, GRU and plain recurrent networks and their cells.

``p2m::lstm`` and the others are what capture puts in the place of torch's recurrences, which freeze
the sequence's length in an export; they have the schemas of the ``input`` overloads.
"""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.lower._channels import weights
from pytorch_to_mlx.lower.aten import Unsupported, lowers
from pytorch_to_mlx.ops import recurrent as ops

PACKED = (
    "packed sequences, whose batch sizes are data; run the network on the padded batch and mask"
    " its output, or convert with sequences of one length"
)


def _stacked(
    fn: Any,
    x: Value,
    states: tuple[Value, ...],
    params: Any,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    """``fn`` takes ``[time, batch, features]``; the first result goes back to ``x``'s order."""
    if train and dropout and num_layers > 1:
        raise Unsupported("dropout between recurrent layers at inference; call eval() first")
    given: dict[str, Any] = {} if has_biases else {"has_biases": False}
    if num_layers > 1:
        given["num_layers"] = num_layers
    if bidirectional:
        given["bidirectional"] = True
    steps = x.transpose(1, 0, 2) if batch_first else x
    out, *last = call(fn, steps, *states, tuple(params), **given)
    return (out.transpose(1, 0, 2) if batch_first else out, *last)


@lowers("aten.lstm.input", "p2m.lstm")
def lstm(
    x: Value,
    hx: Any,
    params: Any,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Value, Value, Value]:
    """lstm.input(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers,
    float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor,
    Tensor)
    """
    return _stacked(
        ops.lstm,
        x,
        tuple(hx),
        params,
        has_biases,
        num_layers,
        dropout,
        train,
        bidirectional,
        batch_first,
    )


@lowers("aten.gru.input", "p2m.gru")
def gru(
    x: Value,
    hx: Value,
    params: Any,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Value, Value]:
    """gru.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, float
    dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)
    """
    return _stacked(
        ops.gru,
        x,
        (hx,),
        params,
        has_biases,
        num_layers,
        dropout,
        train,
        bidirectional,
        batch_first,
    )


@lowers("aten.rnn_tanh.input", "p2m.rnn_tanh")
def rnn_tanh(
    x: Value,
    hx: Value,
    params: Any,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Value, Value]:
    """rnn_tanh.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers,
    float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)
    """
    return _stacked(
        ops.rnn_tanh,
        x,
        (hx,),
        params,
        has_biases,
        num_layers,
        dropout,
        train,
        bidirectional,
        batch_first,
    )


@lowers("aten.rnn_relu.input", "p2m.rnn_relu")
def rnn_relu(
    x: Value,
    hx: Value,
    params: Any,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Value, Value]:
    """rnn_relu.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers,
    float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)
    """
    return _stacked(
        ops.rnn_relu,
        x,
        (hx,),
        params,
        has_biases,
        num_layers,
        dropout,
        train,
        bidirectional,
        batch_first,
    )


def _ended(fn: Any, x: Value, lengths: Value, states: tuple[Value, ...], *rest: Any) -> Any:
    """A recurrence over sequences [time, batch, features] of these lengths."""
    params, has_biases, num_layers, dropout, train, bidirectional = rest
    if train and dropout and num_layers > 1:
        raise Unsupported("dropout between recurrent layers at inference; call eval() first")
    given: dict[str, Any] = {} if has_biases else {"has_biases": False}
    if num_layers > 1:
        given["num_layers"] = num_layers
    if bidirectional:
        given["bidirectional"] = True
    return call(fn, x, *states, tuple(params), **given, lengths=lengths)


@lowers("p2m.packed_lstm")
def packed_lstm(x: Value, lengths: Value, hx: Any, *rest: Any) -> tuple[Value, Value, Value]:
    """packed_lstm(Tensor input, Tensor lengths, Tensor[] hx, Tensor[] params, bool has_biases,
    int num_layers, float dropout, bool train, bool bidirectional) -> (Tensor, Tensor, Tensor)
    """
    return _ended(ops.lstm, x, lengths, tuple(hx), *rest)


@lowers("p2m.packed_gru")
def packed_gru(x: Value, lengths: Value, hx: Value, *rest: Any) -> tuple[Value, Value]:
    """packed_gru(Tensor input, Tensor lengths, Tensor hx, Tensor[] params, bool has_biases, int
    num_layers, float dropout, bool train, bool bidirectional) -> (Tensor, Tensor)
    """
    return _ended(ops.gru, x, lengths, (hx,), *rest)


@lowers("p2m.packed_rnn_tanh")
def packed_rnn_tanh(x: Value, lengths: Value, hx: Value, *rest: Any) -> tuple[Value, Value]:
    """packed_rnn_tanh(Tensor input, Tensor lengths, Tensor hx, Tensor[] params, bool has_biases,
    int num_layers, float dropout, bool train, bool bidirectional) -> (Tensor, Tensor)
    """
    return _ended(ops.rnn_tanh, x, lengths, (hx,), *rest)


@lowers("p2m.packed_rnn_relu")
def packed_rnn_relu(x: Value, lengths: Value, hx: Value, *rest: Any) -> tuple[Value, Value]:
    """packed_rnn_relu(Tensor input, Tensor lengths, Tensor hx, Tensor[] params, bool has_biases,
    int num_layers, float dropout, bool train, bool bidirectional) -> (Tensor, Tensor)
    """
    return _ended(ops.rnn_relu, x, lengths, (hx,), *rest)


@lowers("p2m.pad_packed")
def pad_packed(
    data: Value, lengths: Value, padding_value: float = 0.0, total_length: Any = None
) -> Value:
    """pad_packed(Tensor data, Tensor lengths, float padding_value, SymInt? total_length) ->
    Tensor
    """
    given: dict[str, Any] = {} if padding_value == 0 else {"padding_value": padding_value}
    if total_length is not None:
        given["total_length"] = total_length
    return call(ops.pad_packed, data, lengths, **given)


@lowers("aten.lstm.data", "aten.gru.data", "aten.rnn_tanh.data", "aten.rnn_relu.data")
def packed(data: Value, batch_sizes: Value, *others: Any) -> Any:
    """lstm.data(Tensor data, Tensor batch_sizes, Tensor[] hx, Tensor[] params, bool has_biases,
        int num_layers, float dropout, bool train, bool bidirectional) -> (Tensor, Tensor,
        Tensor)
    gru.data(Tensor data, Tensor batch_sizes, Tensor hx, Tensor[] params, bool has_biases, int
        num_layers, float dropout, bool train, bool bidirectional) -> (Tensor, Tensor)
    rnn_tanh.data(Tensor data, Tensor batch_sizes, Tensor hx, Tensor[] params, bool has_biases,
        int num_layers, float dropout, bool train, bool bidirectional) -> (Tensor, Tensor)
    rnn_relu.data(Tensor data, Tensor batch_sizes, Tensor hx, Tensor[] params, bool has_biases,
        int num_layers, float dropout, bool train, bool bidirectional) -> (Tensor, Tensor)
    """
    raise Unsupported(PACKED)


@lowers("aten._pack_padded_sequence.default", "aten._pad_packed_sequence.default")
def pack(*args: Any) -> Any:
    """_pack_padded_sequence(Tensor input, Tensor lengths, bool batch_first) -> (Tensor, Tensor)
    _pad_packed_sequence(Tensor data, Tensor batch_sizes, bool batch_first, Scalar
        padding_value, int total_length) -> (Tensor, Tensor)
    """
    raise Unsupported(PACKED)


@lowers("aten.lstm_cell.default")
def lstm_cell(
    x: Value,
    hx: Any,
    w_ih: Value,
    w_hh: Value,
    b_ih: Value | None = None,
    b_hh: Value | None = None,
) -> tuple[Value, Value]:
    """lstm_cell(Tensor input, Tensor[] hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor?
    b_hh=None) -> (Tensor, Tensor)
    """
    return call(ops.lstm_cell, x, *hx, w_ih, w_hh, *weights(b_ih, b_hh))


@lowers("aten.gru_cell.default")
def gru_cell(
    x: Value,
    hx: Value,
    w_ih: Value,
    w_hh: Value,
    b_ih: Value | None = None,
    b_hh: Value | None = None,
) -> Value:
    """gru_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor?
    b_hh=None) -> Tensor
    """
    return call(ops.gru_cell, x, hx, w_ih, w_hh, *weights(b_ih, b_hh))


@lowers("aten.rnn_tanh_cell.default")
def rnn_tanh_cell(
    x: Value,
    hx: Value,
    w_ih: Value,
    w_hh: Value,
    b_ih: Value | None = None,
    b_hh: Value | None = None,
) -> Value:
    """rnn_tanh_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor?
    b_hh=None) -> Tensor
    """
    return call(ops.rnn_cell, x, hx, w_ih, w_hh, *weights(b_ih, b_hh))


@lowers("aten.rnn_relu_cell.default")
def rnn_relu_cell(
    x: Value,
    hx: Value,
    w_ih: Value,
    w_hh: Value,
    b_ih: Value | None = None,
    b_hh: Value | None = None,
) -> Value:
    """rnn_relu_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor?
    b_hh=None) -> Tensor
    """
    return call(ops.rnn_cell, x, hx, w_ih, w_hh, *weights(b_ih, b_hh), nonlinearity="relu")
