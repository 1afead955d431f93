"""Packed sequences: recurrences over padded batches whose sequences end, against torch."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import pytorch_to_mlx as p2m


class Packed(nn.Module):
    """Output, state and lengths of a recurrence over packed sequences."""

    def __init__(self, kind: Any, *, ordered: bool = False, whole: bool = True, **options: Any):
        super().__init__()
        torch.manual_seed(0)
        self.net = kind(4, 5, **options)
        self.ordered, self.whole, self.first = ordered, whole, options.get("batch_first", False)

    def forward(self, x: Any, lengths: Any, given: Any = None) -> Any:
        packed = pack_padded_sequence(
            x, lengths, batch_first=self.first, enforce_sorted=self.ordered
        )
        out, state = self.net(packed, given)
        total = x.shape[1 if self.first else 0] if self.whole else None
        y, ends = pad_packed_sequence(
            out, batch_first=self.first, total_length=total, padding_value=-0.5
        )
        return y, *(state if isinstance(state, tuple) else (state,)), ends


LENGTHS = torch.tensor([4, 7, 2])
X = torch.randn(3, 7, 4)


def same(emitted: Any, module: nn.Module, *inputs: torch.Tensor) -> None:
    with torch.no_grad():
        wanted = module(*inputs)
    got = emitted(*(mx.array(i.numpy()) for i in inputs))
    for w, g in zip(wanted, got, strict=True):
        assert w.shape == g.shape
        np.testing.assert_allclose(np.array(g), w.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "kind, whole, options",
    [
        (nn.LSTM, True, {"batch_first": True, "bidirectional": True, "num_layers": 2}),
        (nn.LSTM, False, {"proj_size": 3, "bias": False}),
        (nn.GRU, False, {"batch_first": True, "bidirectional": True}),
        (nn.RNN, True, {"batch_first": True}),
        (nn.RNN, False, {"nonlinearity": "relu", "num_layers": 2}),
    ],
)
def test_other_sizes(kind: Any, whole: bool, options: dict[str, Any]) -> None:
    """Whether the output is as long as the input or as its longest sequence."""

    def batch(size: int, steps: int) -> torch.Tensor:
        first = options.get("batch_first")
        return torch.randn(*((size, steps) if first else (steps, size)), 4)

    module = Packed(kind, whole=whole, **options).eval()
    emitted = p2m.convert(module, (batch(3, 7), LENGTHS)).module
    same(emitted, module, batch(3, 7), LENGTHS)
    for size, steps in ((1, 1), (5, 4)):
        same(emitted, module, batch(size, steps), torch.randint(1, steps + 1, (size,)))


def test_falling_lengths_and_an_initial_state() -> None:
    module = Packed(nn.GRU, ordered=True, batch_first=True).eval()
    inputs = X, torch.tensor([7, 4, 2]), torch.randn(1, 3, 5)
    same(p2m.convert(module, inputs).module, module, *inputs)


def test_torch_packs_as_before_afterwards() -> None:
    p2m.convert(Packed(nn.GRU, batch_first=True).eval(), (X, LENGTHS))
    packed = pack_padded_sequence(X, LENGTHS, batch_first=True, enforce_sorted=False)
    assert packed.data.shape == (13, 4)
    assert nn.GRU(4, 5)(packed)[0].data.shape == (13, 5)
