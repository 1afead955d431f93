"""Random chains of steps: converted, and equal to torch at other sizes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from torch import nn

import pytorch_to_mlx as p2m
from tests.golden.compare import assert_same, run_torch
from tests.hostile.random_modules import STEPS, WIDTH, Chain
from tests.hostile.reached import Tally

torch.set_num_threads(1)

TALLY = Tally()
#: ``make fuzz`` sets it: longer, and with other draws every time.
EXAMPLES = int(os.environ.get("P2M_FUZZ_GRAPHS", "6"))


@settings(
    max_examples=EXAMPLES,
    derandomize="P2M_FUZZ_GRAPHS" not in os.environ,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=12, max_size=25),
    seed=st.integers(0, 2**16),
)
def test_chains(tmp_path: Path, steps: list[str], seed: int) -> None:
    note(f"steps {steps}")
    torch.manual_seed(seed)
    module = Chain(steps).eval()
    x = torch.randn(2, 5, WIDTH)
    with TALLY.case():
        converted = p2m.convert(module, (x,))
        for batch, time in ((2, 5), (1, 5), (3, 2), (2, 9)):
            y = torch.randn(batch, time, WIDTH)
            assert_same(converted(y), run_torch(module, y), 1e-3)


class Again(nn.Module):
    """Weights of layers beside the layers themselves: some of them, or with another setting."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.conv = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.table = nn.Embedding(3, WIDTH)
        self.out = nn.Linear(WIDTH, 3)
        self.out.weight = self.table.weight

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        weight, bias = self.norm.weight, self.norm.bias
        linear = F.linear(self.linear(F.linear(x, self.linear.weight)), self.linear.weight)
        norm = F.layer_norm(self.norm(x), (WIDTH,), weight)
        norm = norm + F.layer_norm(x, (WIDTH,), weight, bias, 1e-3)
        wide = x[..., None].expand(-1, -1, 5)
        conv = F.conv1d(self.conv(wide), self.conv.weight)
        return linear, norm, conv, self.out(self.table((x > 0).long()).sum(1))


def test_weights_of_layers_used_again() -> None:
    torch.manual_seed(0)
    module, x = Again().eval(), torch.randn(2, WIDTH)
    converted = p2m.convert(module, (x,))
    assert_same(converted(x), run_torch(module, x))
    assert "table.as_linear" in converted.code
    assert converted.config["parameters"] == sum(p.numel() for p in module.parameters())


def test_views_of_what_torch_lays_out_otherwise_once_it_is_decomposed() -> None:
    steps = "mask exp scalar roll causal causal position stack half batch_norm block view clamp"
    module, x = Chain(steps.split()).eval(), torch.randn(2, 5, WIDTH)
    assert_same(p2m.convert(module, (x,))(x), run_torch(module, x), 1e-3)


def test_half_of_the_cases_reach_lowering(record_property: Any) -> None:
    TALLY.assert_half(record_property)
    assert TALLY.lowered == TALLY.cases, "a chain of plain steps was refused"
