"""An ONNX graph beside its unfused graph of MLX calls; keys are names of its values.

Only the model's own graph is searched: what bodies of control flow compute belongs to their node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from pytorch_to_mlx.capture.onnx.reference import stored_form
from pytorch_to_mlx.capture.onnx.tensors import numpy_dtype, to_mlx
from pytorch_to_mlx.capture.onnx.values import graph_values, producers, taken
from pytorch_to_mlx.graph import Builder, Node, Value
from pytorch_to_mlx.lower.onnx._names import origin_of, scope_of
from pytorch_to_mlx.lower.onnx._program import Env, OnnxLowering
from pytorch_to_mlx.lower.onnx._values import Known
from pytorch_to_mlx.validate.compare import Array
from pytorch_to_mlx.validate.inputs import Inputs
from pytorch_to_mlx.validate.lowered import Lowered
from pytorch_to_mlx.validate.repro_onnx import OnnxSide

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.onnx.program import OnnxProgram
    from pytorch_to_mlx.capture.program import Captured

#: Ops that draw numbers; dropout does where a third input may turn it on.
RANDOM = frozenset(
    "RandomNormal RandomNormalLike RandomUniform RandomUniformLike Bernoulli Multinomial".split()
)
CHOICES = {"ArgMax": 0, "ArgMin": 0, "TopK": -1}  # with the axis where none is given


class _Recording(OnnxLowering):
    """A lowering that remembers what every value of the model's own graph became."""

    def __init__(self, captured: Captured) -> None:
        super().__init__(captured)
        self.top: Env | None = None
        self.groups: dict[str, list[Node]] = {}

    def nodes(self, proto: Any, env: Env, builder: Builder) -> None:
        if self.top is None:
            self.top = env
        super().nodes(proto, env, builder)

    def _node(self, n: Any, env: Env, builder: Builder, used: set[str]) -> Sequence[Any]:
        if env is not self.top:
            return super()._node(n, env, builder, used)
        before = len(builder.nodes)
        results = super()._node(n, env, builder, used)
        made = builder.nodes[before:]
        self.groups |= {name: made for name in n.output if name}
        return results


class OnnxLowered(Lowered):
    """At inputs by ``Captured.input_names``."""

    def __init__(self, captured: Captured, inputs: Inputs) -> None:
        self.captured = captured
        program: OnnxProgram = captured.program
        lowering = _Recording(captured)
        self.graph = lowering.run()
        assert lowering.top is not None
        self.env = dict(lowering.top)
        self.groups = lowering.groups
        self.makers = producers(program.model.graph)
        self.used = {o.name for o in program.model.graph.output}
        self.used |= {name for n in program.model.graph.node for name in taken(n)}
        names = [n for n in self.makers if n in self.used and _has_arrays(self.env.get(n))]
        reference: Any = captured.reference()
        self.model, self.actual = graph_values(reference, names, inputs)
        self.bind()

    def is_array(self, actual: Any) -> bool:
        return isinstance(actual, np.ndarray) and actual.dtype.kind not in "OSU"

    def array(self, actual: Any) -> Array:
        return Array(*stored_form(actual))

    def to_mlx(self, actual: Any) -> Any:
        values, dtype = stored_form(actual)
        return to_mlx(actual if dtype == "bfloat16" else values)

    def weight(self, path: str, originals: Mapping[str, Any]) -> Any:
        array = self.captured.program.tensors.get(self.captured.canonical(path))
        return None if array is None else to_mlx(array)

    def source_values(self) -> Iterator[str]:
        return (name for name in self.makers if name in self.actual and name in self.env)

    def results(self) -> list[tuple[str, Any]]:
        return [
            ("the outputs", n if n in self.actual else None) for n in self.captured.output_names
        ]

    def is_used(self, key: str, value: Value) -> bool:
        return key in self.used

    def is_random(self, key: str) -> bool:
        node = self.makers[key]
        return node.op_type in RANDOM or (node.op_type == "Dropout" and len(node.input) > 2)

    def place(self, key: str) -> dict[str, Any]:
        node = self.makers[key]
        origin = origin_of(node)
        module = scope_of(node, self.captured, self.graph)[-1].path
        return {"op": origin.op, "module": module, "origin": origin.name}

    def choices(self) -> Iterator[tuple[str, np.ndarray, int | None]]:
        for key in self.source_values():
            node = self.makers[key]
            x = self.actual.get(node.input[0]) if node.input else None
            if node.op_type in CHOICES and isinstance(x, np.ndarray):
                values = stored_form(x)[0]
                axes = [a.i for a in node.attribute if a.name == "axis"]
                if values.dtype.kind == "f":
                    yield key, values, int((axes or [CHOICES[node.op_type]])[0])

    def folded(self, key: str) -> Array | None:
        known = self.env[key]
        if not isinstance(known, Known) or known.element == "string":
            return None
        if not known.symbolic:
            return Array(*stored_form(known.array))
        numbers = [_number(v, self.sizes) for v in known.array.reshape(-1)]
        if any(n is None for n in numbers):
            return None
        array = np.array(numbers).astype(numpy_dtype(known.element))
        return Array(*stored_form(array.reshape(known.array.shape)))

    def script(self) -> OnnxSide:
        return OnnxSide(self)


def _has_arrays(became: Any) -> bool:
    """Whether a value is an array (or several), computed or known."""
    if isinstance(became, list):
        return all(_has_arrays(b) for b in became)
    if isinstance(became, Known):
        return became.element != "string"
    return isinstance(became, Value) and became.kind == "array"


def _number(value: Any, sizes: Mapping[sympy.Symbol, int]) -> Any:
    """A size as a number; ``None`` where a symbol of it is not known."""
    if not isinstance(value, sympy.Basic):
        return value
    found = value.subs(sizes)
    if found.free_symbols:
        return None
    return bool(found) if found in (sympy.true, sympy.false) else float(found)
