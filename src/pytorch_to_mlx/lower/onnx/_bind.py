"""Gives a lowering what its parameters ask for: inputs by position, attributes by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pytorch_to_mlx.lower.onnx._common import array, ints, number, weight
from pytorch_to_mlx.lower.onnx._values import Known
from pytorch_to_mlx.lower.registry import Lowering, Unsupported

_PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "Known": (Known,),
}
_KINDS = {"Value": array, "Weight": weight, "Ints": ints, "Number": number}


@cache
def _signature(lowering: Lowering) -> inspect.Signature:
    return inspect.signature(lowering)


def bind(
    lowering: Lowering, inputs: Sequence[Any], attributes: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments for the call; inputs are brought to the kind that the annotation names.

    Raises:
        Unsupported: the lowering knows no such attribute, it is of another kind, or an input is
            missing.
    """
    signature = _signature(lowering)
    positional = [
        p
        for p in signature.parameters.values()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
    ]
    args: list[Any] = []
    at = 0
    for value in inputs:
        if at >= len(positional):
            raise Unsupported(f"{len(inputs)} inputs")
        parameter = positional[at]
        args.append(_brought(value, str(parameter.annotation)))
        at += parameter.kind != parameter.VAR_POSITIONAL
    kwargs = dict(attributes)
    for name, value in kwargs.items():
        wanted = signature.parameters.get(name)
        if wanted is not None and not _fits(value, str(wanted.annotation)):
            raise Unsupported(f"the attribute {name} is a {type(value).__name__}")
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise Unsupported(str(error)) from error
    return args, kwargs


def _brought(value: Any, annotation: str) -> Any:
    if value is None:
        if "None" in annotation or annotation == "Any":
            return None
        raise Unsupported("a required input is absent")
    convert = _KINDS.get(annotation.removesuffix(" | None"))
    return value if convert is None else convert(value)


def _fits(value: Any, annotation: str) -> bool:
    """Whether an attribute is of the kind that a parameter is annotated with."""
    kind = annotation.removesuffix(" | None")
    if kind in _PLAIN:
        return isinstance(value, _PLAIN[kind])
    if kind.startswith("tuple["):
        each = _PLAIN[kind.removeprefix("tuple[").removesuffix(", ...]")]
        return isinstance(value, tuple) and all(isinstance(v, each) for v in value)
    return True
