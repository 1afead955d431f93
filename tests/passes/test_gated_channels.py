"""Gates and log-softmax over channels work on the last axis of channels-last arrays."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import pytorch_to_mlx as p2m


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.second = nn.Conv2d(4, 6, 1)
        self.third = nn.Conv2d(6, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.second(F.glu(self.first(x), dim=1))
        return self.third(F.log_softmax(F.glu(x.repeat(1, 1, 2, 1), dim=2), dim=1))


def test_only_the_ends_are_transposed() -> None:
    torch.manual_seed(0)
    model = Gated().eval()
    converted = p2m.convert(model, (torch.randn(2, 3, 9, 8),))
    assert converted.code.count("transpose(") == 2
    assert "nn.glu(self.first(" in converted.code
    assert "log_softmax(" in converted.code
    x = torch.randn(3, 3, 7, 12)
    with torch.no_grad():
        expected = model(x).numpy()
    np.testing.assert_allclose(np.array(converted(x)), expected, atol=1e-5)
