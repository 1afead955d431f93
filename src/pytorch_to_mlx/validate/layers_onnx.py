"""Outputs of the modules that an ONNX graph's node names (or metadata) tell of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pytorch_to_mlx.capture.onnx.reference import stored_form
from pytorch_to_mlx.capture.onnx.values import graph_values, taken
from pytorch_to_mlx.graph import Graph
from pytorch_to_mlx.lower.onnx._names import scope_of
from pytorch_to_mlx.validate.inputs import Inputs


def module_values(
    captured: Any, inputs: Inputs, add: Callable[[Sequence[str], np.ndarray | None], None]
) -> None:
    """Runs the model and tells ``add`` every value, in order, that leaves a module, with the
    modules that it leaves (``None`` for what is no floating-point array).

    Raises:
        CaptureError: the model is too large, or cannot be run.
    """
    ends = module_outputs(captured)
    values = graph_values(captured.reference(), list(ends), inputs)[1]
    for name, paths in ends.items():
        value = values.get(name)
        add(paths, _floats(value) if isinstance(value, np.ndarray) else None)


def _floats(value: np.ndarray) -> np.ndarray | None:
    array = stored_form(value)[0]
    return array.astype(np.float32) if array.dtype.kind == "f" else None


def module_classes(captured: Any) -> dict[str, str]:
    """Class names by module path, as lowering has them."""
    scratch = Graph(name=captured.name)
    for node in captured.program.model.graph.node:
        scope_of(node, captured, scratch)
    return dict(scratch.classes)


def module_outputs(captured: Any) -> dict[str, list[str]]:
    """The modules that each value leaves, innermost first, in order of execution. The exporter
    does not tell calls of a module apart, so it may leave by several values."""
    model = captured.program.model.graph
    scratch = Graph(name=captured.name)
    paths = [[f.path for f in scope_of(n, captured, scratch)[1:]] for n in model.node]
    users: dict[str, list[list[str]]] = {o.name: [[]] for o in model.output}
    for node, around in zip(model.node, paths, strict=True):
        for name in taken(node):
            users.setdefault(name, []).append(around)
    found: dict[str, list[str]] = {}
    for node, around in zip(model.node, paths, strict=True):
        for name in (o for o in node.output if o in users):
            left = [p for p in around if any(p not in user for user in users[name])]
            if left:
                found[name] = left[::-1]
    return found
