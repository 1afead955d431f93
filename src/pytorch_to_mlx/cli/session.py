"""What every command does around the API call: messages, progress, errors and exit codes."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from pytorch_to_mlx.errors import ConversionError
from pytorch_to_mlx.progress import Bars, Progress, Quiet

FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 1, 2, 130, 143


class Terminated(SystemExit):
    """SIGTERM, as an exception: working folders are removed on its way out."""


@dataclass
class Session:
    """How one command talks: results on stdout, everything else on stderr."""

    as_json: bool = False
    quiet: bool = False
    debug: bool = False
    out: Console = field(default_factory=Console)
    err: Console = field(default_factory=lambda: Console(stderr=True))

    @property
    def silent(self) -> bool:
        """Whether only errors (and JSON) are printed."""
        return self.quiet or self.as_json

    def progress(self) -> Progress:
        """Bars on a terminal, nothing when silent."""
        return Quiet() if self.silent else Bars(self.err)

    def note(self, text: str) -> None:
        """Something the user should know."""
        if not self.silent:
            self.err.print(Text.assemble(("note: ", "cyan"), text))

    def warn(self, texts: Iterable[str]) -> None:
        """Warnings of the conversion; with ``--json`` they are in the object instead."""
        if not self.silent:
            for text in texts:
                self.err.print(Text.assemble(("warning: ", "yellow"), text))

    def emit(self, result: Mapping[str, Any]) -> None:
        """The result as strict JSON on stdout (non-finite numbers become strings)."""
        if self.as_json:
            print(json.dumps(plain(result), indent=2, allow_nan=False), file=sys.stdout)  # noqa: T201

    def fail(self, error: BaseException) -> int:
        """Prints an error, with its traceback if asked; returns the exit code."""
        if self.debug:
            self.err.print(Text("".join(traceback.format_exception(error)).rstrip()))
        if isinstance(error, ConversionError):
            self._print_error(str(error), error.to_dict(), error.exit_code)
            return error.exit_code
        text = f"{type(error).__name__}: {error}".strip().rstrip(":")
        message = f"unexpected {text.splitlines()[0]}"
        hint = "" if self.debug else " (this is a defect of pytorch_to_mlx; --debug shows where)"
        facts = {"stage": "unknown", "error": type(error).__name__, "message": str(error)}
        self._print_error(message + hint, facts, BAD_INPUT)
        return BAD_INPUT

    def _print_error(self, text: str, facts: Mapping[str, Any], code: int) -> None:
        if self.as_json:
            self.emit({"error": facts, "exit_code": code})
        self.err.print(Text.assemble(("error: ", "bold red"), text), soft_wrap=True)


@contextmanager
def session(
    *, as_json: bool = False, quiet: bool = False, debug: bool = False
) -> Iterator[Session]:
    """Runs a command's body; errors become one clear line and an exit code.

    torch's own warnings and logs are kept off the screen unless ``debug``.
    """
    current = Session(as_json, quiet, debug)
    try:
        with _terminable(), _hush(not debug):
            yield current
    except typer.Exit:
        raise
    except Terminated:
        current.err.print("terminated")
        raise typer.Exit(TERMINATED) from None
    except KeyboardInterrupt:
        current.err.print("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:  # noqa: BLE001 - the outermost frame: it is shown, not hidden
        raise typer.Exit(current.fail(error)) from None


@contextmanager
def _terminable() -> Iterator[None]:
    """Within, SIGTERM raises :class:`Terminated`, so that nothing half-written stays behind."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Terminated(TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@contextmanager
def _hush(active: bool) -> Iterator[None]:
    """Silences third parties: what concerns the user is among the conversion's own warnings."""
    if not active:
        yield
        return
    logger = logging.getLogger("torch")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def plain(value: Any) -> Any:
    """A value as JSON can hold it: paths and dtypes as text, arrays as lists, NaN as ``"nan"``."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)
