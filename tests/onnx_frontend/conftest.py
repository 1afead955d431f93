"""Small ONNX models, built node by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
helper = onnx.helper

TYPES = {"f": 1, "i": 7, "b": 9, "d": 11}


def build(
    nodes: Sequence[Any],
    inputs: Mapping[str, tuple[str, Sequence[Any]]],
    outputs: Mapping[str, tuple[str, Sequence[Any] | None]],
    weights: Mapping[str, np.ndarray] | None = None,
    opset: int = 21,
    **options: Any,
) -> Any:
    """A checked model; types are ``f`` float, ``i`` int64, ``b`` bool, ``d`` double."""
    graph = helper.make_graph(
        list(nodes),
        options.pop("name", "g"),
        [helper.make_tensor_value_info(n, TYPES[t], s) for n, (t, s) in inputs.items()],
        [helper.make_tensor_value_info(n, TYPES[t], s) for n, (t, s) in outputs.items()],
        [onnx.numpy_helper.from_array(a, n) for n, a in (weights or {}).items()],
    )
    opsets = [helper.make_operatorsetid("", opset), *options.pop("opsets", ())]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, **options)


@pytest.fixture
def model() -> Callable[..., Any]:
    return build
