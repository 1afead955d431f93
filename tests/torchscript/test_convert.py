"""Scripts and traces of small modules convert, keep names and sizes, and give the same."""

from __future__ import annotations

import pytest
import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.errors import CaptureError
from tests.torchscript import models
from tests.torchscript.helpers import compare, converts, scripted, traced


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_branches_of_options_fold_and_of_data_stay():
    script = scripted(models.Choice())
    calls = [(torch.randn(3, 4),), (torch.ones(1, 4) * 9,), (-torch.ones(7, 4) * 9,)]
    converted = converts(script, *calls)
    assert converted.code.count(".item()") == 1  # the one documented sync
    assert "flag" not in converted.code


def test_optional_inputs_and_options():
    script = scripted(models.Choice())
    x, mask = torch.randn(3, 4), torch.tensor([1.0, 0.0, 1.0, 0.0])
    converts(script, (x, False, mask))


def test_containers_in_place_and_sizes():
    converted = converts(scripted(models.Containers()), *((torch.randn(n, 4),) for n in (3, 1, 6)))
    assert "self.layers = [nn.Linear(4, 4) for _ in range(3)]" in converted.code
    assert set(converted.captured.dims["symbols"]) == {"B"}


def test_state_is_carried_and_the_script_left_alone():
    script = scripted(models.Memory())
    converted = p2m.convert(script, (torch.randn(2, 4),))
    assert torch.equal(script.h, torch.zeros(2, 4))
    assert script.calls == 0
    compare(converted, script, *((torch.randn(2, 4),) for _ in range(4)))


def test_state_of_the_first_call_begins_as_zeros():
    script = scripted(models.Lazy())
    converted = p2m.convert(script, (torch.randn(2, 4),))
    assert any("begins as zeros" in w for w in converted.report["warnings"])
    assert script.context.shape == (0,)
    compare(converted, script, *((torch.randn(2, 4),) for _ in range(3)))


def test_state_that_does_not_begin_as_zeros_is_refused():
    with pytest.raises(CaptureError, match="context"):
        p2m.convert(scripted(models.Biased()), (torch.randn(2, 4),))


@pytest.mark.parametrize("trace", [False, True])
def test_recurrences_keep_their_length(trace):
    module = models.Recurrent()
    x = torch.randn(2, 7, 4)
    script = traced(module, x) if trace else scripted(module)
    calls = [(x,), (torch.randn(2, 3, 4),)]
    if not trace:  # a trace keeps the example's batch in the first states
        calls.append((torch.randn(5, 1, 4),))
    converts(script, *calls)


def test_loops_over_time_are_for_loops():
    calls = [(torch.randn(*size),) for size in ((2, 5, 4), (3, 1, 4), (1, 9, 4))]
    converted = converts(scripted(models.Unrolled()), *calls)
    assert "for step in x.transpose(1, 0, 2):" in converted.code
    assert set(converted.captured.dims["symbols"]) == {"B", "T"}


def test_loops_that_compute_with_their_index():
    converts(scripted(models.Decay()), *((torch.randn(2, t, 4),) for t in (5, 1, 8)))


def test_loops_that_data_end():
    calls = [(torch.ones(2, 4) * v,) for v in (3.0, 0.01, 1e6)]
    assert "while" in converts(scripted(models.Halve()), *calls).code


def test_choices_of_sizes_and_errors():
    script = scripted(models.Checked())
    converted = converts(script, *((torch.randn(2, n),) for n in (4, 9, 6, 7)))
    assert "if T > 6:" in converted.code
    with pytest.raises(CaptureError, match="expected a matrix"):
        p2m.convert(script, (torch.randn(2, 3, 4),))


def test_named_tuples_constants_and_methods():
    script = scripted(models.Named())
    converts(script, (torch.randn(2, 5),), (torch.randn(4, 3),))
    converted = p2m.convert(script, (torch.randn(2, 5),), method="scaled")
    compare(converted, script.scaled, (torch.randn(3, 5),))


def test_traces_keep_modules_and_sizes():
    x = torch.randn(2, 3, 6, 5)
    converted = converts(traced(models.Convolutional(), x), (x,), (torch.randn(4, 3, 7, 9),))
    assert "class MultiheadAttention(nn.Module):" in converted.code
    assert "nn.Conv2d(3, 8, 3, padding=1)" in converted.code
    assert any("is a trace" in w for w in converted.report["warnings"])


@pytest.mark.parametrize("trace", [False, True])
def test_fused_transformer_kernels(trace):
    ids = torch.randint(0, 11, (2, 5))
    script = traced(models.Encoder(), ids) if trace else scripted(models.Encoder())
    assert (
        "TransformerEncoderLayer" in converts(script, (ids,), (torch.randint(0, 11, (3, 7)),)).code
    )


def test_lists_of_tensors_in_and_out():
    converts(scripted(models.Nested()), (torch.randn(3, 4), [torch.randn(3, 2) for _ in "ab"]))


def test_frozen_scripts_keep_their_weights_names():
    with torch.no_grad():
        script = torch.jit.freeze(scripted(models.Unrolled()))
    converts(script, (torch.randn(2, 5, 4),), (torch.randn(3, 2, 4),))


def test_half_precision():
    script = scripted(models.Containers())
    converted = p2m.convert(script, (torch.randn(3, 4),), dtype="float16")
    outputs = converted.captured.reference()()
    assert {o.dtype for o in outputs} == {"float16"}


def test_proof_against_the_script_itself():
    converted = p2m.convert(scripted(models.Choice()), (torch.randn(3, 4),))
    assert p2m.validate(converted, budget=10).passed
