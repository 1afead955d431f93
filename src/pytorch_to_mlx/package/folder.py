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
from pytorch_to_mlx.package import leftovers
from pytorch_to_mlx.package.atomic import exchange, held_signals

MARK = "config.json"


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuses a target that would cost the user files or cannot be written.

    Raises:
        OutputError: the target exists (and ``overwrite`` is off, or it is no package of ours), or
            its
            parent is not writable.
    """
    leftovers.bring_back(Path(os.path.abspath(target)))
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

    At every instant ``target`` is the old folder, the new one, or none; what a killed run left
    beside it is removed by the next.

    Raises:
        OutputError: as :func:`check_target`, or the disk is full.
    """
    check_target(target, overwrite=overwrite)
    target = Path(os.path.abspath(target))
    work: Path | None = None
    lock = -1
    try:
        with held_signals():
            leftovers.clean(target)
            work, lock = _working_folder(target)
        yield work
        with held_signals():
            _swap(work, target)
    except OSError as error:
        raise OutputError(f"{target} could not be written: {error.strerror or error}") from error
    finally:
        with held_signals():
            if work is not None:
                shutil.rmtree(work, ignore_errors=True)
            leftovers.unlock(lock)


@contextmanager
def renewed(target: Path) -> Iterator[Path]:
    """A copy of the package ``target``, made of hard links, that takes its place when the block
    ends: several files change in one step.

    Files in it are to be replaced, never written into. Where no folder can be made beside the
    target, or this process works inside of it (its shell would be left in a folder that is gone),
    the target itself is given.

    Raises:
        OutputError: the folder could not be written.
    """
    target = Path(os.path.abspath(target))
    if Path.cwd().is_relative_to(target) or not os.access(target.parent, os.W_OK):
        yield target
        return
    with beside(target, overwrite=True) as work:
        shutil.copytree(target, work, copy_function=_link, symlinks=True, dirs_exist_ok=True)
        yield work


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
    return target


def _working_folder(target: Path) -> tuple[Path, int]:
    """A new folder beside the target, locked for as long as this process lives.

    Another process may remove it before it is locked: then it is made again.
    """
    start, parent = leftovers.prefix(target), target.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            work = Path(tempfile.mkdtemp(prefix=start, suffix=leftovers.PARTIAL, dir=parent))
            lock = leftovers.lock(work, wait=True)
            if work.exists():
                work.chmod(0o755)
                return work, lock
            leftovers.unlock(lock)
    except OSError as error:
        raise OutputError(f"{parent} cannot be written: {error.strerror}") from error


def _swap(work: Path, target: Path) -> None:
    """Puts the new folder in the old one's place; the old one is then where the new one was.

    In one step where the system can. Elsewhere the old folder steps aside first and comes back if
    the rename fails; a run killed between the two leaves none, and the next run brings it back.
    """
    if not target.exists():
        work.rename(target)
        return
    if exchange(work, target):
        return
    old = target.with_name(f"{leftovers.prefix(target)}{os.getpid()}{leftovers.OLD}")
    target.rename(old)
    try:
        work.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
