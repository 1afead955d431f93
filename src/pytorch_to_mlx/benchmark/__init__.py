"""Times a converted model against its source: same machine, same inputs, checked outputs.

Importing this package binds ``pytorch_to_mlx.benchmark`` to it, where users expect the function of
that name; so it can be called as such.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from .check import BenchmarkError
from .run import run_benchmark


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> dict[str, Any]:
        from pytorch_to_mlx.api import benchmark

        section: dict[str, Any] = benchmark(*args, **options)
        return section


sys.modules[__name__].__class__ = _Callable

__all__ = ["BenchmarkError", "run_benchmark"]
