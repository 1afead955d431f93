"""The command on foreign files: it converts them, or refuses them and leaves nothing behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pytorch_to_mlx.cli.app import app
from pytorch_to_mlx.sources import trial
from tests.hostile.names import CANARY
from tests.hostile.stages import memory, watched

REFUSED = 2
#: For a task that a child of its own would do.
ROOM = 4 << 30
#: What onnxruntime and torch keep in the temporary folder from their first use on.
_OF_OTHERS = (".ses", "torchinductor_")


def direct(task: str, request: dict[str, Any], *, refused: Any, **_: Any) -> Any:
    """In place of :func:`trial.attempt`: the same task, in this process."""
    from importlib import import_module

    module, _, name = task.partition(":")
    try:
        with memory(_held() + ROOM):
            return getattr(import_module(module), name)(**request)
    except MemoryError as error:
        raise refused("it takes too much memory") from error


def _held() -> int:
    """Bytes of data that this process has asked for by now."""
    status = Path("/proc/self/status")
    text = status.read_text() if status.exists() else ""
    return next((int(s.split()[1]) << 10 for s in text.splitlines() if s.startswith("VmData")), 0)


@contextmanager
def temporary_folder(folder: Path) -> Iterator[None]:
    """Within, temporary files are made there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield


def converts(path: Path, folder: Path, *options: str) -> bool:
    """Whether the command converts the file to ``folder / "out"``; if not, it is a clean refusal.

    ``folder`` must be empty.
    """
    scratch = folder / "tmp"
    scratch.mkdir()
    words = ["convert", "--input", str(path), "--output", str(folder / "out"), "--quiet", *options]
    with temporary_folder(scratch), watched():
        done = CliRunner().invoke(app, words)
    assert not Path(CANARY).exists(), "the file ran code"
    assert done.exit_code in (0, REFUSED), (done.output, done.exception)
    left = [p.name for p in scratch.iterdir() if not p.name.startswith(_OF_OTHERS)]
    assert not left, f"temporary files are left behind: {left}"
    shutil.rmtree(scratch)
    if done.exit_code == REFUSED:
        assert [p.name for p in folder.iterdir()] == [], "something is left behind"
        assert_refusal(done.output)
    return done.exit_code == 0


def assert_refusal(text: str) -> None:
    """One line; below it the ops, if it is about those."""
    first, *others = text.strip().splitlines()
    assert first.startswith("error: "), text
    assert "this is a defect" not in text, text
    assert not others or all(line.startswith("  - ") for line in others), text


@contextmanager
def bounds(seconds: float, room: int) -> Iterator[None]:
    """Within, a child has so much time and memory, whatever the file's size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "SECONDS", seconds)
        patch.setattr(trial, "BYTES", room)
        yield
