"""Attributes of modules, which branches of traced control flow see through their operands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Frame:
    """What a branch that is being traced sees and writes instead of modules' own attributes."""

    reads: dict[tuple[int, str], Any]
    writes: dict[tuple[int, str], Any] = field(default_factory=dict)


FRAMES: list[Frame] = []


def get_attribute(owner: Any, name: str) -> Any:
    key = (id(owner), name)
    for frame in reversed(FRAMES):
        if key in frame.writes:
            return frame.writes[key]
        if key in frame.reads:
            return frame.reads[key]
    if hasattr(owner, "_modules"):
        for store in (owner._parameters, owner._modules):
            if name in store:
                return store[name]
    return getattr(owner, name)


def set_attribute(owner: Any, name: str, value: Any) -> None:
    if FRAMES:
        FRAMES[-1].writes[(id(owner), name)] = value
    else:
        setattr(owner, name, value)
