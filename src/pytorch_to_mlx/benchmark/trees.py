"""Nested inputs and outputs: mapped, flattened to named leaves, and resized along the batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

import numpy as np

Inputs: TypeAlias = Mapping[str, Any] | tuple[Any, ...] | list[Any]


def map_arrays(function: Callable[[np.ndarray], Any], value: Any) -> Any:
    """``value`` with every numpy array replaced by ``function(array)``; other leaves unchanged."""
    if isinstance(value, np.ndarray):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_arrays(function, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map_arrays(function, item) for item in value)
    return value


def flatten(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """The leaves of nested tuples, lists, mappings and dataclasses as (path, leaf).

    ``None`` is left out. The path of a leaf is its keys and indices joined by dots; a lone leaf is
    called ``output``.
    """
    if value is None:
        return []
    children: list[tuple[str, Any]]
    if isinstance(value, Mapping):
        children = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        names = getattr(value, "_fields", None) or [str(i) for i in range(len(value))]
        children = list(zip(names, value, strict=True))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        children = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    else:
        return [(path or "output", value)]
    return [leaf for key, item in children for leaf in flatten(item, f"{path}.{key}".strip("."))]


def call(function: Callable[..., Any], inputs: Any) -> Any:
    """``function`` called with a mapping as keywords, or a tuple or list as positions."""
    return function(**inputs) if isinstance(inputs, Mapping) else function(*inputs)


def sizes(inputs: Inputs) -> dict[str, list[int]]:
    """The shape of every array in ``inputs`` by its path (positions: ``"0"``, ``"1"``, …)."""
    return {name: list(x.shape) for name, x in flatten(inputs) if isinstance(x, np.ndarray)}


def batched_inputs(inputs: Inputs, batched: Collection[str] | None) -> tuple[int, frozenset[str]]:
    """The batch size and the paths of the arrays that carry it on dim 0.

    Without ``batched`` these are all arrays whose dim 0 equals the first array's.
    Raises ValueError when no array has a dim 0, or when the named ones disagree.
    """
    shapes = {name: shape for name, shape in sizes(inputs).items() if shape}
    if batched is not None:
        unknown = sorted(set(batched) - set(shapes))
        if unknown:
            raise ValueError(f"no input array with a first dim is called {', '.join(unknown)}")
        shapes = {name: shape for name, shape in shapes.items() if name in batched}
    if not shapes:
        raise ValueError("no input has a batch dim: leave batch_sizes out")
    batch = next(iter(shapes.values()))[0]
    names = frozenset(name for name, shape in shapes.items() if shape[0] == batch)
    if batched is not None and len(names) != len(shapes):
        raise ValueError(f"the batched inputs differ in dim 0: {shapes}")
    if batch < 1:
        raise ValueError("the inputs have an empty batch")
    return batch, names


def with_batch(inputs: Inputs, names: Collection[str], batch: int) -> Any:
    """``inputs`` with dim 0 of the arrays in ``names`` repeated or cut to ``batch`` rows."""

    def resize(value: Any, path: str) -> Any:
        if isinstance(value, Mapping):
            return {k: resize(v, f"{path}.{k}".strip(".")) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            items = [resize(v, f"{path}.{i}".strip(".")) for i, v in enumerate(value)]
            return tuple(items) if isinstance(value, tuple) else items
        if path in names:
            return np.ascontiguousarray(value[np.arange(batch) % value.shape[0]])
        return value

    return resize(inputs, "")
