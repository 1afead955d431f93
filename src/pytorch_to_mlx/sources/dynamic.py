"""``--dynamic "x:0,2;ids:1"``: which dimensions of which inputs stay dynamic."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.sources.nest import nest

HINT = 'e.g. "x:0,2" or "x:0=batch,ids:0=batch,1"; "auto" finds them; "none" makes all static'

_DIM = re.compile(r"(?P<axis>-?\d+)(=(?P<name>[A-Za-z_]\w*))?")


def parse_dynamic(text: str) -> dict[str, dict[int, str]]:
    """Parses ``--dynamic`` into ``{input: {axis: dim name}}``; an unnamed dim has the name ``""``.

    Dims of one name are one size. Entries are separated by commas, semicolons or blanks; an axis
    without an input's name belongs to the input before it. Raises ``InputError``.
    """
    found: dict[str, dict[int, str]] = {}
    current = ""
    for token in re.split(r"[,;\s]+", text.strip()):
        name, colon, rest = token.rpartition(":")
        if colon:
            current = name
        match = _DIM.fullmatch(rest)
        if not current or match is None:
            raise InputError(f"--dynamic {text!r}: cannot read {token!r}", hint=HINT)
        axes = found.setdefault(current, {})
        axis = int(match["axis"])
        if axis in axes:
            raise InputError(f"--dynamic {text!r}: axis {axis} of {current} is named twice")
        axes[axis] = match["name"] or ""
    return found


def to_dynamic_shapes(dynamic: Mapping[str, Mapping[int, str]]) -> dict[str, Any]:
    """``dynamic_shapes`` for the inputs named, to be made whole by ``complete_dynamic_shapes``."""
    from torch.export import Dim

    dims: dict[str, Any] = {}
    shapes: dict[str, Any] = {}
    for name, axes in dynamic.items():
        shapes[name] = {
            axis: dims.setdefault(label, Dim(label)) if label else Dim.DYNAMIC
            for axis, label in axes.items()
        }
    return nest(shapes)


def complete_dynamic_shapes(
    shapes: Any, module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Makes a partial ``{input: {axis: Dim}}`` whole: every argument passed gets an entry.

    Inputs not named are static, negative axes count from the end, positions (``"0"``) become
    argument names. Anything but a dict keyed by strings is returned as it is. Raises ``InputError``
    for an input or axis that does not exist.
    """
    if not isinstance(shapes, Mapping) or not all(isinstance(key, str) for key in shapes):
        return shapes
    signature = inspect.signature(module.forward)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise InputError(
            f"the example inputs do not fit {type(module).__name__}: {error}"
        ) from error
    positions = list(signature.parameters)
    named = {positions[int(k)] if _is_position(k, positions) else k: v for k, v in shapes.items()}
    values = dict(bound.arguments)
    for parameter in signature.parameters.values():  # **kwargs are named one by one
        if parameter.kind is parameter.VAR_KEYWORD and parameter.name not in named:
            extra = values.pop(parameter.name, {})
            values |= {key: value for key, value in extra.items() if key not in values}
    unknown = sorted(set(named) - set(values))
    if unknown:
        raise InputError(
            f"dynamic shapes name {', '.join(unknown)}, but the inputs are {', '.join(values)}",
            hint=HINT,
        )
    return {name: _entry(name, value, named.get(name)) for name, value in values.items()}


def _is_position(key: str, positions: list[str]) -> bool:
    return key.isdecimal() and int(key) < len(positions)


def _entry(name: str, value: Any, given: Any) -> Any:
    """The spec of one input: as given for an array, and completed inwards for containers."""
    if isinstance(value, Mapping) and (given is None or isinstance(given, Mapping)):
        inner = given or {}
        unknown = sorted(str(key) for key in set(inner) - set(value))
        if unknown:
            raise InputError(f"dynamic shapes name {name}.{unknown[0]}, which is no input")
        return {key: _entry(f"{name}.{key}", item, inner.get(key)) for key, item in value.items()}
    if isinstance(value, (tuple, list)) and (given is None or isinstance(given, (tuple, list))):
        items = given if given is not None else [None] * len(value)
        if len(items) != len(value):
            raise InputError(
                f"dynamic shapes of {name} have {len(items)} entries, not {len(value)}"
            )
        pairs = zip(value, items, strict=True)
        return type(value)(_entry(f"{name}.{i}", v, g) for i, (v, g) in enumerate(pairs))
    if isinstance(given, Mapping) and hasattr(value, "shape"):
        rank = len(value.shape)
        for axis in given:
            if not -rank <= axis < rank:
                raise InputError(f"axis {axis} of {name} does not exist: its rank is {rank}")
        return {axis % rank: dim for axis, dim in given.items()}
    return given
