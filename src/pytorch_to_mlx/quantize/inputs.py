"""The inputs that a package carries (or is given for calibration), and runs at them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.package import arrays, trees
from pytorch_to_mlx.package.run import Package

GOLDEN = "golden.safetensors"
Values = dict[str, Any]  # inputs or outputs by name
Call = list[Values]  # a sequence of calls (one, for a model without state)


def golden_calls(package: Package) -> list[Call]:
    """The recorded inputs, as one sequence of calls.

    Raises:
        InputError: the package has lost them.
    """
    recorded = read_golden(package.folder)
    return [
        [
            {
                s["name"]: _input(recorded[f"call{k}.input.{s['name']}"], s)
                for s in package.config["inputs"]
            }
            for k in range(package.config["golden"]["calls"])
        ]
    ]


def read_golden(folder: Path) -> dict[str, mx.array]:
    path = folder / GOLDEN
    if not path.is_file():
        raise InputError(f"{path} is missing", hint="convert the model again")
    loaded = mx.load(str(path))
    assert isinstance(loaded, dict)
    return loaded


def calibration_calls(package: Package, path: Path) -> list[Call]:
    """Inputs of a ``.npz`` or ``.safetensors``: an array an input, or several as ``0.x``, ``1.x``.

    Raises:
        InputError: the file cannot be read or lacks an input.
    """
    try:
        loaded = mx.load(str(path)) if path.suffix != ".npz" else dict(np.load(path))
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"the calibration file {path} cannot be read: {error}") from error
    assert isinstance(loaded, dict)
    specs = package.config["inputs"]
    names = [s["name"] for s in specs]
    keys = sorted({k.partition(".")[0] for k in loaded if k not in names}, key=_order)
    prefixes = [""] if set(names) <= set(loaded) else [f"{k}." for k in keys]
    calls: list[Call] = []
    for prefix in prefixes:
        missing = [n for n in names if f"{prefix}{n}" not in loaded]
        if missing:
            raise InputError(
                f"{path} has no {prefix}{missing[0]}",
                hint=f"it takes {', '.join(names)} (or 0.{names[0]}, 1.{names[0]}, ...)",
            )
        calls.append([{s["name"]: _input(loaded[f"{prefix}{s['name']}"], s) for s in specs}])
    if not calls:
        raise InputError(f"{path} holds no inputs")
    return calls


def _order(key: str) -> tuple[int, str]:
    return (int(key), "") if key.isdecimal() else (-1, key)


def _input(value: Any, spec: Mapping[str, Any]) -> Any:
    if spec.get("kind", "array") != "array":
        return value.item()
    return arrays.matched(arrays.to_mlx(value), spec["dtype"])


def run(package: Package, call: Call) -> list[Values]:
    """Outputs by name of a sequence of calls, evaluated; state is put back afterwards."""
    model = package.model
    saved = tree_flatten(model.parameters())
    try:
        out = []
        for values in call:
            found = outputs(package, values)
            mx.eval(list(found.values()), model.state)
            out.append(found)
        return out
    finally:
        model.update(tree_unflatten(saved))


def outputs(package: Package, values: Values) -> Values:
    """Array outputs of one call, not evaluated."""
    leaves = {i["index"]: values[i["name"]] for i in package.config["inputs"]}
    result = package(**trees.rebuild(package.in_tree, leaves.__getitem__))
    names = dict(trees.leaf_names(package.out_tree))
    return {
        names[i]: leaf
        for i, _, leaf in trees.flatten(result, package.out_tree, "output")
        if isinstance(leaf, mx.array)
    }


class GoldenCall:
    """The first recorded call, whose array inputs may be replaced (by traced ones)."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.values = golden_calls(package)[0][0]
        self.names = [n for n, v in self.values.items() if isinstance(v, mx.array)]
        self.arrays = [self.values[n] for n in self.names]

    def bind(self, given: Sequence[mx.array]) -> None:
        self.values.update(zip(self.names, given, strict=True))

    def run(self) -> Iterable[mx.array]:
        return outputs(self.package, self.values).values()
