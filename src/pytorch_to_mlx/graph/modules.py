"""Module paths: what they share, and the class of a module that only its path names."""

from __future__ import annotations

import re
from collections.abc import Iterable


def class_of(path: str) -> str:
    """A class name from a module's own name: ``encoder.layer_norm`` is a ``LayerNorm``,
    ``stage2`` a ``Stage``, a number a ``Block``."""
    parts = (w.rstrip("0123456789") for w in re.split(r"[._]", path.rpartition(".")[2]))
    words = [w for w in parts if w]
    return "".join(w[0].upper() + w[1:] for w in words) or "Block"


def common_module(paths: Iterable[str]) -> str:
    """The innermost module that contains all of some; the root (``""``) contains all."""
    parts = [p.split(".") if p else [] for p in paths]
    same = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        same.append(column[0])
    return ".".join(same)
