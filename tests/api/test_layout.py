"""Code as one would write it: no transposes between convolutions, attention as one call, names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.api.helpers import call, proven


class Rectified(nn.Module):
    """Convolutions with learnt rectifiers and a scale for each channel between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3)
        self.bend, self.bend_last = nn.PReLU(channels), nn.PReLU()
        self.scale = nn.Parameter(torch.randn(4, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.second(self.bend(self.first(x)) * self.scale)
        return self.bend_last(x.mean((2, 3)))


class Biased(nn.Module):
    """Scores with a learnt bias for each distance, which a table of distances picks."""

    def __init__(self) -> None:
        super().__init__()
        self.by_distance = nn.Parameter(torch.randn(7))
        places = torch.arange(4)
        self.register_buffer("distances", places[:, None] - places + 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x + self.by_distance[self.distances], -1)


def test_a_weight_has_the_name_of_its_numbers_not_of_their_places(tmp_path: Path) -> None:
    code = proven(tmp_path, Biased(), call(torch.randn(3, 4, 4))).code
    assert "self.by_distance = mx.zeros((4, 4))" in code
    assert "distances" not in code


@pytest.mark.parametrize("channels", [1, 4])
def test_learnt_rectifiers_are_layers_in_any_layout(channels: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Rectified(channels).eval()
    nn.init.normal_(module.bend.weight)
    code = proven(
        tmp_path, module, call(torch.randn(2, 3, 9, 9)), call(torch.randn(1, 3, 7, 8))
    ).code
    assert code.count("transpose") == 1
    assert ("nn.PReLU(num_parameters=4)" in code) is (channels == 4)
    assert "self.bend_last = nn.PReLU()" in code
    assert "self.scale = mx.zeros((4,))" in code


class EinsumAttention(nn.Module):
    """Attention as equations of axes."""

    def __init__(self, scores: str, values: str) -> None:
        super().__init__()
        self.to_qkv, self.scores, self.values = nn.Linear(8, 24), scores, values

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.unflatten(-1, (2, 4)) for t in self.to_qkv(x).chunk(3, -1))
        weights = (torch.einsum(self.scores, q, k) * 4**-0.5).softmax(-1)
        return torch.einsum(self.values, weights, v).flatten(2)


def test_attention_by_einsum_is_one_call(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = EinsumAttention("b i h d, b j h d -> b h i j", "b h i j, b j h d -> b i h d")
    calls = [call(torch.randn(b, t, 8)) for b, t in ((2, 5), (3, 7))]
    code = proven(tmp_path, module.eval(), *calls).code
    assert "mx.fast.scaled_dot_product_attention" in code
    assert "einsum" not in code
