"""The process that runs a function from outside. Run as a script, never imported.

It reads the source (checked by its caller), gives up every right that it can, and then answers one
line of JSON (arguments) with one line of JSON (results) until its input ends.
"""

from __future__ import annotations
import __future__

import base64
import builtins
import contextlib
import json
import os
import sys
from types import SimpleNamespace
from typing import Any

ROOM = 2 << 30  # bytes of memory beside what starting took


def main() -> None:
    setup = json.loads(sys.stdin.readline())
    _leave_the_network()  # while there is one thread; later it would be refused
    sys.path[:] = setup["path"]
    import mlx.core as mx
    import numpy as np

    mx.set_default_device(mx.Device(mx.cpu))
    mx.eval(mx.matmul(mx.ones((2, 2)), mx.ones((2, 2))))  # its threads start before the limits
    names = [n for n in (*setup["functions"], *setup["constants"]) if hasattr(mx, n)]
    scope: dict[str, Any] = {
        "__builtins__": {n: getattr(builtins, n) for n in setup["builtins"]},
        "mx": SimpleNamespace(**{n: getattr(mx, n) for n in names}),
    }
    flag = __future__.annotations.compiler_flag  # so that annotations are never evaluated
    exec(compile(setup["source"], "answer", "exec", flags=flag, dont_inherit=True), scope)
    function = scope[setup["name"]]

    def load(value: Any) -> Any:
        if isinstance(value, dict) and "dtype" in value:
            return getattr(mx, value["dtype"])
        if isinstance(value, dict):
            data = np.frombuffer(base64.b64decode(value["data"]), dtype=value["held"])
            array = mx.array(data.reshape(value["shape"]))
            return array.astype(getattr(mx, value["as"]))
        return tuple(load(v) for v in value) if isinstance(value, list) else value

    def dump(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return [dump(v) for v in value]
        if not isinstance(value, mx.array):
            raise TypeError(f"a result is a {type(value).__name__}, not an array")
        name = str(value.dtype).rpartition(".")[2]
        held = np.array(value.astype(mx.float32) if name == "bfloat16" else value)
        data = base64.b64encode(held.tobytes()).decode()
        name = "bool_" if name == "bool" else name
        return {"data": data, "held": held.dtype.str, "shape": list(held.shape), "as": name}

    dump(load(dump(mx.ones((1,), mx.bfloat16))))  # what they import lazily: before the lock
    _lock(setup["seconds"])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = function(
                *load(request["args"]), **{k: load(v) for k, v in request["kwargs"].items()}
            )
            answer = {"result": dump(result)}
        except Exception as error:  # noqa: BLE001 - whatever the function raises
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _leave_the_network() -> None:
    """A network namespace of its own, where the system lets a process have one."""
    if hasattr(os, "unshare"):
        with contextlib.suppress(OSError):
            os.unshare(getattr(os, "CLONE_NEWUSER", 0) | getattr(os, "CLONE_NEWNET", 0))


def _lock(seconds: int) -> None:
    """No memory beyond a bound, no long computing, no new files, sockets, processes or imports."""
    import resource

    limits = {"RLIMIT_CPU": seconds, "RLIMIT_NOFILE": 0, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0}
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        limits["RLIMIT_AS"] = used + ROOM
    for name, limit in limits.items():
        resource.setrlimit(getattr(resource, name), (limit, limit))

    def refuse(event: str, args: tuple[Any, ...]) -> None:
        allowed = ("object.__getattr__", "builtins.id", "gc.", "sys._getframe", "cpython.")
        if not event.startswith(allowed):
            raise PermissionError(f"{event} is not allowed")

    sys.addaudithook(refuse)


if __name__ == "__main__":
    main()
