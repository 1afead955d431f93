"""Verdicts from worker processes: what crashes, hangs or eats memory fails, and costs no other."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Workers:
    """How ``tests.conformance.worker`` judges: what, how many a process, how long each may take."""

    what: str
    shard: int  # torch's caches grow with every export
    silence: float  # seconds without a verdict after which a worker is taken for dead

    def verdicts(self, names: list[str], **env: str) -> Iterator[tuple[str, Any, float]]:
        """Name, verdict and seconds of each, in order; ``{"fate": why}`` for what killed its
        process.
        """
        left = list(names)
        while left:
            shard = left[: self.shard]
            done = 0
            fate: list[str] = []
            for name, verdict, seconds in self._run(shard, fate, env):
                assert name == shard[done]
                done += 1
                yield name, verdict, seconds
            if done < len(shard):
                yield shard[done], {"fate": fate[0]}, 0.0
                done += 1
            left = left[done:]

    def _run(
        self, names: list[str], fate: list[str], env: dict[str, str]
    ) -> Iterator[tuple[str, Any, float]]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.worker", self.what],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, cwd=ROOT, env=environment() | env,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write("\n".join(names))
        process.stdin.close()
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_read, args=(process, lines), daemon=True).start()
        try:
            while line := lines.get(timeout=self.silence):
                found = json.loads(line)
                yield found["name"], found["verdict"], found["seconds"]
            fate.append(f"the process died with code {process.wait()}")
        except queue.Empty:
            fate.append(f"no verdict in {self.silence:.0f} s")
        finally:
            process.kill()
            process.wait()


def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def environment() -> dict[str, str]:
    """One thread a process, nothing fetched, this checkout's sources and tests."""
    fixed = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **fixed, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}


def ask(code: str) -> list[str]:
    """What a line of Python prints, split, run where the tests can be imported."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


def relative(text: str) -> str:
    """Paths below the repository or among the installed packages, without where that lies on this
    machine.
    """
    installed = f"{sysconfig.get_path('purelib')}{os.sep}"
    return text.replace(f"{ROOT}{os.sep}", "").replace(installed, "")


def cell(text: str) -> str:
    """Text that stays one cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def read_record(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def write_record(path: Path, record: dict[str, Any], order: list[str], page: str) -> None:
    """The record as JSON, one entry a line in the given order, and its page beside it."""
    lines = [f"{json.dumps(n)}: {json.dumps(record[n])}" for n in order if n in record]
    path.parent.mkdir(exist_ok=True)
    path.write_text(relative("{\n" + ",\n".join(lines) + "\n}\n"), encoding="utf-8")
    path.with_suffix(".md").write_text(relative(page), encoding="utf-8")
