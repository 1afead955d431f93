"""Progress of the stages: on a terminal, as JSON lines, to a callback, or not at all.

Every long stage takes a ``progress`` and does::

    with progress.stage("validate", total=len(cases)) as stage:
        for case in cases:
            ...
            stage.advance()
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TextIO, runtime_checkable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import Console

#: A user's callback: stage, units done, units in all (0 if not known).
Callback = Callable[[str, int, int], None]


class Stage:
    """One running stage; ``total`` is 0 when it is not known."""

    def __init__(
        self, name: str, total: int = 0, on_change: Callable[[Stage], None] | None = None
    ) -> None:
        self.name = name
        self.total = total
        self.done = 0
        self.started = time.perf_counter()
        self._on_change = on_change

    @property
    def seconds(self) -> float:
        """The time since the stage began."""
        return time.perf_counter() - self.started

    def advance(self, amount: int = 1) -> None:
        """Says that ``amount`` more units are done."""
        self.done += amount
        if self._on_change is not None:
            self._on_change(self)


@runtime_checkable
class Progress(Protocol):
    """What stages report to."""

    def stage(self, name: str, total: int = 0) -> AbstractContextManager[Stage]:
        """Announces a stage of ``total`` units; it ends with the ``with`` block, error or not."""
        ...


class Quiet:
    """Reports nothing."""

    @contextmanager
    def stage(self, name: str, total: int = 0) -> Iterator[Stage]:
        yield Stage(name, total)


class Calls:
    """Hands every change to a callback as ``(stage, done, total)``, the beginning (0) included."""

    def __init__(self, callback: Callback) -> None:
        self.callback = callback

    @contextmanager
    def stage(self, name: str, total: int = 0) -> Iterator[Stage]:
        stage = Stage(name, total, lambda s: self.callback(s.name, s.done, s.total))
        self.callback(name, 0, total)
        yield stage


class JsonLines:
    """One JSON object a line on stderr at the beginning and end of each stage."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream

    @contextmanager
    def stage(self, name: str, total: int = 0) -> Iterator[Stage]:
        stage = Stage(name, total)
        self._write({"stage": name, "event": "begin", "total": total})
        ok = False
        try:
            yield stage
            ok = True
        finally:
            self._write(
                {
                    "stage": name,
                    "event": "end",
                    "done": stage.done,
                    "seconds": round(stage.seconds, 3),
                    "ok": ok,
                }
            )

    def _write(self, event: dict[str, Any]) -> None:
        print(json.dumps(event), file=self.stream or sys.stderr, flush=True)


class Bars:
    """rich bars on stderr, each only once its stage has run for ``delay`` seconds."""

    def __init__(self, console: Console | None = None, delay: float = 1.0) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.progress import Progress as RichProgress

        self.delay = delay
        self.console = console or Console(stderr=True)
        self._rich = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        self._lock = threading.RLock()
        self._open = 0

    @contextmanager
    def stage(self, name: str, total: int = 0) -> Iterator[Stage]:
        if not self.console.is_terminal:  # a log wants lines, not bars
            yield from self._line(name, total)
            return
        task: list[Any] = []

        def change(stage: Stage) -> None:
            with self._lock:
                if task:
                    self._rich.update(task[0], completed=stage.done)

        stage = Stage(name, total, change)

        def show() -> None:
            with self._lock:
                if not timer_done.is_set():
                    task.append(self._rich.add_task(name, total=total or None))
                    self._rich.update(task[0], completed=stage.done)
                    self._rich.start()
                    self._open += 1

        timer_done = threading.Event()
        timer = threading.Timer(self.delay, show)
        timer.daemon = True
        timer.start()
        try:
            yield stage
        finally:
            timer.cancel()
            with self._lock:
                timer_done.set()
                if task:
                    self._rich.remove_task(task[0])
                    self._open -= 1
                    if not self._open:
                        self._rich.stop()

    def _line(self, name: str, total: int) -> Iterator[Stage]:
        stage = Stage(name, total)
        try:
            yield stage
        finally:
            if stage.seconds >= self.delay:
                self.console.print(f"{name}: {stage.seconds:.1f} s", highlight=False)


def as_progress(progress: Progress | Callback | None) -> Progress:
    """A ``Progress`` from what a user passes: one, a callback (stage, done, total), or ``None``.

    Raises ``TypeError`` for anything else.
    """
    if progress is None:
        return Quiet()
    if isinstance(progress, Progress):
        return progress
    if callable(progress):
        return Calls(progress)
    raise TypeError(
        f"progress must be a callable (stage, done, total), not {type(progress).__name__}"
    )
