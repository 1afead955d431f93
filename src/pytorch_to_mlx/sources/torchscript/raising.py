"""``raise`` under a condition that sizes or data decide: ops without a result that a trace keeps.

``p2m::raise_if`` takes a condition that data decide, ``p2m::raise_if_size`` one of sizes. The
message has a ``{}`` for every size that it names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from pytorch_to_mlx.sources.torchscript.truth import DataBool

_DEFAULT = "the model refuses its input"
_FIELD = re.compile(r"\{\}")
_PERCENT = re.compile(r"%[sdi]")


#: All that traces were told to refuse, so that one can see whether there was more.
REFUSALS: list[Any] = []


class Refused(ValueError):
    """The model's own error, whose message may name sizes."""

    def __init__(self, message: Any) -> None:
        self.text = message if isinstance(message, Text) else Text((str(message),))
        super().__init__(self.text.shown)


@dataclass(frozen=True)
class Text:
    """A string in which some parts are sizes that are not known while tracing."""

    parts: tuple[Any, ...]

    def __add__(self, other: Any) -> Text:
        return Text((*self.parts, *parts_of(other)))

    def __radd__(self, other: Any) -> Text:
        return Text((*parts_of(other), *self.parts))

    def __str__(self) -> str:
        return self.shown

    @property
    def shown(self) -> str:
        """The text with every size as torch writes it."""
        return "".join(str(p) for p in self.parts)

    @property
    def template(self) -> tuple[str, list[Any]]:
        """A format string (braces of its own doubled) and the sizes for its fields."""
        texts = [p.replace("{", "{{").replace("}", "}}") for p in self.parts if isinstance(p, str)]
        fixed = iter(texts)
        holes = [p for p in self.parts if not isinstance(p, str)]
        return "".join(next(fixed) if isinstance(p, str) else "{}" for p in self.parts), holes


def parts_of(value: Any) -> tuple[Any, ...]:
    """A value of a message as its parts: a size stays one, what only data know is left open."""
    import torch

    if isinstance(value, Text):
        return value.parts
    if isinstance(value, torch.SymInt):
        return (value,)
    if isinstance(value, (torch.Tensor, torch.SymFloat, torch.SymBool, DataBool)):
        return ("...",)
    if isinstance(value, (list, tuple)):
        found: list[Any] = ["[" if isinstance(value, list) else "("]
        for i, item in enumerate(value):
            found += [", "] * bool(i) + list(parts_of(item))
        return (*found, "]" if isinstance(value, list) else ")")
    return (str(value),)


def text_of(value: Any) -> Any:
    """``str(value)``, with sizes kept."""
    parts = parts_of(value)
    return parts[0] if len(parts) == 1 and isinstance(parts[0], str) else Text(parts)


def filled(template: str, values: tuple[Any, ...], field: re.Pattern[str] = _FIELD) -> Any:
    """``template.format(*values)``, with sizes kept."""
    found: list[Any] = []
    at = 0
    for place, value in zip(field.finditer(template), values, strict=False):
        found += [template[at : place.start()], *parts_of(value)]
        at = place.end()
    found.append(template[at:])
    if all(isinstance(p, str) for p in found):
        return "".join(found)
    return Text(tuple(p for p in found if p != ""))


def percent(template: Any, *values: Any) -> Any:
    """``template % values``, with sizes kept."""
    given = values[0] if len(values) == 1 and isinstance(values[0], tuple) else values
    if all(isinstance(v, (str, int, float)) for v in given):
        return template % given
    return filled(template, given, _PERCENT)


def _raise_if(condition: Any, message: str, values: list[int]) -> None:
    if bool(condition):
        raise ValueError(message.format(*values))


@cache
def register() -> Any:
    """Defines the ops once a process; returns the library, which must stay alive."""
    import torch

    library = torch.library.Library("p2m", "FRAGMENT")
    for name, kind in (("raise_if", "Tensor"), ("raise_if_size", "SymBool")):
        library.define(f"{name}({kind} condition, str message, SymInt[] values) -> ()")
        library.impl(name, _raise_if, "CompositeExplicitAutograd")
        torch.library.register_fake(f"p2m::{name}", lambda *_: None, lib=library)
        torch.fx.node.has_side_effect(getattr(torch.ops.p2m, name).default)
    return library


def raise_if(condition: Any, text: Text) -> None:
    """Refuses, in the traced program, what meets a condition of sizes or of data."""
    import torch

    register()
    REFUSALS.append(text)
    message, values = text.template
    if isinstance(condition, torch.SymBool):
        torch.ops.p2m.raise_if_size(condition, message, values)
        if not condition.node.has_hint():  # torch may rely on it from here on
            torch._check(torch.sym_not(condition))
        return
    tensor = condition.tensor if isinstance(condition, DataBool) else condition
    torch.ops.p2m.raise_if(tensor, message, values)


def message_of(values: list[Any]) -> Any:
    """What ``prim::RaiseException`` says."""
    text = values[0] if values and values[0] is not None else _DEFAULT
    return text.removeprefix("AssertionError: ") if isinstance(text, str) else text
