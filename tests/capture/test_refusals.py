"""What torch.export refuses, in the user's terms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pytorch_to_mlx.capture.export import capture_module
from pytorch_to_mlx.errors import CaptureError
from tests.capture import models
from tests.capture.helpers import checked


@pytest.mark.parametrize(
    "module, inputs, line, kind, hint",
    [
        (
            models.Branch(),
            (torch.ones(2, 3),),
            "if x.sum() > 0:",
            "branch on the values",
            "torch.where",
        ),
        (models.Item(), (torch.ones(2, 3),), "int(x.max())", "Python number", "tensor"),
    ],
)
def test_the_users_line_kind_and_remedy(module, inputs, line, kind, hint, capfd):
    with pytest.raises(CaptureError) as caught:
        capture_module(module, inputs)
    error = caught.value
    assert line in error.message
    assert kind in error.message
    assert hint in error.hint
    assert "models.py:" in error.origin
    assert error.__cause__ is not None
    assert "\n" not in str(error)
    assert capfd.readouterr() == ("", "")


def test_strict_mode_is_tried_and_told(capsys):
    captured = checked(models.Numpy(), torch.randn(2, 3))
    assert any("strict mode" in w and "numpy" in w for w in captured.warnings)
    assert capsys.readouterr() == ("", "")


def test_other_torch_errors_show_their_first_line():
    @torch.library.custom_op("capture_tests::opaque", mutates_args=())
    def opaque(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    class Opaque(nn.Module):
        def forward(self, x):
            return opaque(x)

    with pytest.raises(CaptureError, match="fake") as caught:
        capture_module(Opaque(), (torch.randn(2, 3),))
    assert "register_fake" in caught.value.hint


def test_custom_ops_stay():
    @torch.library.custom_op("capture_tests::doubled", mutates_args=())
    def doubled(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    doubled.register_fake(lambda x: torch.empty_like(x))

    class Custom(nn.Module):
        def forward(self, x):
            return doubled(x) + 1

    captured = capture_module(Custom(), (torch.randn(2, 3),))
    assert "capture_tests.doubled.default" in {str(n.target) for n in captured.program.graph.nodes}


def test_a_trace_that_computes_something_else_is_told():
    class Lengths(nn.Module):
        def forward(self, x):
            return torch.tensor([len(str(v)) for v in x.tolist()])

    captured = capture_module(Lengths(), (torch.ones(3),))
    assert any("than the model itself" in w for w in captured.warnings)


def test_random_models_are_not_suspected():
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x)

    captured = capture_module(Noise().eval(), (torch.randn(2, 3),))
    assert captured.warnings == []


class Holder:
    def __init__(self) -> None:
        self.h = torch.zeros(3)


class HoldsState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.holder = Holder()

    def forward(self, x):
        self.holder.h = self.holder.h + x
        return self.holder.h


def test_state_inside_an_object_is_refused_by_name():
    module = HoldsState()
    with pytest.raises(CaptureError, match=r"holder\.h"):
        capture_module(module, (torch.ones(2, 3),))
    assert module.holder.h.tolist() == [0.0, 0.0, 0.0]


def test_inputs_of_unknown_types():
    class Takes(nn.Module):
        def forward(self, holder):
            return holder.h * 2

    with pytest.raises(CaptureError, match="cannot flatten"):
        capture_module(Takes(), (Holder(),))


def test_lines_of_libraries_are_not_the_users():
    class Norm(nn.Module):
        def forward(self, x):
            return x + torch.tensor(np.linalg.norm(x.tolist()))

    with pytest.raises(CaptureError, match=r"np\.linalg\.norm") as caught:
        capture_module(Norm(), (torch.ones(3),))
    assert "test_refusals.py" in caught.value.origin


class OtherWhenTraced(nn.Module):
    """Attends causally only while it is traced, as libraries do that look at values of masks."""

    def forward(self, x):
        causal = torch.compiler.is_exporting()
        return nn.functional.scaled_dot_product_attention(x, x, x, is_causal=causal)


def test_attention_without_dropout_hides_no_wrong_trace():
    captured = capture_module(OtherWhenTraced(), (torch.randn(2, 1, 5, 4),))
    assert any("gives another output" in w for w in captured.warnings)
