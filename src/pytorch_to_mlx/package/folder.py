"""Folders that appear complete or not at all: written beside the target, then renamed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytorch_to_mlx.errors import OutputError

MARK = "config.json"


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuses a target that would cost the user files or cannot be written.

    Raises:
        OutputError: the target exists (and ``overwrite`` is off, or it is no package of ours), or
            its
            parent is not writable.
    """
    if target.exists() or target.is_symlink():
        if not overwrite:
            raise OutputError(
                f"{target} exists", hint="choose another folder or pass overwrite (--overwrite)"
            )
        if target.is_symlink() or not target.is_dir():
            raise OutputError(f"{target} is no folder", hint="choose another output path")
        if any(target.iterdir()) and not is_package(target):
            raise OutputError(
                f"{target} holds files that are no converted model",
                hint="it is not overwritten; choose another folder",
            )
    parent = target.resolve().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OutputError(f"{parent} is not writable", hint="choose a folder that you may write to")


def is_package(folder: Path) -> bool:
    """Whether a folder holds a package of ours (other tools write a ``config.json`` too)."""
    try:
        config = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    versions = config.get("versions") if isinstance(config, dict) else None
    return isinstance(versions, dict) and "pytorch_to_mlx" in versions


@contextmanager
def beside(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A working folder next to ``target`` that takes its place when the block ends without an
    error.

    Raises:
        OutputError: as :func:`check_target`, or the disk is full.
    """
    check_target(target, overwrite=overwrite)
    target = Path(os.path.abspath(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(
            tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
        )
        work.chmod(0o755)
    except OSError as error:
        raise OutputError(f"{target.parent} cannot be written: {error.strerror}") from error
    try:
        yield work
        _swap(work, target)
    except OSError as error:
        raise OutputError(f"{target} could not be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _swap(work: Path, target: Path) -> None:
    """Renames; an old folder steps aside first and comes back if the rename fails."""
    if not target.exists():
        work.rename(target)
        return
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    target.rename(old)
    try:
        work.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
