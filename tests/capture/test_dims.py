"""Which dims stay dynamic, which do not and why."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim

import pytorch_to_mlx as p2m
from pytorch_to_mlx.capture.export import capture_module
from pytorch_to_mlx.errors import CaptureError
from tests.capture import models
from tests.capture.helpers import checked, compare, static, where
from tests.golden.compare import assert_same, run_torch


def only(captured):
    (entry,) = captured.dims["symbols"].values()
    return entry


def test_refused_sizes_are_static_with_the_models_own_reason():
    captured = checked(nn.Linear(4, 2), torch.randn(1, 4))
    assert where(captured) == [["input:0"]]
    assert only(captured)["size"] == 1
    assert only(captured)["min"] == 1
    assert "cannot be multiplied" in static(captured)["input:1"]


class Squeezed(nn.Module):
    def forward(self, x):
        return x.squeeze()


def test_a_size_that_another_rank_comes_of_is_static():
    captured = checked(Squeezed(), torch.randn(4, 1, 3))
    assert where(captured) == [["x:0"], ["x:2"]]
    assert [e["min"] for e in captured.dims["symbols"].values()] == [2, 2]
    assert "another number of dimensions" in static(captured)["x:1"]


def test_multiples_are_found():
    module = models.UNet()
    captured = checked(module, torch.randn(1, 3, 16, 8))
    entries = {e["where"][0]: e for e in captured.dims["symbols"].values()}
    assert {k: e["multiple_of"] for k, e in entries.items()} == {"x:0": 1, "x:2": 4, "x:3": 4}
    assert list(static(captured)) == ["x:1"]
    compare(captured, module, [((torch.randn(2, 3, 12, 20),), {})])


def test_upper_limits_are_found():
    captured = checked(models.Positions(), torch.zeros(1, 5, dtype=torch.long))
    assert [e["max"] for e in captured.dims["symbols"].values()] == [None, 16]


def test_equal_dims_of_several_inputs_move_together():
    class Masked(nn.Module):
        def forward(self, x, mask):
            return (x * mask[:, : x.shape[1]].unsqueeze(-1)).sum(1)

    captured = checked(Masked(), torch.randn(1, 5, 3), torch.ones(1, 5))
    assert where(captured) == [["x:0", "mask:0"], ["x:1", "mask:1"], ["x:2"]]


def test_equal_by_chance_move_alone():
    class Two(nn.Module):
        def forward(self, x, mask):
            return x.softmax(-1) * mask

    x = torch.randn(4, 4)
    captured = checked(Two(), x, torch.ones(4, 4))
    assert where(captured) == [["x:0", "mask:0"], ["x:1", "mask:1"]]


def test_batch_of_one_input_is_not_tied_to_another_inputs_channels():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x, gain):
            return self.linear(x) * gain

    captured = checked(Scale(), torch.randn(3, 3), torch.randn(3))
    assert where(captured) == [["x:0"]]
    assert set(static(captured)) == {"x:1", "gain:0"}


def test_sizes_that_torch_fixes_are_told():
    captured = checked(models.SizeBranch(), torch.randn(2, 3))
    assert where(captured) == [["x:1"]]
    assert "torch.export fixes it" in static(captured)["x:0"]
    assert "if x.shape[0] == 2:" in static(captured)["x:0"]
    assert static(checked(models.Unrolled(), torch.randn(2, 5, 4)))["x:1"].count("for i in") == 1


def test_attention_mask_that_broadcasts_over_heads():
    class Attend(nn.Module):
        def forward(self, q, mask):
            q = q.unflatten(-1, (2, 4)).transpose(1, 2)
            return nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=mask)

    captured = checked(Attend(), torch.randn(1, 5, 8), torch.zeros(1, 1, 5, 5))
    assert ["q:0", "mask:0"] in where(captured)
    assert ["q:1", "mask:2", "mask:3"] in where(captured)
    assert "mask:1" in static(captured)


def test_none_means_static():
    captured = checked(nn.Linear(4, 2), torch.randn(3, 4), dynamic_shapes=None)
    assert captured.dims["symbols"] == {}
    assert static(captured) == dict.fromkeys(["input:0", "input:1"], "not asked to be dynamic")


def test_explicit_dims_are_honoured_from_a_batch_of_one():
    module = models.Tagger()
    batch = Dim("batch", max=8)
    shapes = {"ids": {0: batch, 1: Dim.AUTO}}
    captured = checked(module, torch.zeros(1, 6, dtype=torch.long), dynamic_shapes=shapes)
    entries = list(captured.dims["symbols"].values())
    assert [e["where"] for e in entries] == [["ids:0"], ["ids:1"]]
    assert [e["max"] for e in entries] == [8, None]
    compare(captured, module, [((torch.zeros(2, 3, dtype=torch.long),), {})])


def test_explicit_dims_of_nested_inputs():
    n = Dim("n")
    module = models.Structured()
    batch = models.Inputs(torch.randn(2, 4))
    pair = models.Pair(torch.randn(2, 4), torch.randn(2, 4))
    shapes = {
        "batch": {"ids": {0: n}},
        "extra": {"shift": (n, None)},
        "pair": {"left": {0: n}, "right": {0: n}},
    }
    captured = checked(module, batch, {"shift": torch.randn(2, 4)}, pair, dynamic_shapes=shapes)
    assert where(captured) == [["batch.ids:0", "extra.shift:0", "pair.left:0", "pair.right:0"]]


@pytest.mark.parametrize(
    "module, shapes, message",
    [
        (models.SizeBranch(), {"x": {0: Dim("b")}}, "sizes that the code ties"),
        (models.SizeBranch(), {"y": {0: Dim("b")}}, "'y', which is no argument"),
        (models.SizeBranch(), {"x": {5: Dim("b")}}, "axis 5 of x"),
        (models.SizeBranch(), "all", "not known"),
    ],
)
def test_explicit_dims_that_cannot_be_are_refused(module, shapes, message):
    with pytest.raises(CaptureError, match=message):
        capture_module(module, (torch.randn(2, 3),), dynamic_shapes=shapes)


def test_a_batch_that_the_model_refuses_is_refused():
    class One(nn.Module):
        def forward(self, x):
            return x.reshape(3)

    with pytest.raises(CaptureError, match="refuses other sizes than 1"):
        capture_module(One(), (torch.randn(1, 3),), dynamic_shapes={"x": {0: Dim("b")}})
    assert set(static(checked(One(), torch.randn(1, 3)))) == {"x:0", "x:1"}


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}])
def test_recurrences_keep_length_and_batch(kind, options):
    module = models.Tagger(kind, **options)
    captured = checked(module, torch.zeros(1, 6, dtype=torch.long))
    assert where(captured) == [["ids:0"], ["ids:1"]]
    targets = {str(n.target) for n in captured.program.graph.nodes}
    assert any(t.startswith("p2m.") for t in targets)
    compare(captured, module, [((torch.randint(0, 20, (3, 9)),), {})])
    compare(captured, module, [((torch.randint(0, 20, (1, 1)),), {})])


def test_projected_lstm_and_relu_rnn():
    checked(nn.LSTM(4, 6, proj_size=2), torch.randn(5, 2, 4))
    captured = checked(nn.RNN(4, 6, nonlinearity="relu"), torch.randn(5, 2, 4))
    assert where(captured) == [["input:0"], ["input:1"]]
    checked(nn.GRU(4, 6), torch.randn(5, 4))


class Halved(torch.nn.Module):
    """Halves twice, enlarges again: the example's 4 becomes 1, which torch takes for a constant."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small = torch.nn.functional.max_pool2d(torch.nn.functional.max_pool2d(x, 2), 2)
        return torch.cat([x, torch.nn.functional.interpolate(small, scale_factor=4)], 1)


def test_a_computed_size_of_1_fixes_no_dim() -> None:
    module, x = Halved().eval(), torch.randn(2, 3, 4, 4)
    captured = capture_module(module, (x,))
    found = {where: s for s in captured.dims["symbols"].values() for where in s["where"]}
    assert found["x:2"]["size"] == 4
    assert found["x:2"]["multiple_of"] == 4
    converted = p2m.convert(module, (x,))
    for height, width in ((4, 4), (8, 12)):
        x = torch.randn(2, 3, height, width)
        assert_same(converted(x), run_torch(module, x))


class Listed(nn.Module):
    """Positions are a Python list, which fixes the length; the mask must be as long."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        positions = torch.tensor(list(range(x.shape[1])))
        return (x + positions - 9 * (1 - mask)).cumsum(1)


def test_dims_that_are_fixed_together_cost_no_other() -> None:
    captured = capture_module(Listed(), (torch.randn(3, 12), torch.ones(3, 12)))
    assert [s["where"] for s in captured.dims["static"]] == ["x:1", "mask:1"]
    assert [s["where"] for s in captured.dims["symbols"].values()] == [["x:0", "mask:0"]]
