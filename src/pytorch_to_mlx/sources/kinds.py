"""What a file or folder is, told by its content; the extension only breaks ties."""

from __future__ import annotations

import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from pytorch_to_mlx.errors import SourceError
from pytorch_to_mlx.sources.archives import check_archive

EXPORTED, CHECKPOINT, SAFETENSORS = "exported_program", "checkpoint", "safetensors"
ONNX, TORCHSCRIPT = "onnx", "torchscript"

EXPORT_HINT = (
    "load it in PyTorch and convert the module, or torch.export.save(torch.export.export(...))"
)

#: Legacy ``torch.save``: a pickle of torch's magic number.
_TORCH_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_ONNX_HEAD = re.compile(rb"\x08[\x01-\x14](\x12|\x3a|\x42|\x1a|\x22|\x2a)")


@dataclass(frozen=True)
class Refused:
    """A kind that is recognised but not converted: what it is and what to do instead."""

    what: str
    hint: str


def sniff(path: Path) -> str | Refused:
    """``EXPORTED``, ``CHECKPOINT``, ``SAFETENSORS``, ``ONNX``, ``TORCHSCRIPT``, or why it is none.

    Raises ``SourceError`` when there is nothing at the path, or it is empty or cut short.
    """
    if os.path.isdir(path):
        return _folder(path)
    if not os.path.exists(path):  # unlike Path's, false for names that no file can have
        raise SourceError(f"no such file: {path}", hint=_nearby(path))
    if path.stat().st_size == 0:
        raise SourceError(f"{path} is empty (0 bytes)", hint="download or save it again")
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK"):
        return _archive(path)
    return _head(path, head)


def _head(path: Path, head: bytes) -> str | Refused:
    """Kinds told by their first bytes."""
    magic: list[tuple[bool, str | Refused]] = [
        (head.startswith(_TORCH_LEGACY), CHECKPOINT),
        (head.startswith(b"GGUF"), Refused("a GGUF file (llama.cpp weights)", _GGUF)),
        (head[4:8] == b"TFL3", Refused("a TensorFlow Lite model", EXPORT_HINT)),
        (head[4:8] == b"ET12", Refused("an ExecuTorch program, already compiled", EXPORT_HINT)),
        (head.startswith(b"\x89HDF"), Refused("an HDF5 file (Keras)", EXPORT_HINT)),
        (head.startswith(b"\x93NUMPY"), Refused("a numpy array, not a model", _NUMPY)),
        (
            head.startswith(b"version https://git-lfs"),
            Refused("a Git LFS pointer, not the file itself", "run `git lfs pull`"),
        ),
        (
            head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")),
            Refused("a web page, not a model", "the download failed; fetch the file itself"),
        ),
        (_is_safetensors(head, path), SAFETENSORS),
        (bool(_ONNX_HEAD.match(head)) or path.suffix == ".onnx", ONNX),
        (path.suffix == ".py", Refused("a Python file", f"name the factory: {path}:<function>")),
        # Any pickle: torch decides, safely, whether it can be read.
        (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"), CHECKPOINT),
    ]
    for matches, kind in magic:
        if matches:
            return kind
    if path.suffix in (".pt2", ".pt", ".pth", ".ckpt", ".bin"):
        return Refused(f"no PyTorch file (it is damaged, or not what {path.suffix} says)", _KNOWN)
    return Refused("no model that is known here", _KNOWN)


_GGUF = "convert the original PyTorch checkpoint instead"
_NUMPY = "use it as example inputs: --args"
_KNOWN = (
    "expected a .pt2 program, an .onnx model, a .pt/.pth/.safetensors checkpoint, "
    "or file.py:factory"
)


def _is_safetensors(head: bytes, path: Path) -> bool:
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= length <= path.stat().st_size - 8


def _archive(path: Path) -> str | Refused:
    """Kinds that are zip archives."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    # a damaged directory has names that are no text, or versions that no zip ever had
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise SourceError(
            f"{path} is cut short or damaged ({path.stat().st_size:,} bytes)",
            hint="download or save it again",
        ) from error
    check_archive(path)
    inner = {name.partition("/")[2] for name in names}
    if "serialized_exported_program.json" in names or "archive_format" in inner:
        if any(re.fullmatch(r"models/.+\.json", name) for name in inner) or "version" in names:
            return EXPORTED
        return Refused("a compiled package (AOTInductor) without an exported program", EXPORT_HINT)
    if "data.pkl" in inner:
        if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
            return TORCHSCRIPT
        return CHECKPOINT
    if names and all(name.endswith(".npy") for name in names):
        return Refused("a numpy archive, not a model", _NUMPY)
    return Refused("a zip archive, but no PyTorch one", _KNOWN)


def _folder(path: Path) -> Refused:
    names = {entry.name for entry in path.iterdir()}
    if {"model.py", "config.json", "convert_weights.py"} <= names:
        return Refused("an already converted package", "load it: pytorch_to_mlx.load(path)")
    if "config.json" in names or "model_index.json" in names:
        return Refused(
            "a Hugging Face model folder, which is not supported yet",
            "write a file.py whose factory loads it with transformers, and pass file.py:factory",
        )
    if "saved_model.pb" in names:
        return Refused("a TensorFlow SavedModel", EXPORT_HINT)
    if "Manifest.json" in names:
        return Refused("a Core ML package", EXPORT_HINT)
    return Refused("a folder, not a model file", _KNOWN)


def _nearby(path: Path) -> str:
    """Model files beside a missing one: most often the name is only misspelt."""
    folder = path.parent
    if not os.path.isdir(folder):
        return f"the folder {folder} does not exist either"
    suffixes = (".pt2", ".onnx", ".pt", ".pth", ".safetensors", ".py")
    beside = sorted(entry.name for entry in folder.iterdir() if entry.suffix in suffixes)[:5]
    return f"in {folder} there are: {', '.join(beside)}" if beside else _KNOWN
