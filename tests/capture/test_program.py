"""Exported programs, live and from a file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

from pytorch_to_mlx.capture.export import capture_program
from tests.capture import models


def export(module, args, kwargs=None, **options):
    return torch.export.export(module.eval(), args, kwargs, strict=False, **options)


@pytest.mark.parametrize("stored", [False, True])
def test_names_dims_and_reference(tmp_path, stored):
    n = Dim("n", max=9)
    x = torch.randn(2, 4)
    shapes = {"x": {0: n}, "other": {0: n}}
    module = models.Shared()
    program = export(module, (x,), {"other": x}, dynamic_shapes=shapes)
    if stored:
        torch.export.save(program, tmp_path / "m.pt2")
        program = torch.export.load(tmp_path / "m.pt2")
    captured = capture_program(program)
    assert captured.name == "Shared"
    assert captured.input_names == ["x", "other"]
    assert captured.in_tree.keys == ("x", "other")
    (entry,) = captured.dims["symbols"].values()
    assert entry["where"] == ["x:0", "other:0"]
    assert (entry["min"], entry["max"], entry["size"]) == (1, 9, 2)
    assert captured.classes["items.0"] == "Scaled"
    assert list(captured.example_inputs) == ["x", "other"]
    value = np.ones((3, 4), np.float32)
    (got,) = captured.reference()({"x": value, "other": value})
    with torch.no_grad():
        want = module(torch.ones(3, 4), torch.ones(3, 4))
    np.testing.assert_allclose(got.array, want.numpy(), rtol=1e-5)


def test_preserved_signatures_and_nesting():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, pair, options):
            return {"y": self.inner(pair[0]) + pair[1] * options["gain"]}

    args = ((torch.randn(2, 4), torch.randn(2, 4)), {"gain": torch.randn(4), "none": None})
    program = export(Outer(), args, preserve_module_call_signature=("inner",))
    captured = capture_program(program)
    assert captured.input_names == ["pair.0", "pair.1", "options.gain", "options.none"]
    assert [c.kind for c in captured.in_tree.children] == ["tuple", "dict"]
    assert captured.output_names == ["y"]
    assert any(e.signature is not None for e in program.module_call_graph if e.fqn)


def test_without_example_inputs():
    program = export(nn.Linear(4, 2), (torch.randn(3, 4),))
    program._example_inputs = None
    captured = capture_program(program)
    assert captured.example_inputs["input"].shape == (3, 4)
    assert any("no example inputs" in w for w in captured.warnings)


def test_dropout_of_a_training_export_is_off():
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9))
    program = torch.export.export(module.train(), (torch.randn(3, 4),), strict=False)
    captured = capture_program(program)
    assert any("dropout is switched off" in w for w in captured.warnings)
    first, second = captured.reference()(), captured.reference()()
    np.testing.assert_array_equal(first[0].array, second[0].array)
    assert not any("dropout" in str(n.target) for n in captured.program.graph.nodes)


def test_state_of_a_program():
    program = export(models.Counter(), (torch.ones(2, 3),))
    captured = capture_program(program)
    for _ in range(2):
        one, two = captured.reference().sequence([{}, {}])
        np.testing.assert_array_equal(one[0].array, np.full((2, 3), 3.0))
        np.testing.assert_array_equal(two[0].array, np.full((2, 3), 5.0))
