"""Pipelines that run converted packages: they need mlx and numpy, no torch, onnx or converter."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlx_inference.blas import load_blas

if TYPE_CHECKING:
    from mlx_inference.errors import InferenceError
    from mlx_inference.package import Package
    from mlx_inference.wakeword import WakeWord

load_blas()  # has no effect once mlx is imported

_HOMES = {"InferenceError": "errors", "Package": "package", "WakeWord": "wakeword"}

__all__ = ["InferenceError", "Package", "WakeWord"]


def __getattr__(name: str) -> Any:
    """Imports the public names on first use, so that importing the package is cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
