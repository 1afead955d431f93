"""Casts between element types, the emulated ones among them."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.onnx._common import array, cast, element, tagged
from pytorch_to_mlx.lower.onnx._dtypes import STORAGE, storage
from pytorch_to_mlx.lower.registry import Unsupported
from pytorch_to_mlx.ops.minifloat import round_to_float, round_to_power, wrap_integer

#: Exponent bits, mantissa bits, bias, largest number, and whether infinity exists.
FLOATS: dict[str, tuple[int, int, int, float, bool]] = {
    "float8e4m3fn": (4, 3, 7, 448.0, False),
    "float8e4m3fnuz": (4, 3, 8, 240.0, False),
    "float8e5m2": (5, 2, 15, 57344.0, True),
    "float8e5m2fnuz": (5, 2, 16, 57344.0, False),
    "float4e2m1": (2, 1, 1, 6.0, False),
}
BITS = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2}


def convert(x: Any, to: str, saturate: bool = True, round_mode: str = "up") -> Any:
    """The array in another element type.

    Raises:
        Unsupported: strings are involved.
    """
    if element(x) == "string" or to == "string":
        raise Unsupported("casts of strings")
    value = array(x)
    if element(value) == to:
        return value
    if to in FLOATS:
        _, mantissa, bias, largest, infinite = FLOATS[to]
        wide = cast(value, "float32")
        rounded = call(
            round_to_float, wide, mantissa, bias, largest, saturate or to == "float4e2m1", infinite
        )
        return tagged(rounded, to)
    if to == "float8e8m0":
        rounded = call(round_to_power, cast(value, "float32"), round_mode, saturate)
        return tagged(rounded, to)
    if to in BITS:
        whole = cast(value, "int32")
        return tagged(cast(call(wrap_integer, whole, BITS[to], to[0] != "u"), storage(to)), to)
    dtype = storage(to)
    if dtype == "bool":
        return call(mx.not_equal, value, 0)
    if value.dtype == dtype:  # an emulated type that is held as the wanted one
        return call("mx.astype", value, DType(dtype)) if element(value) in STORAGE else value
    return cast(value, dtype)


def reinterpret(x: Any, to: str) -> Any:
    """The bits of the elements as another type of the same width.

    Raises:
        Unsupported: strings, another width, or a float that is held in a wider one.
    """
    given, value = element(x), array(x)
    if given == to:
        return value
    if given in BITS and BITS[given] == BITS.get(to):
        signed = to[0] != "u"
        return tagged(
            cast(call(wrap_integer, cast(value, "int32"), BITS[to], signed), storage(to)), to
        )
    if given in STORAGE or to in STORAGE or DType(given).size != DType(to).size:
        raise Unsupported(f"the bits of {given} as {to}")
    return call(mx.view, value, DType(to))
