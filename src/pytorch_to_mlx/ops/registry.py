"""Finds functions of the library by their (package-wide unique) name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any


@cache
def functions() -> dict[str, Callable[..., Any]]:
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
