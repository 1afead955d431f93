"""ONNX element types: how each is held in the graph.

MLX has most of them. The others are *emulated*: a value keeps its ONNX element type, and holds

- ``int4`` and ``int2`` as int8, ``uint4`` and ``uint2`` as uint8, one number an element;
- ``float8*``, ``float8e8m0`` and ``float4e2m1`` as float32 that is already rounded to the format;
- ``complex128`` as complex64, the widest complex type of MLX.

So ops that only move elements need no special case, and ``Cast`` and ``QuantizeLinear`` do the
rounding. numpy and ``ml_dtypes`` arrays are converted at the border (:func:`to_storage`,
:func:`from_storage`). float64 is MLX's own and computes on the CPU; strings have no arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pytorch_to_mlx.capture.onnx.types import PLAIN, element_name
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.registry import Unsupported

STORAGE = {
    "int4": "int8",
    "int2": "int8",
    "uint4": "uint8",
    "uint2": "uint8",
    "float8e4m3fn": "float32",
    "float8e4m3fnuz": "float32",
    "float8e5m2": "float32",
    "float8e5m2fnuz": "float32",
    "float8e8m0": "float32",
    "float4e2m1": "float32",
    "complex128": "complex64",
}
_ML_DTYPES = {
    "bfloat16": "bfloat16",
    "float8e4m3fn": "float8_e4m3fn",
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
    "float8e8m0": "float8_e8m0fnu",
    "float4e2m1": "float4_e2m1fn",
    "int4": "int4",
    "int2": "int2",
    "uint4": "uint4",
    "uint2": "uint2",
}


def storage(element: str) -> DType:
    """The dtype of the array that holds elements of a type.

    Raises:
        Unsupported: no array can hold them (strings).
    """
    held = STORAGE.get(element, element)
    if held not in PLAIN.values():
        raise Unsupported(f"tensors of {element} cannot be held in an array")
    return DType(held)


def numpy_dtype(element: str) -> np.dtype[Any]:
    """The numpy (or ml_dtypes) dtype of an element type."""
    if element in _ML_DTYPES:
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, _ML_DTYPES[element]))
    return np.dtype(object if element == "string" else element)


def element_of(array: np.ndarray) -> str:
    """The element type of a numpy or ml_dtypes array."""
    name = array.dtype.name
    known = {v: k for k, v in _ML_DTYPES.items()}
    return "string" if array.dtype.kind in "OUS" else known.get(name, name)


def to_storage(array: np.ndarray) -> np.ndarray:
    """A numpy array as it is held: emulated types in the dtype that stores them."""
    element = element_of(array)
    return array.astype(STORAGE[element]) if element in STORAGE else array


def from_storage(array: np.ndarray, element: str) -> np.ndarray:
    """The inverse of :func:`to_storage`."""
    dtype = numpy_dtype(element)
    return array if array.dtype == dtype else array.astype(dtype)


__all__ = [
    "STORAGE",
    "element_name",
    "element_of",
    "from_storage",
    "numpy_dtype",
    "storage",
    "to_storage",
]
