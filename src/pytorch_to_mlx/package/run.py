"""Runs a package: imports its ``model.py``, loads its weights, converts inputs by its
``config.json``.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from pytorch_to_mlx.errors import InputError, SourceError
from pytorch_to_mlx.graph import Tree
from pytorch_to_mlx.graph.conditions import compiled, names_in
from pytorch_to_mlx.package import arrays, trees
from pytorch_to_mlx.package.folder import is_package


def read_config(folder: Path) -> dict[str, Any]:
    """The package's ``config.json``.

    Raises:
        SourceError: the folder is no package.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{folder} is no converted model: {error}", hint="pass the folder that convert wrote"
        ) from error
    if not is_package(folder):
        raise SourceError(f"{folder} has a config.json that pytorch_to_mlx did not write")
    return dict(config)


def import_model(folder: Path) -> ModuleType:
    """The package's ``model.py`` as a module of its own."""
    name = f"_p2m_package_{abs(hash(str(folder.resolve())))}"
    spec = importlib.util.spec_from_file_location(name, folder / "model.py")
    if spec is None or spec.loader is None:
        raise SourceError(f"{folder / 'model.py'} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def positional(args: Sequence[Any], tree: Tree) -> dict[str, Any]:
    """forward's argument names of positional arguments; ``*args`` gets one tuple.

    Raises:
        InputError: there are too many.
    """
    spread = next((i for i, child in enumerate(tree.children) if child.spread), None)
    keys = list(tree.keys)
    if spread is not None and len(args) > spread:
        args = [*args[:spread], tuple(args[spread:])]
        keys = keys[: spread + 1]
    if len(args) > len(keys):
        raise InputError(f"the model takes {len(keys)} inputs ({', '.join(keys)}), got {len(args)}")
    return dict(zip(keys, args, strict=False))


def call_model(model: Any, nests: Sequence[Any]) -> Any:
    """Calls an emitted model with one nest for each of its ``__call__``'s arguments."""
    args: list[Any] = []
    named: dict[str, Any] = {}
    parameters = inspect.signature(model.__call__).parameters.values()
    for parameter, nest in zip(parameters, nests, strict=True):
        if parameter.kind is parameter.VAR_POSITIONAL:
            args.extend(nest)
        elif parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = nest
        else:
            args.append(nest)
    return model(*args, **named)


class Package:
    """A package folder with its model loaded on first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = read_config(folder)
        self.in_tree = trees.from_json(self.config["input_tree"])
        self.out_tree = trees.from_json(self.config["output_tree"])
        self._model: nn.Module | None = None

    @property
    def model(self) -> nn.Module:
        if self._model is None:
            self._model = import_model(self.folder).load(self.folder)
        return self._model

    def reload(self) -> nn.Module:
        """Loads the model anew (its state as saved)."""
        self._model = None
        return self.model

    def bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Any], dict[int, mx.array]]:
        """The emitted ``__call__``'s arguments from forward's, and every array leaf by index.

        Raises:
            InputError: an input is missing, unknown, nested otherwise, or of the wrong rank or
                dtype.
        """
        named = positional(args, self.in_tree)
        twice = [k for k in kwargs if k in named]
        if twice:
            raise InputError(f"the input {twice[0]!r} was given twice")
        leaves = {}
        specs = {i["index"]: i for i in self.config["inputs"]}
        for index, name, value in trees.flatten({**named, **kwargs}, self.in_tree):
            leaves[index] = self._leaf(name, value, specs[index])
        self._check_sizes(leaves)
        call = []
        for child in self.in_tree.children:
            if any(True for _ in child.leaves()):
                call.append(trees.rebuild(child, leaves.__getitem__))
        return call, leaves

    def _leaf(self, name: str, value: Any, spec: dict[str, Any]) -> Any:
        if spec.get("kind", "array") != "array":
            return value
        array = arrays.double(value) if spec["dtype"] == "float64" else arrays.to_mlx(value)
        if array.ndim != len(spec["shape"]):
            raise InputError(
                f"the input {name!r} must have {len(spec['shape'])} dims, "
                f"got shape {tuple(array.shape)}"
            )
        try:
            return arrays.matched(array, spec["dtype"])
        except InputError as error:
            raise InputError(f"the input {name!r}: {error.message}") from error

    def _check_sizes(self, leaves: dict[int, mx.array]) -> None:
        """Static sizes as converted, equal symbols of equal size."""
        seen: dict[str, tuple[int, str]] = {}
        for spec in self.config["inputs"]:
            if spec.get("kind", "array") != "array":
                continue
            for axis, (size, dim) in enumerate(
                zip(leaves[spec["index"]].shape, spec["shape"], strict=True)
            ):
                where = f"dim {axis} of {spec['name']!r}"
                if isinstance(dim, int) and size != dim:
                    raise InputError(
                        f"{where} must be {dim}, got {size}", hint="it was static at conversion"
                    )
                if isinstance(dim, str) and dim.isidentifier():
                    where = f"dim {axis} of {spec['name']!r} ({dim})"
                    self._check_limits(where, size, dim)
                    if seen.setdefault(dim, (size, where))[0] != size:
                        raise InputError(
                            f"{where} is {size} but {seen[dim][1]} is {seen[dim][0]}; "
                            "they must be equal"
                        )
        if broken := self.broken_condition({name: size for name, (size, _) in seen.items()}):
            raise InputError(broken, hint="convert again with example inputs of such sizes")

    def broken_condition(self, sizes: Mapping[str, int]) -> str | None:
        """What the source's branches on sizes demand of them, where these do not fit."""
        for condition in self.config["dims"].get("conditions", ()):
            text, names = condition["holds"], names_in(condition["holds"])
            holds = compiled(text, names)
            if holds is None or not set(names) <= set(sizes):
                continue
            if not holds(*(sizes[name] for name in names)):
                given = ", ".join(f"{name} = {sizes[name]}" for name in names)
                asked = condition.get("asked", "")
                why = f" (the original goes another way at {asked})" if asked else ""
                return f"it must hold that {text}, but {given}{why}"
        return None

    def _check_limits(self, where: str, size: int, symbol: str) -> None:
        limits = self.config["dims"].get("symbols", {}).get(symbol, {})
        low, high, step = limits.get("min"), limits.get("max"), limits.get("multiple_of") or 1
        too_small = limits.get("bounded") and low is not None and size < low
        if too_small or (high is not None and size > high):
            raise InputError(f"{where} must be from {low} to {high or 'any size'}, got {size}")
        if size % step:
            raise InputError(f"{where} must be a multiple of {step}, got {size}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call, _ = self.bind(args, kwargs)
        return call_model(self.model, call)

    def names(self) -> list[str]:
        """Arguments of the emitted ``__call__``."""
        return list(inspect.signature(type(self.model).__call__).parameters)[1:]
