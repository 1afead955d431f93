"""Branches of an ``if``: their modules are modules, their weights layers in MLX's layout."""

from __future__ import annotations

import numpy as np
import pytest

import pytorch_to_mlx as p2m

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from tests.onnx_frontend.other_files import build, floats, info, node  # noqa: E402


def switch() -> onnx.ModelProto:
    """Two heads of one kind, of which the data chooses one."""
    weights = {"stem.weight": floats(4, 3, 3), "half": np.array(0.5, np.float32)}
    branches = {}
    for name, head, channels, size in (("then", "near", 5, 2), ("else", "far", 6, 3)):
        weights[f"{head}.first.weight"] = floats(channels, 4, size)
        weights[f"{head}.second.weight"] = floats(2, channels, 1)
        nodes = [
            node("Conv", ["r", f"{head}.first.weight"], [f"{head}_a"]),
            node("Relu", [f"{head}_a"], [f"{head}_b"]),
            node("Conv", [f"{head}_b", f"{head}.second.weight"], [f"{head}_c"]),
            node("ReduceMean", [f"{head}_c"], [f"{head}_d"], axes=[2], keepdims=0),
        ]
        out = [info(f"{head}_d", ["N", 2])]
        branches[f"{name}_branch"] = onnx.helper.make_graph(nodes, name, [], out)
    nodes = [
        node("Conv", ["x", "stem.weight"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("ReduceMean", ["r"], ["m"], keepdims=0),
        node("Greater", ["m", "half"], ["loud"]),
        node("If", ["loud"], ["y"], **branches),
    ]
    return build(nodes, [info("x", ["N", 3, "L"])], [info("y", ["N", 2])], weights, 17)


def test_modules_in_branches() -> None:
    converted = p2m.convert(switch())
    proof = p2m.validate(converted)
    assert proof.passed, proof.summary()
    body = converted.code.split("def __call__")[-1]
    assert "transpose" in body.split("if ")[0]  # once, at the input
    assert "transpose" not in body.split("if ")[1].split("def load")[0]
    assert "= self.near(" in body or "return self.near(" in body
    assert "self.far(" in body
    assert "nn.Conv1d(" in converted.code
