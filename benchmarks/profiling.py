"""Where a side's time goes on a GPU: kernels by name, from CUPTI through torch's profiler."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

CALLS = 5
NAMES = 8
NAME_LENGTH = 70
_TEMPLATE = re.compile(r"<.*", re.DOTALL)


def kernels(call: Callable[[], Any]) -> dict[str, Any]:
    """Kernels of one ``call``: count, the GPU's busy ms, wall ms, and the costliest by name.

    CUPTI sees every kernel of the process, MLX's too, also those inside CUDA graphs.
    """
    call()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as trace:
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        wall = (time.perf_counter() - start) / CALLS
    total: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)
    for event in trace.events():
        if event.device_type == torch.profiler.DeviceType.CUDA:
            total[event.name] += event.device_time
            count[event.name] += 1
    ranked = sorted(total, key=total.__getitem__, reverse=True)
    return {
        "kernels": sum(count.values()) / CALLS,
        "busy_ms": sum(total.values()) / CALLS / 1e3,
        "wall_ms": wall * 1e3,
        "top": [
            {
                "name": _short(name),
                "ms": total[name] / CALLS / 1e3,
                "count": count[name] / CALLS,
            }
            for name in ranked[:NAMES]
        ],
    }


def _short(name: str) -> str:
    return _TEMPLATE.sub("", name.removeprefix("void "))[:NAME_LENGTH] or name[:NAME_LENGTH]
