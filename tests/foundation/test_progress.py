from __future__ import annotations

import io
import json
import time

import pytest
from rich.console import Console

from pytorch_to_mlx.progress import Bars, Calls, JsonLines, Progress, Quiet, as_progress


def work(progress: Progress, steps: int = 2, pause: float = 0.0) -> None:
    with progress.stage("validate", total=steps) as stage:
        for _ in range(steps):
            time.sleep(pause)
            stage.advance()
    assert stage.done == steps


def test_callback_sees_every_change() -> None:
    seen: list[tuple[str, int, int]] = []
    work(as_progress(lambda stage, done, total: seen.append((stage, done, total))))
    assert seen == [("validate", 0, 2), ("validate", 1, 2), ("validate", 2, 2)]


def test_what_a_user_may_pass() -> None:
    assert isinstance(as_progress(None), Quiet)
    assert isinstance(as_progress(print), Calls)
    bars = Bars(Console(file=io.StringIO()))
    assert as_progress(bars) is bars
    with pytest.raises(TypeError, match="not int"):
        as_progress(3)  # type: ignore[arg-type]


def test_json_lines_also_on_error() -> None:
    stream = io.StringIO()
    progress = JsonLines(stream)
    work(progress)
    with pytest.raises(ValueError, match="stop"), progress.stage("lower"):
        raise ValueError("stop")
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [e["event"] for e in events] == ["begin", "end", "begin", "end"]
    assert [e["ok"] for e in events if e["event"] == "end"] == [True, False]
    assert events[1]["done"] == 2


def test_short_stages_show_nothing() -> None:
    stream = io.StringIO()
    work(Bars(Console(file=stream, force_terminal=True)))
    work(Bars(Console(file=stream)))
    assert stream.getvalue() == ""


def test_long_stages_show_a_bar_that_goes_away() -> None:
    stream = io.StringIO()
    work(Bars(Console(file=stream, force_terminal=True, width=80), delay=0.01), 3, pause=0.1)
    assert "validate" in stream.getvalue()


def test_long_stages_in_a_log_are_one_line() -> None:
    stream = io.StringIO()
    bars = Bars(Console(file=stream), delay=0.0)
    work(bars)
    with pytest.raises(ValueError, match="stop"), bars.stage("lower"):
        raise ValueError("stop")
    assert [line.split(":")[0] for line in stream.getvalue().splitlines()] == ["validate", "lower"]


def test_nested_stages() -> None:
    stream = io.StringIO()
    bars = Bars(Console(file=stream, force_terminal=True, width=80), delay=0.01)
    with bars.stage("outer", total=1) as outer:
        time.sleep(0.1)
        work(bars, 2, pause=0.1)
        outer.advance()
    assert "outer" in stream.getvalue()
    assert "validate" in stream.getvalue()
