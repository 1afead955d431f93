"""Quantized packages: which layers at how many bits, written, measured and proven.

Importing this package binds ``pytorch_to_mlx.quantize`` to it, where users expect the function of
that name; so it can be called as such.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytorch_to_mlx.converted import Converted


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Converted:
        from pytorch_to_mlx.api import quantize

        return quantize(*args, **options)


sys.modules[__name__].__class__ = _Callable
