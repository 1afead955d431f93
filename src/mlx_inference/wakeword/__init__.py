"""Wake words on a stream of speech: openWakeWord's three stages from converted packages."""

from __future__ import annotations

from mlx_inference.wakeword.pipeline import WakeWord

__all__ = ["WakeWord"]
