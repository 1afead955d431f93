"""Example inputs from a file: ``.npz``, ``.npy``, ``.safetensors``, or a ``.pt`` of tensors."""

from __future__ import annotations

import os
import pickle
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.sources.archives import check_archive
from pytorch_to_mlx.sources.nest import split_positional

_DAMAGE = (
    OSError, ValueError, EOFError, KeyError, IndexError, zipfile.BadZipFile, pickle.UnpicklingError,
    MemoryError, NotImplementedError, zlib.error, SyntaxError, TypeError, tokenize.TokenError,
    SafetensorError,
)  # fmt: skip


def load_arrays(path: str | Path) -> dict[str, Any]:
    """Named arrays of a file: numpy arrays from ``.npz``/``.npy``, torch tensors from the others.

    bfloat16 survives in ``.safetensors`` and ``.pt``. A ``.pt`` holds a dict, a tuple or one tensor
    and is read with ``weights_only=True``; dicts and tuples inside get dotted names, scalars and
    ``None`` stay. Positional entries are named ``0``, ``1``, ... (``arr_0`` of an ``.npz`` too).
    The kind is told by content. Raises ``InputError``.
    """
    path = Path(path)
    if not os.path.isfile(path):  # unlike Path's, false for names that no file can have
        raise InputError(f"no file {path}", hint="--args takes .npz, .safetensors or .pt")
    try:
        arrays = _load(path)
    except _DAMAGE as error:
        raise InputError(f"{path} cannot be read as arrays: {_first_line(error)}") from error
    if not arrays:
        raise InputError(f"{path} holds no arrays")
    return arrays


def load_tensors(path: str | Path) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Example ``(args, kwargs)`` of a file as torch tensors, nested by dotted names."""
    return split_positional({name: as_tensor(value) for name, value in load_arrays(path).items()})


def as_tensor(value: Any) -> Any:
    """A numpy array (ml_dtypes' bfloat16 too) as a torch tensor; anything else as it is."""
    import torch

    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.name == "bfloat16":
        return torch.from_numpy(value.astype(np.float32)).to(torch.bfloat16)
    return torch.from_numpy(np.ascontiguousarray(value).reshape(value.shape))


def as_tensors(tree: Any) -> Any:
    """``as_tensor`` for every array of nested tuples, lists and dicts; other containers stay."""
    if type(tree) in (tuple, list):
        return type(tree)(as_tensors(item) for item in tree)
    if type(tree) is dict:
        return {key: as_tensors(item) for key, item in tree.items()}
    return as_tensor(tree)


def _load(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        head = file.read(9)
    if not head:
        raise InputError(f"{path} is empty")
    if head.startswith(b"\x93NUMPY"):
        return {"0": np.load(path, allow_pickle=False)}
    if head.startswith(b"PK"):
        check_archive(path, InputError)
        with zipfile.ZipFile(path) as archive:
            numpy_archive = all(name.endswith(".npy") for name in archive.namelist())
        return _load_npz(path) if numpy_archive else _load_torch(path)
    if head[8:9] == b"{":
        return _load_safetensors(path)
    return _load_torch(path)


def _load_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        return {_npz_name(name): archive[name] for name in archive.files}


def _npz_name(name: str) -> str:
    """``np.savez(path, a, b)`` calls them arr_0, arr_1."""
    number = name.removeprefix("arr_")
    return number if number != name and number.isdecimal() else name


def _load_safetensors(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise InputError(f"{path} is damaged: {_first_line(error)}") from error


def _load_torch(path: Path) -> dict[str, Any]:
    import torch

    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds Python objects, not only tensors",
            hint="save a dict of tensors: torch.save({'x': x}, path)",
        ) from error
    except RuntimeError as error:
        raise InputError(f"{path} is damaged: {_first_line(error)}") from error
    flat: dict[str, Any] = {}
    _flatten(value if isinstance(value, (Mapping, tuple, list)) else (value,), "", flat)
    return flat


def _flatten(value: Any, prefix: str, flat: dict[str, Any]) -> None:
    if isinstance(value, (tuple, list)):
        value = {str(index): item for index, item in enumerate(value)}
    if isinstance(value, Mapping):
        for key, item in value.items():
            _flatten(item, f"{prefix}.{key}" if prefix else str(key), flat)
    else:
        flat[prefix] = value


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
