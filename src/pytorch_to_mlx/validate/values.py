"""The captured program run in torch, with the value of every node kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.validate.inputs import Inputs

if TYPE_CHECKING:
    import torch
    import torch.fx as fx

    from pytorch_to_mlx.capture.program import Captured


def node_values(
    captured: Captured, inputs: Inputs, keep: Callable[[fx.Node, Any], bool] = lambda n, v: True
) -> dict[fx.Node, Any]:
    """Every kept node's value on one call of the program from the model's own state. ``keep`` sees
    all of them in order.

    Raises:
        RuntimeError and what else torch's ops raise at inputs that the program does not take.
    """
    import torch
    import torch.fx as fx

    program = captured.program
    kept: dict[fx.Node, Any] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if keep(n, value):
                kept[n] = _snapshot(value)
            return value

    state = torch.random.get_rng_state()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            Recorder(program.graph_module).run(*arguments(captured, inputs))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.random.set_rng_state(state)
    return kept


def _snapshot(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, (tuple, list)):
        return type(value)(_snapshot(v) for v in value)
    return value


def arguments(captured: Captured, inputs: Inputs) -> list[Any]:
    """The program's placeholders: weights as they are now, state cloned, inputs by name."""
    from torch.export.graph_signature import InputKind

    program = captured.program
    nodes = [n for n in program.graph.nodes if n.op == "placeholder"]
    values: list[Any] = []
    user = 0
    for node, spec in zip(nodes, program.graph_signature.input_specs, strict=True):
        if spec.kind == InputKind.USER_INPUT:
            values.append(_input(captured.input_names[user], node, spec, inputs))
            user += 1
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
            tensor = captured.tensors[captured.canonical(str(spec.target))].detach()
            values.append(tensor if spec.kind == InputKind.PARAMETER else tensor.clone())
        else:
            values.append(program.constants.get(str(spec.target)))
    return values


def _input(name: str, node: fx.Node, spec: Any, inputs: Inputs) -> Any:
    import numpy as np
    import torch

    if name not in inputs:
        return getattr(spec.arg, "value", None)
    value = inputs[name]
    if not isinstance(value, np.ndarray):
        return value
    return as_tensor(value, getattr(node.meta.get("val"), "dtype", torch.float32))


def as_tensor(value: Any, dtype: torch.dtype) -> torch.Tensor:
    import numpy as np
    import torch

    return torch.from_numpy(np.array(value, order="C")).to(dtype)
