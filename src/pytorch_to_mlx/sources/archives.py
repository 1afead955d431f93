"""Zip archives: what they claim to hold, checked before anything in them is read."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from pathlib import Path

from pytorch_to_mlx import memory
from pytorch_to_mlx.errors import ConversionError, SourceError

_DAMAGE = (zipfile.BadZipFile, ValueError, NotImplementedError, OSError)


def check_archive(path: Path, error: type[ConversionError] = SourceError) -> None:
    """Refuses an archive whose entries are ambiguous, lead out of it, or would fill the memory.

    Readers disagree on which of two entries of one name counts (torch's does not even tell case
    apart), so what is checked in one could be read from the other. Anything that is no archive, or
    a damaged one, passes: who reads it says so.

    Raises:
        SourceError (or ``error``): the archive is such a one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except _DAMAGE:
        return
    reason = _suspicious([entry.filename for entry in entries])
    if reason:
        raise error(f"{path} is no honest archive: {reason}", hint="download or save it again")
    needed = sum(entry.file_size for entry in entries)
    memory.require(needed, f"unpacking {path}", "it claims more than can be read here", error)


def _suspicious(names: list[str]) -> str:
    counts = Counter(name.casefold() for name in names)
    for name in names:
        if counts[name.casefold()] > 1:
            return f"it holds {name[:60]!a} twice"
        parts = re.split(r"[/\\]", name)
        if ".." in parts or not parts[0] or re.match(r"[A-Za-z]:", name):
            return f"the entry {name[:60]!a} leads out of it"
    return ""
