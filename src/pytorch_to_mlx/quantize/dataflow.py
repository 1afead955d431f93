"""What a model's layers do for each other, read off the MLX calls that one run makes.

``mx.export_function`` hands out every primitive of a run. The weights of layers are inputs of that
graph, so it shows which products are layers, which are attention, and what lies between them.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten

PRODUCTS = ("Matmul", "AddMM", "GatherMM", "BlockMaskedMM")
LOOKUPS = ("Gather", "GatherAxis")
VIEWS = ("Transpose", "Reshape", "Flatten", "Unflatten", "Squeeze", "ExpandDims", "AsType", "Copy")
ATTENTION = "ScaledDotProductAttention"


@dataclass
class Call:
    """One primitive: names of the arrays it takes and gives."""

    name: str
    takes: list[str]
    gives: list[str]


@dataclass
class Dataflow:
    """The calls of one run; ``weights`` maps arrays to the layers whose weights they are."""

    calls: list[Call] = field(default_factory=list)
    inputs: set[str] = field(default_factory=set)
    outputs: set[str] = field(default_factory=set)
    weights: dict[str, str] = field(default_factory=dict)

    def index(self) -> None:
        """Who makes and uses each array, which calls are layers, what depends on the inputs."""
        self.maker = {a: c for c in self.calls for a in c.gives}
        self.users: dict[str, list[Call]] = defaultdict(list)
        self.layer: dict[int, str] = {}
        active = set(self.inputs)
        carried = dict(self.weights)  # a weight, whole, under another shape or order
        for call in self.calls:
            for a in call.takes:
                self.users[a].append(call)
            held = [carried[a] for a in call.takes if a in carried]
            moving = any(a in active for a in call.takes)
            if held and call.name in (*PRODUCTS, *LOOKUPS):
                self.layer[id(call)] = held[0]
            elif held and call.name in VIEWS:
                carried.update(dict.fromkeys(call.gives, held[0]))
            if moving:
                active.update(call.gives)
        self.active = active

    # -- attention -------------------------------------------------------------------------------

    def attention(self) -> list[tuple[set[str], set[str]]]:
        """Every attention as (layers that feed it, layers that take what it gives).

        It is a fused call, or a softmax between two products of activations.
        """
        found = []
        for call in self.calls:
            if call.name == ATTENTION:
                found.append((self.before(call.takes[:3]), self.after(call.gives)))
            elif call.name == "Softmax":
                scores = [c for c in self._upstream(call.takes) if self._mixes(c)]
                mixed = [c for c in self._downstream(call.gives) if self._mixes(c)]
                if scores and mixed:
                    asks = self.before(a for c in scores[:1] for a in c.takes)
                    gives = self.before(a for c in mixed[:1] for a in c.takes)
                    found.append((asks | gives, self.after(mixed[0].gives)))
        return found

    def _mixes(self, call: Call) -> bool:
        """Whether a call is a product of activations (a layer multiplies with a weight)."""
        operands = call.takes[:2]
        return (
            call.name in PRODUCTS
            and id(call) not in self.layer
            and all(a in self.active for a in operands)
        )

    def before(self, arrays: Iterable[str]) -> set[str]:
        """The nearest layers that arrays come from."""
        return {
            self.layer[id(c)]
            for c in self._walk(arrays, self._makers, lambda c: False)
            if id(c) in self.layer
        }

    def after(self, arrays: Iterable[str]) -> set[str]:
        """The nearest layers that take arrays, up to where a residual stream adds them in."""
        return {
            self.layer[id(c)]
            for c in self._walk(arrays, self._takers, self._adds)
            if id(c) in self.layer
        }

    def heads(self) -> set[str]:
        """Layers that outputs come from with neither another layer nor a residual sum between."""
        return {
            self.layer[id(c)]
            for c in self._walk(self.outputs, self._makers, self._adds)
            if id(c) in self.layer
        }

    def _adds(self, call: Call) -> bool:
        return call.name == "Add" and sum(a in self.active for a in call.takes) > 1

    # -- walking -----------------------------------------------------------------------------------

    def _makers(self, array: str) -> list[Call]:
        maker = self.maker.get(array)
        return [maker] if maker is not None and array in self.active else []

    def _takers(self, array: str) -> list[Call]:
        return self.users[array]

    def _upstream(self, arrays: Iterable[str]) -> Iterator[Call]:
        return self._walk(arrays, self._makers, self._mixes)

    def _downstream(self, arrays: Iterable[str]) -> Iterator[Call]:
        return self._walk(arrays, self._takers, lambda c: self._mixes(c) or self._adds(c))

    def _walk(
        self,
        arrays: Iterable[str],
        step: Callable[[str], Sequence[Call]],
        ends: Callable[[Call], bool],
    ) -> Iterator[Call]:
        """Calls reached from arrays, nearest first; nothing beyond a layer or where it ends."""
        queue, seen = list(arrays), set[int]()
        back = step == self._makers
        while queue:
            for call in step(queue.pop(0)):
                if id(call) in seen:
                    continue
                seen.add(id(call))
                yield call
                if id(call) not in self.layer and not ends(call):
                    queue += call.takes if back else call.gives


def trace(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    run: Callable[[], Iterable[mx.array]],
    inputs: Sequence[mx.array],
    bind: Callable[[Sequence[mx.array]], None],
) -> tuple[Dataflow, set[str]]:
    """The dataflow of one run, and the layers whose weight other code reads.

    Args:
        model: its parameters are put back afterwards.
        layers: the layers of interest by path, each with a ``weight``.
        run: calls the model on the inputs last bound.
        inputs: example inputs.
        bind: makes ``run`` use other arrays as inputs.

    Raises:
        ValueError, RuntimeError: the run looks at values, so that it cannot be traced.
    """
    flow, names = Dataflow(), {f"w{i}": path for i, path in enumerate(layers)}
    mx.eval(model.parameters())  # weights that are still in their file cannot be exported
    saved = tree_flatten(model.parameters())

    def traced(*arrays: mx.array, **weights: mx.array) -> list[mx.array]:
        for key, weight in weights.items():
            layers[names[key]]["weight"] = weight
        bind(arrays)
        return list(run())

    def note(part: dict[str, Any]) -> None:
        kind = part["type"]
        if kind == "inputs":
            flow.inputs = {name for name, *_ in part["inputs"]}
        elif kind == "keyword_inputs":
            flow.weights = {array: names[key] for key, array in part["keywords"]}
        elif kind == "outputs":
            flow.outputs = {name for name, *_ in part["outputs"]}
        elif kind == "primitive":
            takes, gives = ([name for name, *_ in part[k]] for k in ("inputs", "outputs"))
            flow.calls.append(Call(part["name"], takes, gives))

    weights = {key: layers[path]["weight"] for key, path in names.items()}
    with _watched(layers) as read, mx.stream(mx.cpu):
        try:
            mx.export_function(note, traced, *inputs, **weights)
        finally:
            model.update(tree_unflatten(saved))
            bind(inputs)
    flow.inputs -= set(flow.weights)
    flow.index()
    return flow, read


def _is_own(frame: FrameType) -> bool:
    """Whether code of ``mlx.nn`` runs, which is another in the quantized layer."""
    return str(frame.f_globals.get("__name__", "")).startswith("mlx.")


@contextmanager
def _watched(layers: Mapping[str, nn.Module]) -> Iterator[set[str]]:
    """Within, reads of a layer's weight by anyone but the layer's own methods are noted."""
    read: set[str] = set()
    kinds = {path: type(layer) for path, layer in layers.items()}

    def watching(path: str, kind: type) -> type:
        def look(self: Any, key: str) -> Any:
            if key == "weight" and not _is_own(sys._getframe(1)):
                read.add(path)
            return kind.__getattr__(self, key)  # type: ignore[attr-defined]

        return type(kind.__name__, (kind,), {"__getattr__": look})

    for path, layer in layers.items():
        layer.__class__ = watching(path, kinds[path])
    try:
        yield read
    finally:
        for path, layer in layers.items():
            layer.__class__ = kinds[path]
