"""``--args``, ``--shapes`` and ``--dynamic`` to what the API takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_to_mlx.cli.session import Session
from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.sources import (
    draw_arrays,
    draw_tensors,
    kinds,
    load_arrays,
    load_tensors,
    notes,
    open_source,
    parse_dynamic,
    parse_shapes,
    split_positional,
    to_dynamic_shapes,
)


def example_inputs(
    path: Path | None, shapes: str | None, seed: int, session: Session, source: Any = None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """``(args, kwargs)`` as torch tensors (numpy arrays for an ONNX source); both empty when the
    user gave none.

    Raises ``InputError``, also when both options are given.
    """
    if path is not None and shapes is not None:
        raise InputError("--args and --shapes exclude each other")
    plain = is_onnx(source)
    if path is not None:
        return split_positional(load_arrays(path)) if plain else load_tensors(path)
    if shapes is None:
        return (), {}
    specs = parse_shapes(shapes)
    for text in notes(specs):
        session.note(text)
    return split_positional(draw_arrays(specs, seed)) if plain else draw_tensors(specs, seed)


def is_onnx(source: Any) -> bool:
    """Whether a source is a file that holds an ONNX model."""
    if source is None or not Path(str(source)).is_file():
        return False
    return kinds.sniff(Path(str(source))) == kinds.ONNX


def dynamic_option(text: str | None) -> Any:
    """``{}`` if the option was not given, else the keyword ``dynamic_shapes`` for the API.

    Leaving it out lets a factory's own choice stand. Raises ``InputError``.
    """
    if text is None:
        return {}
    if text in ("auto", ""):
        return {"dynamic_shapes": "auto"}
    if text in ("none", "static"):
        return {"dynamic_shapes": None}
    return {"dynamic_shapes": to_dynamic_shapes(parse_dynamic(text))}


def open_original(
    source: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    trust_code: bool,
    model: str | None,
    method: str | None,
) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The live original and its inputs; the source's own examples stand in for absent ones.

    Raises ``SourceError`` and ``WeightError``.
    """
    opened = open_source(source, trust_code=trust_code, model_factory=model, method=method)
    if not (args or kwargs):
        args, kwargs = opened.args, opened.kwargs
    if opened.kind == "onnx":
        return opened.onnx, args, kwargs
    return opened.module or opened.exported_program, args, kwargs
