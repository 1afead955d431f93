"""numpy arrays, torch tensors and Python numbers to ``mx.array``."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.graph.dtypes import adopted, mlx_dtype


def to_mlx(value: Any) -> mx.array:
    """An array of the same dtype (float64 becomes float32, complex128 complex64).

    Raises:
        InputError: the value is no array, tensor or number, or of a dtype that MLX lacks.
    """
    if isinstance(value, mx.array):
        return value
    if type(value).__module__.partition(".")[0] == "torch":
        return from_torch(value)
    if isinstance(value, (bool, int, float, complex, np.generic, list)):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise InputError("an input is a list whose rows differ in length") from error
    if not isinstance(value, np.ndarray):
        raise InputError(f"an input of type {type(value).__name__} is no array")
    if value.dtype == np.float64:
        value = value.astype(np.float32)
    elif value.dtype == np.complex128:
        value = value.astype(np.complex64)
    if value.dtype.kind not in "biufc" and value.dtype.name != "bfloat16":
        raise InputError(f"an input of dtype {value.dtype} cannot become an MLX array")
    return adopted(mx.array(value))


def from_torch(tensor: Any) -> mx.array:
    """A torch tensor (on any device) as an MLX array.

    Raises:
        InputError: MLX has no such dtype.
    """
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise InputError(f"an input of type {type(tensor).__name__} is no array")
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if tensor.dtype == torch.bfloat16:
        return adopted(mx.array(tensor.view(torch.int16).numpy()).view(mx.bfloat16))
    if tensor.dtype == torch.float64:
        tensor = tensor.float()
    elif tensor.dtype in (torch.complex128, torch.complex32):
        tensor = tensor.to(torch.complex64)
    try:
        return adopted(mx.array(tensor.numpy()))
    except (TypeError, ValueError) as error:
        raise InputError(f"a tensor of dtype {tensor.dtype} cannot become an MLX array") from error


def is_floating(tensor: Any) -> bool:
    """Whether a tensor of any frontend (torch, MLX) holds floats."""
    return dtype_name(tensor).startswith(("float", "bfloat"))


def dtype_name(tensor: Any) -> str:
    """The dtype's bare name, such as ``float32``."""
    return str(tensor.dtype).rpartition(".")[2]


def count_of(tensor: Any) -> int:
    """How many elements a tensor of any frontend has."""
    return int(tensor.numel()) if hasattr(tensor, "numel") else int(tensor.size)


def double(value: Any) -> mx.array:
    """The value in float64, which MLX has on the CPU only."""
    with mx.stream(mx.cpu):
        if isinstance(value, np.ndarray):
            return adopted(mx.array(value.astype(np.float64), dtype=mx.float64))
        return to_mlx(value).astype(mx.float64)


def matched(array: mx.array, dtype: str) -> mx.array:
    """The array in the model's input dtype: widths change, kinds (float, integer, bool) do not.

    Raises:
        InputError: the kinds differ (floats for token ids, say).
    """
    wanted = mlx_dtype(dtype)
    if array.dtype == wanted:
        return array
    same_kind = any(
        mx.issubdtype(array.dtype, k) and mx.issubdtype(wanted, k)
        for k in (mx.floating, mx.integer)
    )
    if not same_kind and not (
        mx.issubdtype(array.dtype, mx.integer) and mx.issubdtype(wanted, mx.floating)
    ):
        raise InputError(f"expected {dtype}, got {str(array.dtype).removeprefix('mlx.core.')}")
    return array.astype(wanted)
