"""The child that foreign files are tried in: its answers, its bounds, and how it may end."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import pytest

from pytorch_to_mlx.errors import InputError, SourceError
from pytorch_to_mlx.sources import trial
from tests.hostile.foreign import bounds

ROOT = str(trial.Path(__file__).resolve().parents[2])


def task(kind: str, value: Any = None) -> Any:
    """What the children of these tests do."""
    if kind == "error":
        raise InputError("no such input", op="Add", origin="a.py:3", hint="look")
    if kind == "defect":
        raise KeyError("here")
    if kind == "crash":
        os.abort()
    if kind == "exit":
        os._exit(7)
    if kind == "sleep":
        time.sleep(60)
    if kind == "memory":
        bytearray(8 << 30)
    if kind == "native memory":
        raise RuntimeError("std::bad_alloc")
    if kind == "noise":
        sys.stdout.write("noise\n")
        os.system("echo noise")
    if kind == "write":
        with open(value, "w", encoding="utf-8") as file:
            file.write("x")
    return value


def attempt(kind: str, value: Any = None) -> Any:
    with pytest.MonkeyPatch.context() as patch, bounds(20, 1 << 30):
        patch.setattr(sys, "path", [ROOT, *sys.path])
        request = {"kind": kind, "value": value}
        return trial.attempt("tests.hostile.test_trial:task", request, size=0, refused=SourceError)


def test_answers_come_back() -> None:
    assert attempt("noise", [1, {"a": None}]) == [1, {"a": None}]


def test_errors_keep_their_class_and_their_place() -> None:
    with pytest.raises(InputError) as caught:
        attempt("error")
    error = caught.value
    assert (error.message, error.op, error.origin, error.hint) == (
        "no such input", "Add", "a.py:3", "look",
    )  # fmt: skip


@pytest.mark.parametrize(
    "kind, said",
    [
        ("crash", "crashed on it .SIGABRT"),
        ("exit", "ended with status 7"),
        ("memory", "more than 1.0 GiB of memory"),
        ("native memory", "more than 1.0 GiB of memory"),
        ("defect", "unexpected KeyError"),
    ],
)
def test_other_ends_are_refusals(kind: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        attempt(kind)


def test_it_has_so_much_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_bounds", lambda size: (4.0, 1 << 30))
    start = time.monotonic()
    with pytest.raises(SourceError, match="not done within 4 s"):
        attempt("sleep")
    assert time.monotonic() - start < 30


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is the system's")
def test_it_writes_no_files(tmp_path: trial.Path) -> None:
    with pytest.raises(SourceError, match="unexpected OSError"):
        attempt("write", str(tmp_path / "x"))


def test_the_watch_of_systems_without_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS: resident memory is looked at from outside."""
    assert trial.resident(os.getpid()) > 1 << 20
    assert trial.resident(2**22 + 1) == 0
    monkeypatch.setattr(trial, "resident", lambda pid: 2 << 30)
    monkeypatch.setattr(trial.sys, "platform", "darwin")
    with pytest.raises(SourceError, match=r"more than 1\.0 GiB of memory"):
        attempt("sleep")


def test_more_than_there_is_is_never_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial.memory, "available", lambda: 1 << 20)
    assert trial._bounds(1 << 30) == (trial.SECONDS + trial.SECONDS_PER_GIB, 1 << 20)


def test_the_working_folder_is_no_place_for_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert "" not in trial._path()
