"""A torch program beside its unfused graph; keys are the program's nodes."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from pytorch_to_mlx.capture.reference import to_output
from pytorch_to_mlx.graph import Builder, Value
from pytorch_to_mlx.graph.ir import RETURN
from pytorch_to_mlx.lower.aten._program import _Lowering, op_name
from pytorch_to_mlx.package import arrays
from pytorch_to_mlx.validate.compare import STORED, Array
from pytorch_to_mlx.validate.lowered import Lowered
from pytorch_to_mlx.validate.repro_torch import TorchSide

if TYPE_CHECKING:
    import torch.fx as fx

    from pytorch_to_mlx.capture.program import Captured

CHOICES = frozenset("argmax argmin argsort sort topk max min kthvalue median mode".split())


class _Recording(_Lowering):
    """A lowering that remembers what every source node became."""

    def __init__(self, captured: Captured) -> None:
        super().__init__(captured)
        self.env: dict[fx.Node, Any] | None = None

    def lower_nodes(self, module: Any, env: dict[fx.Node, Any], builder: Builder) -> None:
        if self.env is None:
            self.env = env
        super().lower_nodes(module, env, builder)


class TorchLowered(Lowered):
    """``values`` are those of the program's nodes on one call."""

    def __init__(self, captured: Captured, values: dict[fx.Node, Any]) -> None:
        self.captured = captured
        lowering = _Recording(captured)
        self.graph = lowering.run()
        assert lowering.env is not None
        self.env = lowering.env
        self.actual = values
        by_name: dict[str, list[Any]] = {}
        for node in self.graph.nodes:
            if node.target != RETURN:
                by_name.setdefault(node.origin.name, []).append(node)
        self.groups = {n: by_name[n.name] for n in self.env if n.name in by_name}
        self.bind()
        # The source node that is a value as a tensor, and that which holds a weight by its path.
        self.tensor_node: dict[Value, fx.Node] = {}
        for fx_node, became in self.env.items():
            if isinstance(became, Value) and hasattr(values.get(fx_node), "detach"):
                self.tensor_node.setdefault(became, fx_node)
        self.weight_node = _weight_nodes(captured)
        self._bind_numbers()

    def _bind_numbers(self) -> None:
        """Sizes that source nodes compute (``sym_size``, items of data)."""
        for fx_node, became in self.env.items():
            actual = self.actual.get(fx_node)
            if isinstance(became, sympy.Symbol) and isinstance(actual, (bool, int, float)):
                self.sizes.setdefault(became, actual)  # type: ignore[arg-type]

    def is_array(self, actual: Any) -> bool:
        return hasattr(actual, "detach")

    def array(self, actual: Any) -> Array:
        out = to_output("", actual)
        return Array(out.array, STORED.get(out.dtype, out.dtype))

    def to_mlx(self, actual: Any) -> Any:
        return arrays.from_torch(actual) if hasattr(actual, "detach") else actual

    def weight(self, path: str, originals: Mapping[str, Any]) -> Any:
        path = self.captured.canonical(path)
        tensor = originals.get(path, self.captured.tensors.get(path))
        return None if tensor is None else arrays.from_torch(tensor)

    def source_values(self) -> Iterator[fx.Node]:
        for node in self.captured.program.graph.nodes:
            if node.op == "call_function" and node in self.env:
                yield node

    def results(self) -> list[tuple[str, Any]]:
        from torch.export.graph_signature import OutputKind

        program = self.captured.program
        out = next(n for n in program.graph.nodes if n.op == "output")
        specs = list(zip(program.graph_signature.output_specs, out.args[0], strict=True))
        users = [("the outputs", a) for s, a in specs if s.kind == OutputKind.USER_OUTPUT]
        states: dict[str, Any] = {}
        for s, a in specs:
            if s.kind == OutputKind.BUFFER_MUTATION:
                states[self.captured.canonical(str(s.target))] = a
        return [*users, *((f"the new values of {path}", a) for path, a in states.items())]

    def is_used(self, key: fx.Node, value: Value) -> bool:
        """Single results do matter, those of a tuple if they are picked."""
        if isinstance(self.env[key], Value):
            return bool(key.users)
        return any(self.env.get(user) is value and user.users for user in key.users)

    def is_random(self, key: fx.Node) -> bool:
        """Dropout that is off is not."""
        import torch
        from torch.utils._pytree import tree_leaves

        target: Any = key.target
        if "empty" in str(target):
            return True
        if torch.Tag.nondeterministic_seeded not in getattr(target, "tags", ()):
            return False
        args, kwargs = torch.fx.node.map_arg((key.args, key.kwargs), lambda n: self.actual[n])
        with torch.no_grad():
            again = tree_leaves(target(*args, **kwargs))
        first = tree_leaves(self.actual[key])
        tensors = [(a, b) for a, b in zip(first, again, strict=True) if isinstance(a, torch.Tensor)]
        return not all(torch.allclose(a, b, equal_nan=True) for a, b in tensors)

    def place(self, key: fx.Node) -> dict[str, Any]:
        from pytorch_to_mlx.validate.layers_torch import module_paths

        if key.target is operator.getitem:  # one result of several: the op is what makes them
            return self.place(key.args[0])
        file, line, _ = self.captured.source_line(key.meta.get("stack_trace"))
        paths = module_paths(self.captured, key)
        origin = f"{file}:{line}" if file else key.name
        return {"op": op_name(key.target), "module": paths[-1] if paths else "", "origin": origin}

    def choices(self) -> Iterator[tuple[fx.Node, np.ndarray, int | None]]:
        for node in self.source_values():
            packet = str(node.target).partition("aten.")[2].partition(".")[0]
            if packet not in CHOICES or not node.all_input_nodes:
                continue
            x: Any = self.actual.get(node.all_input_nodes[0])
            if not hasattr(x, "detach") or not x.is_floating_point():
                continue
            by_argument = packet in ("argmax", "argmin", "max", "min") and len(node.args) > 1
            axis = node.args[1] if by_argument else -1
            yield node, x.double().numpy(), axis if isinstance(axis, int) else None

    def script(self) -> TorchSide:
        return TorchSide(self)


def _weight_nodes(captured: Captured) -> dict[str, fx.Node]:
    program = captured.program
    nodes = [n for n in program.graph.nodes if n.op == "placeholder"]
    specs = zip(nodes, program.graph_signature.input_specs, strict=True)
    return {captured.canonical(str(s.target)): n for n, s in specs if s.target is not None}
