"""Calls that no source gives a module get one from weights and neighbours."""

from __future__ import annotations

from typing import Any

import torch

from pytorch_to_mlx.graph import Frame, Graph, call
from pytorch_to_mlx.passes import layers, scopes
from tests.passes.helpers import build, run_pass

NAMES = ("encoder.0.fc", "encoder.0.out", "encoder.1.fc")
WEIGHTS = {f"{n}.weight": torch.randn(4, 4) for n in NAMES}
SPEC = ("float32", ("B", 4))


def blocks(x: Any, **weights: Any) -> Any:
    first, out, last = (weights[f"{n}.weight"] for n in NAMES)
    y = call("ops.linear", call("nn.relu", call("ops.linear", x, first)), out)
    return call("mx.softmax", call("ops.linear", y + x, last), axis=-1)


def paths(graph: Graph) -> list[str]:
    return [n.scope[-1].path for n in graph.nodes[:-1]]


def test_weights_and_neighbours_tell() -> None:
    graph = build(blocks, SPEC, weights=WEIGHTS)
    run_pass(graph, layers.run, scopes.run, tensors=WEIGHTS)
    assert paths(graph) == [
        "encoder.0.fc",
        "encoder.0",  # the activation goes on with its layer
        "encoder.0.out",
        "encoder",  # a sum between two blocks
        "encoder.1.fc",
        "encoder.1",
    ]
    assert graph.nodes[0].scope[2] == Frame("encoder.0", "Block")


def test_the_sum_of_two_layers_of_a_module_is_its() -> None:
    weights = {f"cell.{n}.weight": torch.randn(4, 4) for n in ("hidden", "input")}

    def cell(x: Any, h: Any, **w: Any) -> Any:
        a = call("ops.linear", h, w["cell.hidden.weight"])
        return call("mx.tanh", a + call("ops.linear", x, w["cell.input.weight"]))

    graph = build(cell, SPEC, SPEC, weights=weights)
    run_pass(graph, layers.run, scopes.run, tensors=weights)
    assert paths(graph)[2:] == ["", ""]  # each layer lies in a module of its own name
    shared = {"cell.hidden": torch.randn(4, 4), "cell.input": torch.randn(4, 4)}

    def bare(x: Any, h: Any, **w: Any) -> Any:
        a = call("ops.linear", h, w["cell.hidden"])
        return call("mx.tanh", a + call("ops.linear", x, w["cell.input"]))

    graph = build(bare, SPEC, SPEC, weights=shared)
    run_pass(graph, layers.run, scopes.run, tensors=shared)
    assert paths(graph) == ["cell", "cell", "cell", ""]


def test_scopes_of_the_source_stay() -> None:
    graph = build(blocks, SPEC, weights=WEIGHTS)
    for node in graph.nodes:
        node.scope = (Frame("", "Net"), Frame("own", "Own"))
    report = run_pass(graph, layers.run, scopes.run, tensors=WEIGHTS)
    assert set(paths(graph)) == {"own"}
    assert "scopes" not in str(report.refusals)
