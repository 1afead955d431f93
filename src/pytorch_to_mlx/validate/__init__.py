"""Proves a package: runs the emitted code against the original, and finds where they part.

Importing this package binds ``pytorch_to_mlx.validate`` to it, where users expect the function of
that name; so it can be called as such.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from pytorch_to_mlx.validate.result import ValidationReport


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> ValidationReport:
        from pytorch_to_mlx.api import validate

        report: ValidationReport = validate(*args, **options)
        return report


sys.modules[__name__].__class__ = _Callable

__all__ = ["ValidationReport"]
