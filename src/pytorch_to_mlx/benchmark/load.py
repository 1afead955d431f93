"""How busy other processes kept this process's CPUs while it was timed."""

from __future__ import annotations

import os
import time
from pathlib import Path


class OtherLoad:
    """Context manager; afterwards ``cpus``: CPUs that other processes used, or ``None``.

    Linux only: the busy time of the CPUs this process may run on, less its own.
    """

    def __init__(self) -> None:
        self.cpus: float | None = None

    def __enter__(self) -> OtherLoad:
        self._busy, self._own, self._wall = _busy_seconds(), _own_seconds(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        busy, wall = _busy_seconds(), time.perf_counter() - self._wall
        if busy is not None and self._busy is not None and wall > 0:
            own = _own_seconds() - self._own
            self.cpus = max(0.0, (busy - self._busy - own) / wall)


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _busy_seconds() -> float | None:
    stat = Path("/proc/stat")
    if not stat.exists() or not hasattr(os, "sched_getaffinity"):
        return None
    names = {f"cpu{n}" for n in os.sched_getaffinity(0)}
    ticks = 0
    for line in stat.read_text().splitlines():
        name, *fields = line.split()
        if name in names:  # user, nice, system, idle, iowait, irq, softirq, steal
            counts = [int(x) for x in fields[:8]]
            ticks += sum(counts) - counts[3] - counts[4]
    return ticks / os.sysconf("SC_CLK_TCK")
