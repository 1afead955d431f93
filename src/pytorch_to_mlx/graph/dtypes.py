"""Dtypes by MLX's names, as strings that code generation prints as ``mx.<name>``."""

from __future__ import annotations

from functools import cache

import mlx.core as mx


class DType(str):
    """The name of an MLX dtype (``"float32"``); also ``"float64"`` and ``"complex64"``."""

    __slots__ = ()

    @property
    def is_floating(self) -> bool:
        return self in ("float16", "bfloat16", "float32", "float64")

    @property
    def is_integer(self) -> bool:
        return self.startswith(("int", "uint"))

    @property
    def is_complex(self) -> bool:
        return self.startswith("complex")

    @property
    def size(self) -> int:
        """Bytes an element."""
        return int(mlx_dtype(self).size)


NAMES = (
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
)


def dtype_of(array: mx.array) -> DType:
    return DType(str(array.dtype).removeprefix("mlx.core."))


def mlx_dtype(name: str) -> mx.Dtype:
    if name == "bool":
        return mx.bool_
    return getattr(mx, name)


def adopted(array: mx.array) -> mx.array:
    """An array made of foreign memory; an empty one is made anew.

    MLX (0.32) does not mark an adopted empty array as contiguous, and then its CPU reductions over
    the empty axis take their loop bounds from uninitialised memory: some never end.
    """
    return array if array.size else mx.zeros(array.shape, dtype=array.dtype)


@cache
def promote(a: str, b: str) -> DType:
    """The dtype MLX gives an operation on two arrays of these dtypes."""
    if a == b:
        return DType(a)
    with mx.stream(mx.cpu):
        return dtype_of(mx.zeros((1,), mlx_dtype(a)) + mx.zeros((1,), mlx_dtype(b)))
