"""Peak memory of one call, as well as each library and system can tell it.

MLX and CUDA keep count in their allocators. torch on a CPU does not: there the growth of the
process's resident set during the call is added to the weights' bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Protocol

import mlx.core as mx


class Meter(Protocol):
    """Context manager; afterwards ``peak_bytes``, or ``None`` where it cannot be measured."""

    peak_bytes: int | None
    kind: str

    def __enter__(self) -> Any: ...

    def __exit__(self, *_: object) -> None: ...


class MLXMeter:
    """MLX's allocator: what the call added at its peak, plus the model's weights."""

    kind = "allocator"

    def __init__(self, weight_bytes: int) -> None:
        self._weights = weight_bytes
        self.peak_bytes: int | None = None

    def __enter__(self) -> MLXMeter:
        self._before = mx.get_active_memory()
        mx.reset_peak_memory()
        return self

    def __exit__(self, *_: object) -> None:
        self.peak_bytes = self._weights + max(0, mx.get_peak_memory() - self._before)


class CUDAMeter:
    """torch's CUDA allocator, like MLXMeter."""

    kind = "allocator"

    def __init__(self, weight_bytes: int, device: Any) -> None:
        self._weights, self._device = weight_bytes, device
        self.peak_bytes: int | None = None

    def __enter__(self) -> CUDAMeter:
        import torch

        self._before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        return self

    def __exit__(self, *_: object) -> None:
        import torch

        peak = torch.cuda.max_memory_allocated(self._device)
        self.peak_bytes = self._weights + max(0, peak - self._before)


class ResidentMeter:
    """Growth of the process's resident set at its peak, plus the model's weights.

    ``peak_bytes`` is ``None`` on systems whose peak cannot be reset (all but Linux).
    """

    kind = "resident set growth"

    def __init__(self, weight_bytes: int) -> None:
        self._weights = weight_bytes
        self.peak_bytes: int | None = None

    def __enter__(self) -> ResidentMeter:
        self._before = _status_bytes("VmRSS") if _reset_peak() else None
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            self.peak_bytes = self._weights + max(0, _status_bytes("VmHWM") - self._before)


class Unmeasured:
    """For devices whose library keeps no peak (torch on Metal)."""

    kind = "not measured"
    peak_bytes: int | None = None

    def __enter__(self) -> Unmeasured:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def torch_meter(device: Any, weight_bytes: int) -> Meter:
    """The meter for a torch model on ``device``."""
    if device.type == "cuda":
        return CUDAMeter(weight_bytes, device)
    return ResidentMeter(weight_bytes) if device.type == "cpu" else Unmeasured()


def _reset_peak() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not permitted in some containers: then there is no figure
        return False
    return True


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")
