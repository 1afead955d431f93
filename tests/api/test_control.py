"""Control flow and recurrences: both branches, any number of turns, any length."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.api.helpers import call, proven


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(3, 3)
        self.down = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.cond(x.sum() > 0, lambda x: self.up(x).relu(), lambda x: self.down(x) - 1, (x,))
        return h * 2


class Halving(nn.Module):
    """Halves until everything is below one; the number of turns depends on the data."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        from torch._higher_order_ops.while_loop import while_loop

        def go_on(n: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return (x.abs().max() > 1) & (n < 20)

        def turn(n: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return n + 1, x * 0.5

        return while_loop(go_on, turn, (torch.zeros((), dtype=torch.int64), x))


class Tagger(nn.Module):
    def __init__(self, kind: str, layers: int, batch_first: bool) -> None:
        super().__init__()
        make = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind]
        self.rnn = make(4, 5, num_layers=layers, bidirectional=True, batch_first=batch_first)
        self.head = nn.Linear(10, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, state = self.rnn(x)
        return self.head(y), state[0] if isinstance(state, tuple) else state


class Stateful(nn.Module):
    """A cell's state goes in and comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, num_layers=2)

    def forward(
        self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        return self.lstm(x, (h, c))


class Cells(nn.Module):
    """A loop over steps written in Python, of a fixed length."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = c = x.new_zeros(x.shape[0], 5)
        for step in range(3):
            h, c = self.cell(x[:, step], (h, c))
        return h


def test_cond_takes_both_branches(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3) + 0.1
    loaded = proven(tmp_path, Branches(), call(x), call(-x), call(x[:1]), call(-x.repeat(3, 1)))
    assert "if " in loaded.code


def test_while_loop_turns_as_often_as_torch(tmp_path: Path) -> None:
    x = torch.tensor([[3.0, -9.0, 0.5], [0.1, 0.2, 0.3]])
    loaded = proven(tmp_path, Halving(), call(x), call(x * 100), call(x[1:]), call(x * 0))
    assert "while " in loaded.code


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("layers, batch_first", [(1, True), (2, False)])
def test_bidirectional_recurrence_of_any_length(
    tmp_path: Path, kind: str, layers: int, batch_first: bool
) -> None:
    torch.manual_seed(0)
    shapes = [(2, 7, 4), (1, 1, 4), (3, 12, 4), (5, 2, 4)]
    if not batch_first:
        shapes = [(t, b, f) for b, t, f in shapes]
    calls = [call(torch.randn(*shape)) for shape in shapes]
    loaded = proven(tmp_path, Tagger(kind, layers, batch_first), *calls)
    assert [type(size) for size in loaded.config["inputs"][0]["shape"]] == [str, str, int]


def test_states_in_and_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    calls = [
        call(torch.randn(t, b, 4), torch.randn(2, b, 5), torch.randn(2, b, 5))
        for t, b in ((6, 2), (1, 1), (9, 3))
    ]
    proven(tmp_path, Stateful(), *calls)


def test_cells_in_a_python_loop(tmp_path: Path) -> None:
    torch.manual_seed(0)
    proven(tmp_path, Cells(), call(torch.randn(2, 3, 4)), call(torch.randn(1, 3, 4)))
