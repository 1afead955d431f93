"""What a run that was killed leaves beside its target: found by name, removed when nobody has it.

A working folder is locked by the process that fills it, and the lock ends with the process.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PARTIAL, OLD = ".partial", ".old"


def prefix(target: Path) -> str:
    """How the names of folders begin that belong to ``target``."""
    return f".{target.name[:100]}."


def lock(folder: Path, *, wait: bool = False) -> int:
    """A descriptor that holds the folder's lock; -1 where it is held, gone, or locks do not exist.

    ``wait`` is for the folder's own process, which a cleaning one may be about to overtake.
    """
    try:
        import fcntl
    except ImportError:  # no POSIX system
        return -1
    descriptor = -1
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # somebody else has it, or the file system knows no locks
        unlock(descriptor)
        return -1
    return descriptor


def unlock(descriptor: int) -> None:
    """Gives a lock back."""
    if descriptor >= 0:
        os.close(descriptor)


def clean(target: Path) -> None:
    """Removes working folders that no running process holds."""
    for folder in _beside(target, PARTIAL):
        descriptor = lock(folder)
        if descriptor >= 0:
            shutil.rmtree(folder, ignore_errors=True)
            unlock(descriptor)
    if target.exists():
        for folder in _beside(target, OLD):
            shutil.rmtree(folder, ignore_errors=True)


def bring_back(target: Path) -> None:
    """Puts an old folder back that had stepped aside when its run was killed."""
    found = [] if target.exists() else _beside(target, OLD)
    if len(found) == 1:
        found[0].rename(target)


def _beside(target: Path, suffix: str) -> list[Path]:
    try:
        entries = list(target.parent.iterdir())
    except OSError:
        return []
    start = prefix(target)
    named = (p for p in entries if p.name.startswith(start) and p.name.endswith(suffix))
    return [p for p in named if "." not in p.name[len(start) : -len(suffix)] and p.is_dir()]
