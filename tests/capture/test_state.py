"""State between calls: the captured program gives the same sequence of outputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export.graph_signature import OutputKind

from pytorch_to_mlx.capture.export import capture_module
from pytorch_to_mlx.errors import CaptureError
from tests.capture import models
from tests.capture.helpers import checked, compare, static, where


def mutated(captured):
    specs = captured.program.graph_signature.output_specs
    return [s.target for s in specs if s.kind == OutputKind.BUFFER_MUTATION]


def sequence(captured, module, *inputs):
    compare(captured, module, [((x,), {}) for x in inputs])


def test_buffer_changed_in_place():
    module = models.Counter()
    captured = checked(module, torch.randn(2, 3))
    assert mutated(captured) == ["total"]
    sequence(captured, module, torch.randn(2, 3), torch.randn(4, 3), torch.randn(1, 3))


def test_assigned_buffer_keeps_old_values_for_who_read_them():
    module = models.Assigned()
    captured = checked(module, torch.randn(2, 3))
    assert mutated(captured) == ["h"]
    assert "h" in captured.tensors
    sequence(captured, module, *torch.randn(3, 2, 3))


@pytest.mark.parametrize("registered", [False, True])
def test_state_that_the_example_leaves_as_it_is(registered):
    module = models.Echo(registered)
    captured = checked(module, torch.zeros(1, 3))
    assert mutated(captured) == ["before"]
    sequence(captured, module, *torch.randn(3, 1, 3))


def test_what_forward_computes_before_it_reads_it_is_no_state():
    module = nn.utils.spectral_norm(nn.Linear(3, 3)).eval()
    assert mutated(checked(module, torch.randn(2, 3))) == []


def test_state_keeps_its_batch():
    captured = checked(models.Assigned(), torch.randn(2, 3))
    assert set(static(captured)) == {"x:0", "x:1"}
    one = models.Assigned()
    one.h = torch.zeros(1, 3)
    captured = checked(one, torch.randn(1, 3))
    assert "state h" in static(captured)["x:0"]


def test_plain_attribute_becomes_state():
    module = models.Attribute()
    captured = checked(module, torch.randn(2, 3))
    assert mutated(captured) == ["cell.h"]
    assert "h" in module.cell.__dict__
    assert "h" not in module.cell._buffers
    assert where(captured) == [["x:0"]]
    sequence(captured, module, torch.randn(2, 3), torch.randn(5, 3))


def test_state_that_the_first_call_makes_begins_as_zeros():
    module = models.Created()
    captured = capture_module(module, (torch.randn(2, 3),))
    assert mutated(captured) == ["h"]
    assert module.h is None
    sequence(captured, module, *torch.randn(3, 2, 3))


@pytest.mark.parametrize(
    "module, named",
    [(models.Growing(), "seen"), (models.Steps(), "step")],
)
def test_state_that_cannot_be_kept_is_refused_by_name(module, named):
    with pytest.raises(CaptureError, match=named) as caught:
        capture_module(module, (torch.randn(2, 3),))
    assert "register_buffer" in caught.value.hint


def test_memo_is_no_state():
    captured = checked(models.Memo(), torch.randn(2, 3))
    assert mutated(captured) == []
    assert any("calls changes" in w for w in captured.warnings)


def test_parameter_written_in_forward():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(3), requires_grad=False)

        def forward(self, x):
            self.w.add_(1)
            return x * self.w

    with pytest.raises(CaptureError, match="the parameter w"):
        capture_module(Writes(), (torch.randn(2, 3),))


def test_parameter_prepared_by_the_first_call():
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.full((3,), 8.0))
            self.ready = False

        def forward(self, x):
            if not self.ready:
                with torch.no_grad():
                    self.w.div_(4)
            self.ready = True
            return x * self.w

    module = M().eval()
    captured = capture_module(module, (torch.ones(2, 3),))
    assert any("first call changes the parameter w" in w for w in captured.warnings)
    assert module.ready
    assert module.w.tolist() == [2.0] * 3
    assert not module._forward_hooks
    assert torch.equal(module(torch.ones(2, 3)), torch.full((2, 3), 2.0))


def test_module_is_restored_when_export_fails():
    class Fails(models.AttributeCell):
        def forward(self, x):
            y = super().forward(x)
            return y if y.sum() > 0 else -y

    module = Fails()
    h = module.h
    with pytest.raises(CaptureError):
        capture_module(module, (torch.ones(2, 3),))
    assert module.h is h
    assert h.tolist() == [0.0, 0.0, 0.0]
    assert module.training
    assert not module._forward_hooks
    assert not module._forward_pre_hooks
    assert "lstm" not in torch._VF.__dict__
