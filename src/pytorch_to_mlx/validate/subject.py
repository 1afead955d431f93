"""The two sides of a comparison, both as functions of inputs by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from pytorch_to_mlx.errors import ConversionError, InputError
from pytorch_to_mlx.graph.dtypes import dtype_of
from pytorch_to_mlx.package import trees
from pytorch_to_mlx.package.run import Package, positional
from pytorch_to_mlx.validate.compare import Array
from pytorch_to_mlx.validate.inputs import Inputs, to_numpy

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.program import Captured

Outputs = dict[str, Array]


class PackageFailed(Exception):
    """The emitted package raised, or its result is not nested as the original's."""


class SourceRefuses(Exception):
    """The original raises at these inputs: they prove nothing."""


def mlx_array(value: Any) -> Array:
    """An MLX array (or number) with its dtype's name."""
    if not isinstance(value, mx.array):
        value = np.asarray(value)
        return Array(value, {"i": "int64", "f": "float32"}.get(value.dtype.kind, str(value.dtype)))
    dtype = str(dtype_of(value))
    return Array(np.array(value.astype(mx.float32) if dtype == "bfloat16" else value), dtype)


@dataclass
class Subject:
    """A package and, where known, what it was made from.

    ``examples`` are the inputs to start from; ``outputs`` the names of the compared outputs by leaf
    index; ``calls`` how many calls in a row a case makes (state).
    """

    package: Package
    captured: Captured | None
    examples: Inputs
    states: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.states = list(self.package.config["states"])
        self.outputs = dict(trees.leaf_names(self.package.out_tree))
        self.calls = 3 if self.states else 1

    # -- the package -----------------------------------------------------------------------------

    @contextmanager
    def fresh(self) -> Iterator[nn.Module]:
        """The package's model, whose weights and state are put back afterwards."""
        model = self.package.model
        saved = tree_flatten(model.parameters())
        try:
            yield model
        finally:
            model.update(tree_unflatten(saved))

    def run_package(self, calls: Sequence[Inputs]) -> list[Outputs]:
        """Outputs of several calls of the emitted model, the first from the state as saved.

        Raises:
            PackageFailed: it raised, or gave something of another structure.
        """
        try:
            with self.fresh():
                return [self._call(inputs) for inputs in calls]
        except ConversionError as error:
            raise PackageFailed(str(error)) from error
        except (
            ValueError,
            TypeError,
            RuntimeError,
            LookupError,
            AttributeError,
            ArithmeticError,
        ) as error:
            raise PackageFailed(f"{type(error).__name__}: {error}".strip()) from error

    def _call(self, inputs: Inputs) -> Outputs:
        package = self.package
        leaves = {i["index"]: inputs[i["name"]] for i in package.config["inputs"]}
        tree = trees.rebuild(package.in_tree, leaves.__getitem__)
        result = package(**tree)
        found = {i: leaf for i, _, leaf in trees.flatten(result, package.out_tree, "output")}
        mx.eval([v for v in found.values() if isinstance(v, mx.array)], package.model.state)
        return {name: mlx_array(found[i]) for i, name in self.outputs.items() if i in found}

    # -- the original ----------------------------------------------------------------------------

    def run_source(
        self, calls: Sequence[Inputs], dtype: str | None = None, seed: int = 0
    ) -> list[Outputs]:
        """Outputs of several calls of the original, the first from its own state.

        Raises:
            SourceRefuses: it raised.
        """
        assert self.captured is not None
        try:
            with seeded(self.captured.frontend, seed):
                results = self.captured.reference(dtype).sequence(calls)
        except Exception as error:  # the user's code may raise anything
            raise SourceRefuses(_first_line(error)) from error
        return [self._named(r) for r in results]

    def _named(self, outputs: Sequence[Any]) -> Outputs:
        assert self.captured is not None
        by_name = {o.name: Array(o.array, o.dtype) for o in outputs}
        names = self.captured.output_names
        wanted = ((name, names[i]) for i, name in self.outputs.items())
        return {name: by_name[source] for name, source in wanted if source in by_name}


@contextmanager
def seeded(frontend: str, seed: int) -> Iterator[None]:
    """Within, the original's random numbers follow a seed."""
    if frontend == "onnx":
        from pytorch_to_mlx.capture.onnx.reference import set_seed

        set_seed(seed)
        yield
        return
    import torch

    state = torch.random.get_rng_state()
    try:
        torch.manual_seed(seed)
        yield
    finally:
        torch.random.set_rng_state(state)


def _first_line(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"[:300]


def examples_of(package: Package, captured: Captured | None) -> Inputs:
    """Example inputs by name: the capture's, else those of the golden file."""
    specs = package.config["inputs"]
    if captured is not None:
        return {s["name"]: to_numpy(captured.example_inputs[s["name"]]) for s in specs}
    golden = read_golden(package)
    found = {s["name"]: to_numpy(golden[f"call0.input.{s['name']}"]) for s in specs}
    numbers = {s["name"] for s in specs if s.get("kind", "array") != "array"}
    return {n: v.item() if n in numbers else v for n, v in found.items()}


def read_golden(package: Package) -> dict[str, mx.array]:
    """The recorded inputs and outputs of the source.

    Raises:
        InputError: the package has lost them.
    """
    path = package.folder / "golden.safetensors"
    if not path.is_file():
        raise InputError(
            f"{path} is missing, so there is nothing to compare with", hint="pass the source"
        )
    loaded = mx.load(str(path))
    assert isinstance(loaded, dict)
    return loaded


def given_inputs(
    package: Package, args: Sequence[Any], kwargs: Mapping[str, Any], examples: Inputs
) -> Inputs:
    """The user's inputs by name, in place of the examples.

    Raises:
        InputError: they do not fit the model.
    """
    named = {**positional(args, package.in_tree), **kwargs}
    specs = {i["index"]: i for i in package.config["inputs"]}
    found = dict(examples)
    for index, _, value in trees.flatten(named, package.in_tree):
        plain = (
            isinstance(value, (bool, int, float)) and specs[index].get("kind", "array") != "array"
        )
        found[specs[index]["name"]] = value if plain else to_numpy(_as_array(value))
    return found


def _as_array(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, (list, bool, int, float)) else value
