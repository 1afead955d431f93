"""ops.recurrent against torch's modules and functions."""

from __future__ import annotations

import mlx.core as mx
import pytest
import torch
from torch import nn

from pytorch_to_mlx.ops import recurrent as rc
from tests.ops.torch_parity import assert_same, to_mx

KINDS = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "tanh": lambda *a, **k: nn.RNN(*a, nonlinearity="tanh", **k),
    "relu": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
}


def run(kind: str, x: mx.array, states: list, params: list, *rest: object) -> tuple:
    functions = {"lstm": rc.lstm, "gru": rc.gru, "tanh": rc.rnn_tanh, "relu": rc.rnn_relu}
    return functions[kind](x, *states, tuple(params), *rest)


def flat(out: tuple) -> tuple:
    y, hidden = out
    return (y, *hidden) if isinstance(hidden, tuple) else (y, hidden)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("size", [(5, 3), (1, 1), (7, 2)])
def test_networks(kind: str, layers: int, both: bool, bias: bool, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    steps, batch = size
    for proj in (0, 3) if kind == "lstm" else (0,):
        extra = {"proj_size": proj} if proj else {}
        net = KINDS[kind](4, 6, layers, bias=bias, bidirectional=both, **extra)
        x = torch.randn(steps, batch, 4)
        count = layers * (2 if both else 1)
        states = [torch.randn(count, batch, proj or 6)]
        if kind == "lstm":
            states.append(torch.randn(count, batch, 6))
        given = tuple(states) if kind == "lstm" else states[0]
        want = flat(net(x, given))
        params = [to_mx(p) for p in net.parameters()]
        names = [n for n, _ in net.named_parameters()]
        assert names[:2] == ["weight_ih_l0", "weight_hh_l0"]
        got = run(kind, to_mx(x), to_mx(states), params, bias, layers, both)
        assert_same(got, want)


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_packed(kind: str, both: bool) -> None:
    torch.manual_seed(1)
    net = KINDS[kind](4, 5, 2, bidirectional=both)
    lengths = torch.tensor([4, 6, 1, 4])
    x = torch.randn(7, 4, 4)
    pack, pad = nn.utils.rnn.pack_padded_sequence, nn.utils.rnn.pad_packed_sequence
    out, hidden = net(pack(x, lengths, enforce_sorted=False))
    hidden = hidden if isinstance(hidden, tuple) else (hidden,)
    states = [torch.zeros_like(h) for h in hidden]
    params = [to_mx(p) for p in net.parameters()]
    got, *last = run(kind, to_mx(x), to_mx(states), params, True, 2, both, to_mx(lengths))
    assert_same(tuple(last), hidden)
    for value, total in ((0.0, None), (-1.5, 7), (0.5, 9)):
        padded = rc.pad_packed(got, to_mx(lengths), value, total)
        assert_same(padded, pad(out, padding_value=value, total_length=total)[0])


@pytest.mark.parametrize("bias", [True, False])
def test_cells(bias: bool) -> None:
    torch.manual_seed(0)
    x, h, c = torch.randn(3, 4), torch.randn(3, 6), torch.randn(3, 6)
    cell = nn.LSTMCell(4, 6, bias=bias)
    got = rc.lstm_cell(*to_mx((x, h, c)), *(to_mx(p) for p in cell.parameters()))
    assert_same(got, cell(x, (h, c)))
    gru = nn.GRUCell(4, 6, bias=bias)
    assert_same(rc.gru_cell(*to_mx((x, h)), *(to_mx(p) for p in gru.parameters())), gru(x, h))
    for kind in ("tanh", "relu"):
        rnn = nn.RNNCell(4, 6, bias=bias, nonlinearity=kind)
        w = [to_mx(p) for p in rnn.parameters()] + ([] if bias else [None, None])
        assert_same(rc.rnn_cell(*to_mx((x, h)), *w, kind), rnn(x, h))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_half(kind: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = KINDS[kind](4, 6, 1).to(dtype)
    x = torch.randn(5, 2, 4).to(dtype)
    states = [torch.zeros(1, 2, 6, dtype=dtype)] * (2 if kind == "lstm" else 1)
    params = [to_mx(p) for p in net.parameters()]
    want = flat(net(x, tuple(states) if kind == "lstm" else states[0]))
    # Five chained steps, each rounded to the dtype on both sides.
    rtol = {torch.bfloat16: 3e-2, torch.float16: 4e-3}[dtype]
    assert_same(run(kind, to_mx(x), to_mx(states), params), want, rtol)


def test_compiles() -> None:
    net = nn.LSTM(4, 6)
    params = tuple(to_mx(p) for p in net.parameters())
    x, zero = torch.randn(5, 2, 4), torch.zeros(1, 2, 6)
    compiled = mx.compile(lambda a, h, c: rc.lstm(a, h, c, params))
    assert_same(compiled(*to_mx((x, zero, zero))), flat(net(x)))
