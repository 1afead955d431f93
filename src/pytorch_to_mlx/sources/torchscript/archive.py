"""What a TorchScript archive says of its tensors and source lines, before torch believes it.

torch reads as many numbers as the pickle names, whether or not the member that holds them is that
long, and follows indices of quoted lines wherever they point.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

#: Bytes of one number, by the storage's class.
_SIZES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2,
    "LongStorage": 8, "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1,
    "BoolStorage": 1, "ComplexFloatStorage": 8, "ComplexDoubleStorage": 16, "QInt8Storage": 1,
    "QUInt8Storage": 1, "QInt32Storage": 4,
}  # fmt: skip

_DAMAGE = (
    pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError,
    OSError, RecursionError, OverflowError, MemoryError, UnicodeDecodeError, zipfile.BadZipFile,
    NotImplementedError, RuntimeError,
)  # fmt: skip


def damaged_part(path: Path) -> str:
    """What is wrong with the archive's pickles or tensors, in words; empty if nothing is."""
    try:
        with zipfile.ZipFile(path) as archive:
            lengths = {info.filename: info.file_size for info in archive.infolist()}
            root = next(iter(lengths)).partition("/")[0]
            for part in ("data", "constants"):
                name = f"{root}/{part}.pkl"
                if name not in lengths:
                    continue
                with archive.open(name) as file:
                    reader = _Reader(file)
                    reader.load()
                for key, needed in reader.storages.items():
                    held = lengths.get(f"{root}/{part}/{key}", 0)
                    if held < needed:
                        return f"the tensor {part}/{key} has {held:,} of {needed:,} bytes"
            for name in lengths:
                if name.endswith(".debug_pkl") and not _lines_exist(archive, name):
                    return f"its record of source lines {name} points outside its own table"
    except _DAMAGE as error:
        return f"its pickles cannot be read ({type(error).__name__})"
    return ""


def _lines_exist(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether all lines that a record of source ranges quotes are in its table.

    Its form since torch 1.10 is ``(marker, table, ((offset, ((lines, file, first), start, end),
    tag), ...))``; torch follows ``lines`` without a look at the table's length.
    """
    with archive.open(name) as file:
        record = _Lines(file).load()
    if not (isinstance(record, tuple) and len(record) == 3 and isinstance(record[1], tuple)):
        return True  # an older form, which holds the text itself
    size = len(record[1])
    lines = (entry[1][0][0] for entry in record[2])
    return all(isinstance(i, int) and 0 <= i < size for quoted in lines for i in quoted)


class _Inert:
    """Stands for every class and function that a pickle names: it does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> _Inert:
        return _Inert()

    def __setstate__(self, _: Any) -> None:
        pass

    def __hash__(self) -> int:
        return id(self)


class _Lines(pickle.Unpickler):
    """Reads what torch writes of source lines: plain tuples, and lists of integers."""

    def find_class(self, module: str, name: str) -> Any:
        return list if (module, name) == ("torch.jit._pickle", "build_intlist") else _Inert


class _Reader(pickle.Unpickler):
    """Reads a pickle without its objects, and notes how many bytes each storage must have."""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.storages: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        return type(name, (_Inert,), {"p2m_name": name}) if name in _SIZES else _Inert

    def persistent_load(self, key: Any) -> Any:
        kind, storage, name, _, count = key
        size = _SIZES.get(getattr(storage, "p2m_name", ""), 1)
        if kind == "storage" and isinstance(count, int):
            self.storages[str(name)] = max(self.storages.get(str(name), 0), count * size)
        return _Inert()
