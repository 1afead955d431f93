"""Steps that are done or not done, whatever interrupts the process."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_AT_FDCWD = -100
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux and RENAME_SWAP of macOS


def exchange(first: Path, second: Path) -> bool:
    """Lets two paths of one file system change places in one step; ``False`` where that cannot be.

    Linux's ``renameat2`` and macOS's ``renamex_np``, which not every file system has.
    """
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            return bool(library.renamex_np(os.fsencode(first), os.fsencode(second), _EXCHANGE) == 0)
        paths = (_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second))
        return bool(library.renameat2(*paths, _EXCHANGE) == 0)
    except (AttributeError, OSError, TypeError):  # another system, or an old C library
        return False


@contextmanager
def held_signals() -> Iterator[None]:
    """Within, Ctrl-C and SIGTERM wait; afterwards they are delivered.

    Outside of the main thread, which alone receives them, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        waiting.append(number)

    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    held = {s: handler for s, handler in before.items() if handler is not None}
    try:
        for number in held:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])
