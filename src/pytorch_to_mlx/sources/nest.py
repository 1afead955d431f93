"""Dotted input names to the nesting of a call: ``batch.ids`` is ``{"batch": {"ids": ...}}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_to_mlx.errors import InputError


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dicts from dotted names; a level whose keys are ``0..n-1`` becomes a tuple.

    Raises ``InputError`` when one name is both a value and a level (``x`` and ``x.ids``).
    """
    root: dict[str, Any] = {}
    levels: set[int] = {id(root)}
    for name, value in flat.items():
        level = root
        *outer, last = name.split(".")
        for part in outer:
            inner = level.get(part)
            if inner is None:
                inner = level[part] = {}
                levels.add(id(inner))
            elif id(inner) not in levels:
                raise InputError(f"input {part!r} is both an array and a group (by {name!r})")
            level = inner
        if last in level:
            raise InputError(f"input {name!r} is given twice, or is both an array and a group")
        level[last] = value
    return {key: _sequences(value, levels) for key, value in root.items()}


def split_positional(flat: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Splits named inputs into ``(args, kwargs)``: top-level names ``0, 1, ...`` are positional.

    Raises ``InputError`` when the positional ones have gaps.
    """
    nested = nest(flat)
    numbers = sorted(int(key) for key in nested if key.isdecimal())
    if numbers != list(range(len(numbers))):
        raise InputError(f"positional inputs must be numbered 0, 1, ...; got {numbers}")
    args = tuple(nested.pop(str(number)) for number in numbers)
    return args, nested


def _sequences(value: Any, levels: set[int]) -> Any:
    if not isinstance(value, dict) or id(value) not in levels:
        return value
    inner = {key: _sequences(item, levels) for key, item in value.items()}
    if set(inner) == {str(i) for i in range(len(inner))}:
        return tuple(inner[str(i)] for i in range(len(inner)))
    return inner
