"""Tensors that a model keeps in other files: from below its own folder only.

Relative paths without ``..`` that no link leads out of are read, nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from pytorch_to_mlx.errors import SourceError

#: What file systems take.
LONGEST_PATH = 1000


def external_file(location: str, folder: Path | None) -> Path:
    """The file of an external tensor.

    Raises:
        SourceError: it is not inside the model's folder, or missing.
    """
    if folder is None:
        raise SourceError(
            "the model keeps tensors in other files",
            hint="pass its path, or load it with its data: onnx.load(path)",
        )
    wanted = Path(location)
    if not location.isprintable() or len(location) > LONGEST_PATH:
        raise SourceError(f"external tensor data cannot lie in {location[:60]!r}")
    if not location or wanted.is_absolute() or ".." in wanted.parts or "\\" in location:
        raise SourceError(f"external tensor data must lie in the model's folder, not {location!r}")
    path = folder / wanted
    resolved = path.resolve()
    if not resolved.is_relative_to(folder.resolve()):
        raise SourceError(f"external tensor data {location!r} links out of the model's folder")
    if not resolved.is_file():
        raise SourceError(f"external tensor data {location!r} is missing beside the model")
    return resolved


def external_bytes(tensor: onnx.TensorProto, folder: Path | None) -> bytes:
    """The raw data of an external tensor.

    Raises:
        SourceError: its file, offset or length is wrong.
    """
    entries: dict[str, Any] = {e.key: e.value for e in tensor.external_data}
    path = external_file(entries.get("location", ""), folder)
    try:
        offset = int(entries.get("offset", 0) or 0)
        length = int(entries["length"]) if entries.get("length") else path.stat().st_size - offset
    except ValueError as error:
        raise SourceError(
            f"the place of the external tensor {tensor.name!r} is no number"
        ) from error
    if offset < 0 or length < 0 or offset + length > path.stat().st_size:
        raise SourceError(f"the external tensor {tensor.name!r} lies outside its file")
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
