"""Source positions from torch's recorded stack traces."""

from __future__ import annotations

import re
from functools import lru_cache

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


@lru_cache(maxsize=4096)
def source_stack(stack_trace: str | None) -> tuple[tuple[str, int], ...]:
    """``(file, line)`` of the frames of user code (not of torch itself), outermost first."""
    if not stack_trace:
        return ()
    frames = [(m["file"], int(m["line"])) for m in _FRAME.finditer(stack_trace)]
    return tuple(f for f in frames if "/torch/" not in f[0])
