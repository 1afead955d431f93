"""Memory that a conversion needs and that there is, compared before anything long begins."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytorch_to_mlx.errors import ConversionError, SourceError

#: Where a container's limit and use are, for cgroups of version 2 and 1.
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


def available() -> int | None:
    """Bytes that this process may still take without swapping, in its container if it is in one.

    ``None`` on systems that do not tell.
    """
    found = [*_system(), *_container()]
    return min(found) if found else None


def tensor_bytes(tensors: Iterable[Any]) -> int:
    """Bytes of torch tensors (those that share memory count once) or arrays."""
    sizes: dict[Any, int] = {}
    for tensor in tensors:
        if not hasattr(tensor, "untyped_storage"):
            sizes[len(sizes)] = int(tensor.nbytes)
        elif tensor.device.type != "meta":
            sizes[tensor.untyped_storage().data_ptr(), tensor.shape] = (
                tensor.numel() * tensor.element_size()
            )
    return sum(sizes.values())


def working_bytes(tensors: Iterable[Any]) -> int:
    """What writing the package takes beside the source's own tensors.

    Weights are stored one at a time: the largest as an MLX array, and what becomes of it.
    """
    largest = max((_bytes(t) for t in tensors), default=0)
    return 2 * largest


def _bytes(tensor: Any) -> int:
    return int(tensor.nbytes)


def require(needed: int, what: str, hint: str, error: type[ConversionError] = SourceError) -> None:
    """Refuses what cannot fit, with both figures.

    Raises:
        SourceError (or ``error``): ``needed`` bytes are more than are available.
    """
    there = available()
    if there is not None and needed > there:
        raise error(
            f"{what} takes {_shown(needed)} of memory, and {_shown(there)} are free", hint=hint
        )


def _shown(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**28 else f"{count / 2**20:.2f} MiB"


def _system() -> list[int]:
    if sys.platform.startswith("linux"):
        text = _read("/proc/meminfo")
        return [int(m[1]) * 1024 for m in re.finditer(r"^MemAvailable:\s+(\d+) kB", text, re.M)]
    return _macos() if sys.platform == "darwin" else []


def _macos() -> list[int]:
    """Pages that are free, or hold only what can be read again."""
    try:
        text = subprocess.run(
            ["/usr/bin/vm_stat"], capture_output=True, text=True, check=True, timeout=5
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return macos_bytes(text)


def macos_bytes(text: str) -> list[int]:
    """Available bytes from the text of ``vm_stat``."""
    page = re.search(r"page size of (\d+) bytes", text)
    kinds = ("free", "inactive", "speculative", "purgeable")
    counts = [re.search(rf"^Pages {kind}:\s+(\d+)", text, re.M) for kind in kinds]
    if page is None or counts[0] is None:
        return []
    return [int(page[1]) * sum(int(c[1]) for c in counts if c is not None)]


def _container() -> list[int]:
    found = []
    for limit_file, used_file, stat_file in _CGROUPS:
        limit, used = _read(limit_file).strip(), _read(used_file).strip()
        if limit.isdecimal() and used.isdecimal() and int(limit) < 2**60:
            cached = re.search(r"^(?:total_)?inactive_file (\d+)", _read(stat_file), re.M)
            found.append(max(0, int(limit) - int(used) + (int(cached[1]) if cached else 0)))
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        return ""
