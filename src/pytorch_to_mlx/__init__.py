"""PyTorch models to readable, proven MLX packages."""

from __future__ import annotations

__version__ = "0.1.0"

from pytorch_to_mlx.blas import load_blas

load_blas()

from pytorch_to_mlx.api import analyze, benchmark, convert, load, quantize, validate  # noqa: E402
from pytorch_to_mlx.converted import Converted  # noqa: E402
from pytorch_to_mlx.errors import ConversionError  # noqa: E402

__all__ = [
    "ConversionError",
    "Converted",
    "__version__",
    "analyze",
    "benchmark",
    "convert",
    "load",
    "quantize",
    "validate",
]
