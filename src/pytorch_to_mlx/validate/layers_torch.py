"""Outputs of a torch model's modules: nodes of the captured program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pytorch_to_mlx.validate.inputs import Inputs
from pytorch_to_mlx.validate.values import node_values

if TYPE_CHECKING:
    import torch.fx as fx


def module_values(
    captured: Any, inputs: Inputs, add: Callable[[Sequence[str], np.ndarray | None], None]
) -> None:
    """Runs the program and tells ``add`` every value in order, with the modules that it is the
    output of (``None`` for what is no floating-point tensor).

    Raises:
        RuntimeError and what else torch's ops raise.
    """
    ends: dict[fx.Node, list[str]] = {}
    for path, node in module_outputs(captured).items():
        ends.setdefault(node, []).append(path)

    def keep(node: fx.Node, value: Any) -> bool:
        add(ends.get(node, ()), _floats(value))
        return False

    node_values(captured, inputs, keep)


def _floats(value: Any) -> np.ndarray | None:
    if not hasattr(value, "detach") or not value.is_floating_point():
        return None
    array: np.ndarray = value.detach().float().cpu().numpy()
    return array


def module_outputs(captured: Any) -> dict[str, fx.Node]:
    """The last node of every module's first call that later code uses, in order of execution."""
    found: dict[str, fx.Node] = {}
    for node in captured.program.graph.nodes:
        if node.op != "call_function":
            continue
        for path in module_paths(captured, node):
            outside = any(path not in module_paths(captured, user) for user in node.users)
            if outside and _is_tensor(node):
                found.pop(path, None)
                found[path] = node
    return found


def module_paths(captured: Any, node: fx.Node) -> list[str]:
    """Paths of the modules (first calls only) that a node is in, outermost first."""
    paths = []
    for key, (path, _) in (node.meta.get("nn_module_stack") or {}).items():
        if path and "@" not in key and not path.startswith("_empty_nn_module_stack"):
            paths.append(captured.module_path(path))
    return paths


def _is_tensor(node: fx.Node) -> bool:
    import torch

    return isinstance(node.meta.get("val"), torch.Tensor)
