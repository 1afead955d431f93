"""Random chains of steps: converted, and equal to torch at other sizes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

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


@pytest.mark.xfail(reason="a layer's weight used again without its bias gets a layer in that layer")
def test_a_layers_weight_without_its_bias() -> None:
    class Again(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(WIDTH, WIDTH)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.linear(self.linear(x), self.linear.weight)

    module, x = Again().eval(), torch.randn(2, WIDTH)
    assert_same(p2m.convert(module, (x,))(x), run_torch(module, x))


def test_half_of_the_cases_reach_lowering(record_property: Any) -> None:
    TALLY.assert_half(record_property)
    assert TALLY.lowered == TALLY.cases, "a chain of plain steps was refused"
