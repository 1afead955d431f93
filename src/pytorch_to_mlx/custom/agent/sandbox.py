"""A function from outside, run in a process of its own that has few rights."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.custom.agent.allowed import BUILTINS, CONSTANTS, FUNCTIONS

CPU_SECONDS = 60  # of all cases together
WALL_SECONDS = 30  # of one case


class SandboxError(Exception):
    """The function failed, took too long, or its process ended."""


class Sandbox:
    """``with Sandbox(source, name) as box: box.run(args, kwargs)``; ``source`` is checked already.

    The process has an empty environment and folder, no modules but mlx and numpy, and bounds on
    time, memory, files, sockets and processes (see ``child.py``).
    """

    def __init__(self, source: str, name: str) -> None:
        self._setup = {
            "source": source,
            "name": name,
            "functions": sorted(FUNCTIONS),
            "constants": sorted(CONSTANTS),
            "builtins": sorted(BUILTINS),
            "seconds": CPU_SECONDS,
            "path": [p for p in sys.path if p and Path(p).is_dir()],
        }

    def __enter__(self) -> Sandbox:
        self._folder = tempfile.TemporaryDirectory(prefix="p2m_sandbox_")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("child.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,
            env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            text=True,
            close_fds=True,
        )
        self._send(self._setup)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def run(self, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """What the function gives for these arguments.

        Raises:
            SandboxError: it raised, or broke a bound.
        """
        request = {"args": _dump(args), "kwargs": {k: _dump(v) for k, v in kwargs.items()}}
        timer = threading.Timer(WALL_SECONDS, self._process.kill)
        timer.start()
        try:
            self._send(request)
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise SandboxError("its process ended: it took too long, or too much memory")
        answer = json.loads(line)
        if "error" in answer:
            raise SandboxError(answer["error"])
        result = _load(answer["result"])
        return result

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise SandboxError("its process ended") from error


def _dump(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_dump(v) for v in value]
    if isinstance(value, mx.Dtype):
        return {"dtype": _name(value)}
    if not isinstance(value, mx.array):
        return value
    held = np.array(value.astype(mx.float32) if value.dtype == mx.bfloat16 else value)
    data = base64.b64encode(held.tobytes()).decode()
    return {
        "data": data,
        "held": held.dtype.str,
        "shape": list(held.shape),
        "as": _name(value.dtype),
    }


def _name(dtype: mx.Dtype) -> str:
    name = str(dtype).rpartition(".")[2]
    return "bool_" if name == "bool" else name


def _load(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_load(v) for v in value)
    held = np.frombuffer(base64.b64decode(value["data"]), dtype=value["held"])
    return mx.array(held.reshape(value["shape"])).astype(getattr(mx, value["as"]))
