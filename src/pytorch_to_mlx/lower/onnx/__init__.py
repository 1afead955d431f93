"""Lowerings of ONNX operators, by family."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from pytorch_to_mlx.lower.onnx._registry import VersionedRegistry
from pytorch_to_mlx.lower.registry import Unsupported

ONNX = VersionedRegistry()
lowers = ONNX.lowers

__all__ = ["ONNX", "Unsupported", "load_families", "lowers"]


@cache
def load_families() -> VersionedRegistry:
    """Imports every family module (which registers its ops) and returns the table."""
    for info in pkgutil.iter_modules(__path__):
        if not info.name.startswith("_"):
            importlib.import_module(f"{__name__}.{info.name}")
    return ONNX
