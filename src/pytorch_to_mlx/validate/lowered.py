"""The unfused graph of a captured program, with what each source node became and is in torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import sympy

from pytorch_to_mlx.capture.reference import to_output
from pytorch_to_mlx.graph import Builder, Graph, Node, Value
from pytorch_to_mlx.graph.ir import RETURN
from pytorch_to_mlx.lower.aten._program import _Lowering
from pytorch_to_mlx.package import arrays
from pytorch_to_mlx.validate.code import sizes_of
from pytorch_to_mlx.validate.compare import STORED, Array

if TYPE_CHECKING:
    import torch.fx as fx

    from pytorch_to_mlx.capture.program import Captured


class _Recording(_Lowering):
    """A lowering that remembers what every source node became."""

    def __init__(self, captured: Captured) -> None:
        super().__init__(captured)
        self.env: dict[fx.Node, Any] | None = None

    def lower_nodes(self, module: Any, env: dict[fx.Node, Any], builder: Builder) -> None:
        if self.env is None:
            self.env = env
        super().lower_nodes(module, env, builder)


class Lowered:
    """``env`` maps source nodes to values (or tuples of them, or sizes); ``torch`` to their
    values on one call; ``groups`` to the nodes that each became, by name; ``given`` maps graph
    values to torch tensors.
    """

    def __init__(self, captured: Captured, values: dict[fx.Node, Any]) -> None:
        self.captured = captured
        lowering = _Recording(captured)
        self.graph: Graph = lowering.run()
        assert lowering.env is not None
        self.env = lowering.env
        self.torch = values
        self.groups: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            if node.target != RETURN:
                self.groups.setdefault(node.origin.name, []).append(node)
        self.given: dict[Value, Any] = {}
        self.source: dict[Value, fx.Node] = {}
        for fx_node, became in self.env.items():
            for value, actual in pairs(became, values.get(fx_node)):
                if value not in self.given:
                    self.given[value] = actual
                    self.source[value] = fx_node
        # The source node that is a value as a tensor, and that which holds a weight by its path.
        self.tensor_node: dict[Value, fx.Node] = {}
        for fx_node, became in self.env.items():
            if isinstance(became, Value) and hasattr(values.get(fx_node), "detach"):
                self.tensor_node.setdefault(became, fx_node)
        self.weight_node = _weight_nodes(captured)
        self.sizes: dict[sympy.Symbol, int] = sizes_of(self.given.items())
        self._bind_numbers()

    def _bind_numbers(self) -> None:
        """Sizes that source nodes compute (``sym_size``, items of data)."""
        for fx_node, became in self.env.items():
            actual = self.torch.get(fx_node)
            if isinstance(became, sympy.Symbol) and isinstance(actual, (bool, int, float)):
                self.sizes.setdefault(became, actual)  # type: ignore[arg-type]

    def given_mlx(self, value: Value) -> Any:
        """What torch computed for a value, as MLX takes it."""
        actual = self.given[value]
        return arrays.from_torch(actual) if hasattr(actual, "detach") else actual

    def source_nodes(self) -> Iterator[fx.Node]:
        """The program's calls in order."""
        for node in self.captured.program.graph.nodes:
            if node.op == "call_function" and node in self.env:
                yield node

    def expected(self) -> list[Any]:
        """What torch gives for the arguments of the return node: outputs, then new state."""
        return [self.torch.get(a) if a in self.torch else None for _, a in self.results()]

    def results(self) -> list[tuple[str, Any]]:
        """Every result in words, and the source node that computes it (or a constant)."""
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


def _weight_nodes(captured: Captured) -> dict[str, fx.Node]:
    program = captured.program
    nodes = [n for n in program.graph.nodes if n.op == "placeholder"]
    specs = zip(nodes, program.graph_signature.input_specs, strict=True)
    return {captured.canonical(str(s.target)): n for n, s in specs if s.target is not None}


def pairs(became: Any, actual: Any) -> Iterator[tuple[Value, Any]]:
    """Values of the graph with what they are in torch."""
    if isinstance(became, Value):
        if actual is not None:
            yield became, actual
    elif isinstance(became, (tuple, list)) and isinstance(actual, (tuple, list)):
        for b, a in zip(became, actual, strict=False):  # unused results may be missing
            yield from pairs(b, a)


def torch_array(tensor: Any) -> Array:
    """A torch value as it is compared: in the dtype that MLX stores."""
    out = to_output("", tensor)
    return Array(out.array, STORED.get(out.dtype, out.dtype))
