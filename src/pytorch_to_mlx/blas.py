"""A fast BLAS for MLX on a Linux CPU; the runtime, which works without the converter, finds it."""

from __future__ import annotations

from mlx_inference.blas import BUNDLED, HINT, blas_hint, load_blas

__all__ = ["BUNDLED", "HINT", "blas_hint", "load_blas"]
