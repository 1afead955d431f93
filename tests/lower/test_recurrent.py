"""Recurrent networks and cells against torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.lower.harness import check_op

X = torch.randn(3, 5, 4)

NETWORKS: dict[str, Any] = {
    "lstm": nn.LSTM(4, 6),
    "lstm batch first": nn.LSTM(4, 6, batch_first=True),
    "lstm deep, both ways": nn.LSTM(4, 6, num_layers=2, bidirectional=True),
    "lstm projection, no bias": nn.LSTM(4, 6, proj_size=3, bias=False),
    "gru": nn.GRU(4, 6, batch_first=True),
    "gru deep, both ways": nn.GRU(4, 6, num_layers=2, bidirectional=True),
    "rnn": nn.RNN(4, 6),
    "rnn relu": nn.RNN(4, 6, nonlinearity="relu", bidirectional=True),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str) -> None:
    check_op(NETWORKS[name], X, atol=1e-5, dynamic=False)


def test_initial_state() -> None:
    h, c = torch.randn(1, 5, 6), torch.randn(1, 5, 6)
    lstm = nn.LSTM(4, 6)
    check_op(lambda x, h, c: lstm(x, (h, c)), X, h, c, atol=1e-5, dynamic=False)


@pytest.mark.parametrize("cell", [nn.LSTMCell(4, 6), nn.GRUCell(4, 6), nn.RNNCell(4, 6)])
def test_cell(cell: Any) -> None:
    check_op(cell, X[0], atol=1e-5, dynamic=False)


def test_relu_cell() -> None:
    check_op(nn.RNNCell(4, 6, nonlinearity="relu", bias=False), X[0], atol=1e-5, dynamic=False)
