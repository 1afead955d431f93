"""Names of ONNX element types: MLX's where it has the type, else ONNX's in small letters."""

from __future__ import annotations

from functools import cache

from onnx import TensorProto

from pytorch_to_mlx.errors import SourceError

PLAIN = {
    "BOOL": "bool",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "FLOAT16": "float16",
    "BFLOAT16": "bfloat16",
    "COMPLEX64": "complex64",
    **{f"{u}INT{n}": f"{u.lower()}int{n}" for u in ("", "U") for n in (8, 16, 32, 64)},
}


@cache
def element_name(data_type: int) -> str:
    """The element type's name, of ONNX's number for it.

    Raises:
        SourceError: there is no such type.
    """
    if data_type not in TensorProto.DataType.values():
        raise SourceError(f"the ONNX model has elements of type {data_type}, which does not exist")
    name = TensorProto.DataType.Name(data_type)
    return PLAIN.get(name, name.lower())
