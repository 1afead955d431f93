"""PyTorch models to readable, proven MLX packages."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.blas import load_blas
from pytorch_to_mlx.version import __version__

if TYPE_CHECKING:
    from pytorch_to_mlx import onnx_backend
    from pytorch_to_mlx.api import analyze, benchmark, convert, load, quantize, validate
    from pytorch_to_mlx.converted import Converted
    from pytorch_to_mlx.custom import implements
    from pytorch_to_mlx.errors import ConversionError

# Full float32 products on NVIDIA GPUs, unless the user says otherwise: MLX reads this once, before
# its first product, and a proof needs them.
os.environ.setdefault("MLX_ENABLE_TF32", "0")
load_blas()  # has no effect once mlx is imported

_HOMES = {
    "ConversionError": "errors",
    "Converted": "converted",
    "implements": "custom",
    **dict.fromkeys(("analyze", "benchmark", "convert", "load", "quantize", "validate"), "api"),
}

__all__ = [
    "ConversionError",
    "Converted",
    "__version__",
    "analyze",
    "benchmark",
    "convert",
    "implements",
    "load",
    "onnx_backend",
    "quantize",
    "validate",
]


def __getattr__(name: str) -> Any:
    """Imports the public names on first use, so that importing the package is cheap.

    ``onnx_backend`` is a module that is an ``onnx.backend.base.Backend``; it needs onnx.
    """
    if name == "onnx_backend":
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
