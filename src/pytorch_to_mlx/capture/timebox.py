"""A limit on how long tracing may reason about symbolic sizes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN = 10.0  # seconds until the next try, where what runs swallowed an interruption


class TooSlowError(Exception):
    """What ran in the box was interrupted."""


class _Interruption(BaseException):
    """No ``except Exception`` on the way out stops it."""


@contextmanager
def time_box(seconds: float) -> Iterator[None]:
    """Interrupts what runs within after that much processor time (not time on the clock, so that
    a busy machine changes nothing).

    Only in the main thread, and where nobody else uses that timer; elsewhere there is no limit.

    Raises:
        TooSlowError: it was interrupted.
    """
    timer = getattr(signal, "ITIMER_VIRTUAL", None)
    free = threading.current_thread() is threading.main_thread()
    if timer is None or not free or signal.getitimer(timer)[0]:
        yield
        return

    def interrupt(_: int, frame: FrameType | None) -> None:
        raise _Interruption

    before = signal.signal(signal.SIGVTALRM, interrupt)
    signal.setitimer(timer, seconds, _AGAIN)
    try:
        yield
    except _Interruption:
        raise TooSlowError(
            f"tracing with symbolic sizes did not end within {seconds:.0f} s"
        ) from None
    finally:
        signal.setitimer(timer, 0)
        signal.signal(signal.SIGVTALRM, before)
