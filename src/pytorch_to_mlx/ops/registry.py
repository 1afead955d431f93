"""Finds functions of the library by their (package-wide unique) name."""

from __future__ import annotations

import importlib
import pkgutil
from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Added:
    """A function or constant from outside the library: its source, and what of it that names."""

    thing: Any
    source: str
    needs: tuple[str, ...]
    order: tuple[str, int]


_added: dict[str, Added] = {}
_added_functions: dict[str, Callable[..., Any]] = {}


def add(entries: Mapping[str, Added]) -> None:
    """Puts functions of a user's file beside those of the library; the latest of a name counts.

    Raises:
        ValueError: the library has something of one of these names.
    """
    for name in entries:
        if name in library():
            raise ValueError(f"the library has a function called {name} already")
    for name, entry in entries.items():
        _added[name] = entry
        if callable(entry.thing):
            _added_functions[name] = entry.thing


def added() -> Mapping[str, Added]:
    """What was added, by name."""
    return _added


def functions() -> Mapping[str, Callable[..., Any]]:
    """Every function of the library and every added one, by name."""
    return ChainMap(_added_functions, library())


@cache
def library() -> dict[str, Callable[..., Any]]:
    """Every public and private function of the library, by name.

    Raises:
        ValueError: two modules define functions of one name (they would collide in an emitted
            file).
    """
    import pytorch_to_mlx.ops as package

    found: dict[str, Callable[..., Any]] = {}
    for info in pkgutil.iter_modules(package.__path__):
        if info.name == "registry":
            continue
        module = importlib.import_module(f"pytorch_to_mlx.ops.{info.name}")
        for name, thing in vars(module).items():
            if callable(thing) and getattr(thing, "__module__", None) == module.__name__:
                if name in found:
                    raise ValueError(f"{name} is defined in two modules of ops")
                found[name] = thing
    return found


def function(name: str) -> Callable[..., Any]:
    """The function called ``name``.

    Raises:
        KeyError: there is none.
    """
    return functions()[name]
