"""Time a converted model against its source: same machine, same inputs, checked outputs."""

from __future__ import annotations

from .check import BenchmarkError
from .run import run_benchmark

__all__ = ["BenchmarkError", "run_benchmark"]
