"""The process in which foreign files are tried. Run as a script, never imported.

It reads one line of JSON (where modules are, the task and its bounds) and a pickle of what the task
is called with, and answers one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

#: What native libraries say when an allocation fails.
_SHORT = ("bad_alloc", "bad allocation", "can't allocate memory", "Unable to allocate")


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever else is printed is no answer
    setup = json.loads(sys.stdin.buffer.readline())
    sys.path[:] = setup["path"]
    answer = _tried(setup)
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
    os._exit(0)  # what the file left behind is not taken down, which might crash too


def _tried(setup: dict[str, Any]) -> dict[str, Any]:
    import pickle
    import traceback

    from pytorch_to_mlx.errors import ConversionError

    module, _, name = setup["task"].partition(":")
    task = getattr(import_module(module), name)
    for needed in setup["needs"]:
        with suppress(ImportError):
            import_module(needed)
    request = pickle.load(sys.stdin.buffer)  # of the parent's making
    _bound(int(setup["bytes"]), int(setup["seconds"]))
    try:
        return {"result": task(**request)}
    except ConversionError as error:
        facts = {k: v for k, v in error.to_dict().items() if k not in ("stage", "ops")}
        return {"error": facts}
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent says it
        if isinstance(error, MemoryError) or any(s in str(error) for s in _SHORT):
            return {"memory": True}
        text = f"{type(error).__name__}: {error}".partition("\n")[0][:300]
        return {"unexpected": text, "traceback": traceback.format_exc()[-8000:]}


def _bound(room: int, seconds: int) -> None:
    """No memory beyond ``room`` more, no endless computing (should the parent be gone), no dump."""
    with suppress(ImportError):
        import resource

        limits = {
            "RLIMIT_CPU": seconds * (os.cpu_count() or 1) + 1,
            "RLIMIT_CORE": 0,
            "RLIMIT_FSIZE": 0,
        }
        if sys.platform.startswith("linux"):
            limits["RLIMIT_DATA"] = _held() + room
        for name, limit in limits.items():
            with suppress(ValueError, OSError, AttributeError):
                resource.setrlimit(getattr(resource, name), (limit, limit))


def _held() -> int:
    """Bytes of data that this process has mapped."""
    with open("/proc/self/status", encoding="ascii") as file:
        sizes = [int(line.split()[1]) for line in file if line.startswith("VmData")]
    return sizes[0] * 1024 if sizes else 0


if __name__ == "__main__":
    main()
