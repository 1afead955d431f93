"""Foreign files: what native code makes of them is tried in a process of its own first.

A damaged or hostile file may end the process that reads it, take all memory, or never come to an
end. The child has bounds on time and memory; only what went well there is done again here.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_to_mlx import errors, memory

#: Bounds for a small file, and what each GiB (each byte) of a larger one adds.
SECONDS, SECONDS_PER_GIB = 120.0, 60.0
BYTES, FACTOR = 8 << 30, 8

_CHILD = Path(__file__).with_name("trial_child.py")
_ROOT = str(_CHILD.parents[2])


class TrialError(Exception):
    """An error that the child did not expect; holds its traceback."""


def attempt(
    task: str,
    request: Mapping[str, Any],
    *,
    size: int,
    refused: Callable[[str], errors.ConversionError],
    needs: Sequence[str] = (),
) -> Any:
    """The result of ``task`` (``module:function``, plain data) called with ``request`` in a child.

    ``size`` is the file's, by which the bounds grow; the modules of ``needs`` are imported before
    the bounds hold. ``refused`` makes the error of a reason in words.

    Raises:
        ConversionError: the task's own, or that of ``refused``: it crashed, took too long or too
            much memory, or raised what it should not.
    """
    seconds, room = _bounds(size)
    setup = {"path": _path(), "task": task, "needs": [*needs], "bytes": room, "seconds": seconds}
    data = json.dumps(setup).encode() + b"\n" + pickle.dumps(dict(request))
    child = subprocess.Popen(
        [sys.executable, "-I", str(_CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        with _watched(child.pid, room):
            said, _ = child.communicate(data, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise refused(f"it was not done within {seconds:.0f} s") from error
    finally:
        child.kill()
        child.wait()
    return _answer(said, child.returncode, room, refused)


def _bounds(size: int) -> tuple[float, int]:
    """Seconds and bytes; never more memory than there is, for then others would pay."""
    room = BYTES + FACTOR * size
    there = memory.available()
    return SECONDS + SECONDS_PER_GIB * size / (1 << 30), room if there is None else min(room, there)


def _path() -> list[str]:
    """Where modules come from here; never the working folder, which may be full of downloads."""
    found = [p for p in sys.path if p]
    return found if _ROOT in found else [_ROOT, *found]


def _answer(
    said: bytes, status: int, room: int, refused: Callable[[str], errors.ConversionError]
) -> Any:
    try:
        answer = json.loads(said)
    except ValueError:
        raise refused(_ending(status, room)) from None
    if "result" in answer:
        return answer["result"]
    if answer.get("memory"):
        raise refused(_too_much(room))
    if "error" in answer:
        facts = answer["error"]
        raise _named(facts.pop("error"))(**facts)
    raise refused(f"unexpected {answer['unexpected']}") from TrialError(answer["traceback"])


def _named(name: str) -> type[errors.ConversionError]:
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, errors.ConversionError):
        return kind
    return errors.ConversionError


def _ending(status: int, room: int) -> str:
    """Why a child ended that said nothing."""
    if status == -signal.SIGKILL:  # by the watch, or by the system when memory ran out
        return _too_much(room)
    if status < 0:
        return f"its reader crashed on it ({signal.Signals(-status).name})"
    return f"its reader ended with status {status}"


def _too_much(room: int) -> str:
    return f"it takes more than {room / 2**30:.1f} GiB of memory"


# -- systems that bound no memory ------------------------------------------------------------------


@contextmanager
def _watched(pid: int, room: int) -> Iterator[None]:
    """Within, a process that holds more memory is ended, where the system itself has no bound."""
    if sys.platform.startswith("linux"):
        yield
        return
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(pid, room, done), daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()


def _watch(pid: int, room: int, done: threading.Event) -> None:
    while not done.wait(0.2):
        if resident(pid) > room:
            os.kill(pid, signal.SIGKILL)
            return


def resident(pid: int) -> int:
    """Bytes that a process holds in memory; 0 if it is gone."""
    said = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return int(said) * 1024 if said.isdecimal() else 0
