"""Decoders with masks of -inf that forward builds: sequences of one, and rows without any key."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pytorch_to_mlx as p2m
from tests.torchscript.helpers import scripted


class Decoder(nn.Module):
    """A causal mask above the diagonal, added; padding filled in."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.query = nn.Linear(8, 8)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        t = tokens.size(1)
        scores = torch.bmm(self.query(x), x.transpose(1, 2))
        scores = scores + torch.triu(torch.zeros([t, t]).fill_(float("-inf")), 1).to(scores)
        scores = scores.masked_fill(tokens.eq(1)[:, None, :], float("-inf"))
        return torch.bmm(torch.softmax(scores.float(), dim=-1).type_as(scores), x)


@pytest.mark.parametrize("script", [False, True])
def test_one_token_and_rows_without_keys(script: bool):
    torch.manual_seed(0)
    model = Decoder().eval()
    converted = p2m.convert(scripted(model) if script else model, (torch.randint(2, 10, (2, 5)),))
    padded = torch.tensor([[1, 4, 5], [6, 1, 7]])
    for tokens in (torch.tensor([[3]]), torch.randint(2, 10, (3, 2)), padded):
        with torch.no_grad():
            want = model(tokens).numpy()
        assert np.isnan(want).any() == bool(tokens[:, 0].eq(1).any())
        np.testing.assert_allclose(np.array(converted(tokens.numpy())), want, atol=1e-5)
