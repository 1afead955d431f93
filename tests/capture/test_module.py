"""Names, structure and constants of captured modules; the module itself stays as it was."""

from __future__ import annotations

import copy
import types
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytorch_to_mlx.capture.export import capture_module, redecompose
from pytorch_to_mlx.capture.normalise import replace_program
from pytorch_to_mlx.errors import CaptureError, InputError
from tests.capture import models
from tests.capture.helpers import checked, compare, static, where


def test_training_mode_is_switched_off_told_and_restored():
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4))
    module[2].eval()
    captured = checked(module, torch.randn(3, 4))
    assert any("training mode" in w for w in captured.warnings)
    assert module.training
    assert module[1].training
    assert not module[2].training
    assert not any("training" in w for w in checked(module.eval(), torch.randn(3, 4)).warnings)


def test_constants_are_named_by_attribute_or_variable():
    captured = checked(models.Scaled(), torch.randn(2, 4))
    names = {"linear.weight", "linear.bias", "scale", "tables.0", "shift"}
    assert set(captured.tensors) == names
    assert not captured.aliases


def test_shared_modules_and_calls():
    captured = checked(models.Shared(), torch.randn(2, 4), torch.randn(2, 4))
    assert captured.module_aliases == {"again": "first", "again.linear": "first.linear"}
    assert captured.aliases["again.linear.weight"] == "first.linear.weight"
    assert captured.canonical("again.linear.bias") == "first.linear.bias"
    assert {c for p, c in captured.bound if p == "first"} == {0, 1, 2}
    names = {n.name for n in captured.program.graph.nodes}
    assert {n for v in captured.bound.values() for _, n in v if n} <= names
    first, second = captured.bound["first", 0], captured.bound["first", 1]
    assert first == [("x", "x"), ("factor", None), ("mask", "other")]
    assert [n for n, _ in second] == ["x", "factor"]
    assert second[1][1] == "other"
    stacks = {
        key for n in captured.program.graph.nodes for key in n.meta.get("nn_module_stack") or {}
    }
    assert {"first", "first@1", "first@2", "items.0"} <= stacks
    assert captured.signatures["first"] == ["x", "factor", "mask"]
    assert captured.classes["items.0"] == "Scaled"
    shifts = [t for t in captured.tensors if "shift" in t]
    assert len(shifts) == 2  # one a module, not one a call


def test_bound_names_survive_another_decomposition():
    captured = checked(
        nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2)), torch.randn(2, 4)
    )
    before = dict(captured.bound)
    redecompose(captured, torch.export.default_decompositions())
    names = {n.name for n in captured.program.graph.nodes}
    assert captured.bound.keys() == before.keys()
    assert all(n in names for v in captured.bound.values() for _, n in v)
    assert replace_program(captured, captured.program).bound == captured.bound


def test_bound_follows_ops_that_vanish():
    class Contiguous(nn.Module):
        def forward(self, x):
            return x.contiguous()

    module = nn.Sequential(nn.Linear(4, 4), Contiguous(), nn.Linear(4, 2)).eval()
    captured = checked(module, torch.randn(2, 4))
    assert captured.bound["2", 0] == [("input", "linear")]


def test_tied_weights_are_one_tensor():
    captured = checked(models.Tied(), torch.tensor([[1, 2, 3]]))
    assert captured.aliases == {"head.weight": "embed.weight"}
    assert list(captured.tensors) == ["embed.weight"]


def test_tensors_are_the_modules_own_memory():
    module = models.Scaled().eval()
    captured = checked(module, torch.randn(2, 4))
    before = captured.reference()()[0].array
    with torch.no_grad():
        captured.tensors["linear.bias"].add_(1)
        captured.tensors["scale"].add_(1)
    np.testing.assert_allclose(captured.reference()()[0].array, before + 2, rtol=1e-5)


def test_structured_inputs_and_outputs():
    module = models.Structured()
    batch = models.Inputs(torch.randn(2, 4))
    pair = models.Pair(torch.randn(2, 4), torch.randn(2, 4))
    extra = {"shift": torch.randn(2, 4), "unused": None}
    bias = torch.randn(4)
    captured = checked(module, batch, extra, pair, torch.randn(2, 4), 2.0, bias=bias, gain=2.0)
    assert captured.input_names == [
        "batch.ids", "extra.shift", "extra.unused", "pair.left", "pair.right", "rest.0", "rest.1",
        "gain", "bias",
    ]  # fmt: skip
    tree = captured.in_tree
    assert tree.keys == ("batch", "extra", "pair", "rest", "gain", "bias")
    kinds = [c.kind for c in tree.children]
    assert kinds == ["dict", "dict", "dict", "tuple", "const", "leaf"]
    assert tree.children[1].children[1].kind == "none"
    assert tree.children[4].value == 2.0
    assert [leaf.index for leaf in tree.leaves()] == [0, 1, 2, 3, 4, 5]
    assert captured.out_tree.keys == ("logits", "hidden")
    assert captured.output_names == ["logits", "hidden.0", "hidden.1"]
    assert list(captured.example_inputs) == [
        "batch.ids", "extra.shift", "pair.left", "pair.right", "rest.0", "bias",
    ]  # fmt: skip


def test_keyword_order_follows_the_signature():
    class Keywords(nn.Module):
        def forward(self, a, b, *, c, **more):
            return a - b * c + more["d"]

    x = [torch.randn(2, 3) for _ in range(4)]
    captured = checked(Keywords(), c=x[0], d=x[1], b=x[2], a=x[3])
    assert captured.input_names == ["a", "b", "c", "d"]


def test_caches_are_dropped():
    captured = checked(models.Caching(), torch.randn(2, 3))
    assert [c.kind for c in captured.out_tree.children] == ["leaf", "none"]
    assert captured.input_names == ["x", "use_cache"]
    assert any("use_cache=False" in w for w in captured.warnings)
    kept = checked(models.Caching(), torch.randn(2, 3), True)
    assert any("cache (Cache)" in w for w in kept.warnings)
    assert kept.output_names == ["y"]


def test_both_weight_norms_and_spectral_norm():
    captured = checked(models.WeightNorms(), torch.randn(2, 4))
    assert "old.weight_g" in captured.tensors
    assert "new.parametrizations.weight.original0" in captured.tensors


def test_wrappers_are_flat():
    captured = checked(models.Wrapped(), torch.randn(2, 4))
    targets = {str(n.target) for n in captured.program.graph.nodes if n.op == "call_function"}
    assert not any("wrap_with" in t for t in targets)


def test_padded_transformer_encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    module = nn.TransformerEncoder(layer, 2).eval()
    mask = torch.tensor([[False, False, False], [False, False, True]])
    captured = checked(module, torch.randn(2, 3, 8), src_key_padding_mask=mask)
    assert ["src:0", "src_key_padding_mask:0"] in where(captured)
    assert ["src:1", "src_key_padding_mask:1"] in where(captured)
    assert any("fast path of nn.TransformerEncoder" in w for w in captured.warnings)
    captured = checked(module, torch.randn(2, 3, 8), src_key_padding_mask=torch.zeros_like(mask))
    assert not captured.warnings


def test_in_place_inputs_are_reported_and_kept():
    class Relu(nn.Module):
        def forward(self, x):
            return x.relu_() + 1

    x = torch.randn(2, 3)
    before = x.clone()
    captured = checked(Relu(), x)
    assert torch.equal(x, before)
    assert any("changes its input" in w for w in captured.warnings)


def test_reference_precision_and_bad_names():
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval()
    captured = checked(module, torch.randn(2, 4))
    low = captured.reference("bfloat16")({"input": np.ones((3, 4), np.float32)})[0]
    high = captured.reference()({"input": np.ones((3, 4), np.float32)})[0]
    assert (low.dtype, low.array.dtype, high.dtype) == ("bfloat16", np.float32, "float32")
    assert 0 < np.abs(low.array - high.array).max() < 0.05
    assert module[0].weight.dtype is torch.float32
    assert module[1].running_mean.dtype is torch.float32
    with pytest.raises(InputError, match="no input is called"):
        captured.reference()({"y": np.ones(3)})


def test_scalar_and_none_outputs():
    class Mixed(nn.Module):
        def forward(self, x):
            return {"y": x, "n": 3, "nothing": None, "rows": x.shape[0]}

    captured = checked(Mixed(), torch.randn(2, 3))
    assert [c.kind for c in captured.out_tree.children] == ["leaf", "const", "none", "leaf"]


def test_inputs_that_do_not_fit():
    with pytest.raises(InputError, match="do not fit Tied"):
        capture_module(models.Tied(), (torch.zeros(1), torch.zeros(1)))
    with pytest.raises(CaptureError, match="model itself fails") as caught:
        capture_module(models.Tied(), (torch.zeros(2, 2),))
    assert "models.py" in caught.value.origin
    assert caught.value.__cause__ is not None


def test_size_one_and_others_after_capture():
    module = models.Tied()
    captured = checked(module, torch.tensor([[1]]))
    assert where(captured) == [["ids:0"], ["ids:1"]]
    assert static(captured) == {}
    for shape in ((1, 1), (4, 9)):
        compare(captured, module, [((torch.randint(0, 10, shape),), {})])


@pytest.mark.parametrize(
    "module, op",
    [(models.Conditional(), "cond"), (models.While(), "while_loop")],
)
def test_control_flow_stays(module, op):
    captured = checked(module, torch.randn(2, 4))
    assert op in {str(n.target) for n in captured.program.graph.nodes}
    assert not any("strict" in w for w in captured.warnings)


@pytest.mark.parametrize(
    "module", [models.Vmapped(), models.Checkpointed(), models.CustomGradient()]
)
def test_wrappers_leave_only_aten(module):
    captured = checked(module, torch.randn(3, 4))
    targets = [n.target for n in captured.program.graph.nodes if n.op == "call_function"]
    assert all(str(t).startswith("aten.") for t in targets)
    assert ["x:0"] in where(captured)


def test_another_method_as_forward():
    module = models.Tied()
    other = copy.copy(module)

    def encode(self, tokens):
        return self.embed(tokens) * 2

    other.forward = types.MethodType(encode, other)
    captured = checked(other, torch.tensor([[1, 2, 3]]))
    assert captured.input_names == ["tokens"]
    assert captured.signatures[""] == ["tokens"]
    assert "embed.weight" in captured.tensors


class Loose(nn.Module):
    """Takes keywords that its signature does not name, and casts a layer to what it is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        self.layer = self.layer.to(torch.float32)
        y = self.layer(x) * kwargs["scale"]
        return y + 1 if kwargs.get("shifted") else y


def test_unnamed_keywords_and_idle_casts():
    captured = checked(Loose().eval(), torch.randn(3, 4), scale=torch.randn(3, 1), shifted=True)
    assert where(captured) == [["x:0", "scale:0"]]
    assert not captured.warnings
