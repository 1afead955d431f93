"""What only weights determine is stored; what an input's size takes part in is not."""

from __future__ import annotations

from typing import Any

import torch

from pytorch_to_mlx.graph import call, symbol
from pytorch_to_mlx.graph.dims import FloorDiv
from pytorch_to_mlx.passes import fold_weights
from tests.passes.helpers import build, check, run_pass, targets


def test_a_transposed_weight_is_stored_transposed() -> None:
    weights = {"weight": torch.randn(3, 4)}
    graph = build(
        lambda x, weight: call("mx.matmul", x, call("mx.transpose", weight)),
        ("float32", (2, 4)),
        weights=weights,
    )
    run_pass(graph, fold_weights.run, tensors=weights)
    assert targets(graph) == ["mx.matmul"]
    recipe = graph.params["weight"].recipe
    assert recipe is not None
    assert targets(recipe) == ["mx.transpose"]


def test_a_shape_made_of_an_inputs_size_is_not_known_at_conversion_time() -> None:
    """Its result may be of one size all the same, where a guard of the trace holds the input's."""
    weights = {"weight": torch.randn(4, 6)}

    def forward(x: Any, weight: Any) -> Any:
        rows = FloorDiv(symbol("h"), 8)
        turned = call("mx.reshape", weight, (6, rows))
        turned.shape = (6, 4)
        return call("mx.matmul", x, turned)

    graph = build(forward, ("float32", ("h", 6)), weights=weights)
    check(graph, [fold_weights.run], [torch.randn(32, 6)], tensors=weights)
    assert targets(graph) == ["mx.reshape", "mx.matmul"]
