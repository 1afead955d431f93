"""Lowerings of ATen ops (and the few torch and transformers ops that exported programs hold), by
family.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from pytorch_to_mlx.lower.registry import Registry, Unsupported

ATEN = Registry()
lowers = ATEN.lowers

__all__ = ["ATEN", "Unsupported", "load_families", "lowers"]


@cache
def load_families() -> Registry:
    """Imports every family module (which registers its ops) and returns the table."""
    for info in pkgutil.iter_modules(__path__):
        if not info.name.startswith("_"):
            importlib.import_module(f"{__name__}.{info.name}")
    return ATEN
