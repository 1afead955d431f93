"""An ONNX model with example inputs and what the original makes of them, ready for conversion."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from pytorch_to_mlx.capture.onnx.capture import capture_onnx
from pytorch_to_mlx.capture.onnx.cast import cast_model
from pytorch_to_mlx.capture.onnx.examples import accepted
from pytorch_to_mlx.capture.onnx.fold import fold_quantized
from pytorch_to_mlx.capture.onnx.load import read_model
from pytorch_to_mlx.capture.onnx.program import OnnxProgram
from pytorch_to_mlx.capture.onnx.recast import recast_model
from pytorch_to_mlx.capture.onnx.reference import OnnxReference, said, with_tensors
from pytorch_to_mlx.capture.program import Captured
from pytorch_to_mlx.capture.reference import ReferenceOutput
from pytorch_to_mlx.errors import CaptureError, InputError, SourceError
from pytorch_to_mlx.graph.dims import is_static
from pytorch_to_mlx.sources.trial import attempt

#: Names that exporters number rather than choose.
_NUMBERED = re.compile(r"(s\d+|unk.*|\?|.*_dim_\d+|None|.*\W.*)")


def capture_source(
    source: str | os.PathLike[str] | onnx.ModelProto,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    dynamic_shapes: Any,
    dtype: str | None,
    fold: float | None = None,
) -> Captured:
    """:func:`capture_model` for the options of a conversion.

    Raises:
        InputError: an option is not for ONNX models.
    """
    if dynamic_shapes not in ("auto", None):
        raise InputError(
            "an ONNX model says itself which sizes vary",
            hint="leave the sizes out, or fix them all",
        )
    return capture_model(
        source, args, kwargs, static=dynamic_shapes is None, dtype=dtype, fold=fold
    )


def capture_model(
    source: str | os.PathLike[str] | onnx.ModelProto,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    static: bool = False,
    dtype: str | None = None,
    fold: float | None = None,
) -> Captured:
    """Captures a model at the given inputs (positional, or by the model's names for them), else at
    drawn ones. ``static`` fixes every size to the examples'; ``dtype`` captures a copy of the model
    in that precision; ``fold`` one whose products take its 8-bit weights as they are, and is the
    limit of what that may move the outputs by.

    A file is foreign data: all of this is tried in a process of its own first. A ``ModelProto`` is
    what the caller made.

    Raises:
        SourceError, InputError, CaptureError: by what is wrong.
    """
    if not isinstance(source, onnx.ModelProto):
        _try(Path(source), args, kwargs or {}, static=static, dtype=dtype, fold=fold)
    return _captured(source, args, kwargs or {}, static, dtype, fold)


def _try(path: Path, args: Sequence[Any], kwargs: Mapping[str, Any], **options: Any) -> None:
    """Captures a file in a child whose time and memory are bounded."""
    request = {
        "path": str(path.absolute()),
        "args": [as_numpy(v) for v in args],
        "kwargs": {k: as_numpy(v) for k, v in kwargs.items()},
        **options,
    }

    def refused(reason: str) -> SourceError:
        return SourceError(
            f"{path} cannot be read and run as an ONNX model: {reason}",
            hint="is it damaged? Pass smaller inputs (--shapes) if it is only large or slow",
        )

    size = path.stat().st_size if path.is_file() else 0
    attempt(f"{__name__}:trial", request, size=size, refused=refused, needs=["onnxruntime"])


def trial(path: str, args: Sequence[Any], kwargs: Mapping[str, Any], **options: Any) -> None:
    """What the child does: all that is done with the file before its graph is lowered."""
    _captured(path, args, kwargs, **options)


def _captured(
    source: str | os.PathLike[str] | onnx.ModelProto,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    static: bool,
    dtype: str | None,
    fold: float | None,
) -> Captured:
    model, _ = read_model(source)
    given = named_inputs(model, args, kwargs)
    captured = _at(source, given)
    folded: dict[str, Any] = {}
    written: Any = None
    if fold is not None:
        written = captured.reference()
        source, folded = _fold(captured, fold)
        captured = _at(source, given, name=captured.name)
    if dtype is not None and (cast := _cast(captured, dtype)) is not None:
        source = cast
        captured = _at(source, given, name=captured.name)
    if static:
        sized = _examples(captured, given)[0]
        captured = _at(source, given, _fixed(captured, sized), captured.name)
    _examples(captured, given)
    if written is not None:
        captured.folded, captured.as_written = folded, written
        written.examples = captured.example_inputs
    return captured


def _fold(captured: Captured, limit: float) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The captured model with its 8-bit products folded, and what was.

    Raises:
        InputError: there is none.
    """
    program: OnnxProgram = captured.program
    found = fold_quantized(with_tensors(program.model, program))
    if not found.folded:
        some = "; ".join(f"{n}: {why}" for n, why in list(found.left.items())[:4])
        raise InputError(
            f"the model has no product by 8-bit weights that MLX could take ({some or 'none'})",
            hint="leave quantize='source' out: it is converted as written",
        )
    return found.model, {"limit": limit, "products": found.folded, "left": found.left}


def _cast(captured: Captured, dtype: str) -> onnx.ModelProto | None:
    """The captured model with its tensors inside, in ``dtype``; ``None`` where it is that already.

    Raises:
        CaptureError: it is too large, or ONNX has no such model.
    """
    program: OnnxProgram = captured.program
    if captured_dtype(program) == dtype:
        return None
    return cast_model(with_tensors(program.model, program), dtype)


def _at(
    source: Any,
    given: Mapping[str, Any],
    sizes: Mapping[str, tuple[int, ...]] | None = None,
    name: str = "",
) -> Captured:
    captured = capture_onnx(source, given, name=name, sizes=sizes)
    program: OnnxProgram = captured.program
    original = source if isinstance(source, onnx.ModelProto) else Path(source)
    if isinstance(original, onnx.ModelProto):
        kept = onnx.ModelProto()
        kept.CopyFrom(original)  # it may change in the caller's hands
        original = kept

    def make(dtype: str | None, weights: Mapping[Any, Any] | None = None) -> OnnxReference:
        if dtype is None or dtype == captured_dtype(program):
            return OnnxReference(original, program, captured.example_inputs)
        return OnnxReference(original, program, captured.example_inputs, dtype)

    captured.make_reference = make  # type: ignore[assignment]
    return captured


def widened(captured: Captured) -> Captured:
    """The same model in float32, at the same example inputs."""
    reference: Any = captured.reference()
    model = recast_model(with_tensors(reference.model(), captured.program), "float32")
    twin = _at(model, {}, name=captured.name)
    twin.example_inputs.update(captured.example_inputs)
    twin.example_outputs = twin.reference()()
    _set_sizes(twin)
    return twin


def captured_dtype(program: OnnxProgram) -> str:
    """The floating element type that most of the initializers' numbers have."""
    counts: dict[str, int] = {}
    for t in program.initializers.values():
        if t.element.startswith(("float", "bfloat")):
            counts[t.element] = counts.get(t.element, 0) + t.array.size
    return max(counts, key=lambda k: counts[k]) if counts else "float32"


def _examples(
    captured: Captured, given: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], list[ReferenceOutput]]:
    """Fills in example inputs, what the original makes of them, and the sizes of symbols."""
    program: OnnxProgram = captured.program
    reference = captured.reference()
    if given:
        inputs = _leaf_values(program, given)
        missing = sorted(set(captured.input_names) - set(inputs))
        if missing:
            raise InputError(f"the input {missing[0]!r} is missing")
        captured.example_inputs.update(inputs)
        try:
            outputs = reference()
        except CaptureError:
            raise
        except Exception as error:
            raise InputError(f"the model refuses these inputs: {said(error)}") from error
    else:

        def run(inputs: dict[str, np.ndarray]) -> Any:
            captured.example_inputs.clear()
            captured.example_inputs.update(inputs)
            return reference()

        inputs, outputs = accepted(program, run)
    captured.example_outputs = outputs
    _set_sizes(captured)
    return inputs, outputs


def _set_sizes(captured: Captured) -> None:
    """The examples' sizes of symbols, and the names that the model gives them."""
    program: OnnxProgram = captured.program
    by_symbol = {str(s): param for param, s in program.symbols.items()}
    for name, info in captured.dims["symbols"].items():
        where, _, axis = info["where"][0].rpartition(":")
        info["size"] = int(captured.example_inputs[where].shape[int(axis)])
        param = by_symbol.get(name, "")
        chosen = param.isidentifier() and not _NUMBERED.fullmatch(param) and param == name
        if chosen and name in program.named_sizes:
            for place in info["where"]:
                at, _, number = place.rpartition(":")
                captured.size_names[(at, int(number))] = name


def _leaf_values(program: OnnxProgram, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}

    def visit(tree: Any, name: str, value: Any) -> None:
        if tree.kind == "leaf":
            out[name] = np.asarray(value)
        for i, child in enumerate(tree.children):
            visit(child, f"{name}.{i}", value[i])

    for spec in program.inputs:
        if spec.name in given:
            visit(spec.tree, spec.argument, given[spec.name])
    _check(program, out)
    return out


def _check(program: OnnxProgram, values: Mapping[str, np.ndarray]) -> None:
    """Ranks and declared sizes."""
    for spec in program.inputs:
        if spec.tree.kind != "leaf" or spec.argument not in values:
            continue
        dims, shape = spec.leaves[spec.tree.index][1], values[spec.argument].shape
        fits = len(dims) == len(shape) and all(
            not is_static(d) or int(d) == n for d, n in zip(dims, shape, strict=True)
        )
        if not fits:
            wanted = [int(d) if is_static(d) else str(d) for d in dims]
            raise InputError(f"the input {spec.name!r} must have shape {wanted}, got {shape}")


def named_inputs(
    model: onnx.ModelProto, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The user's inputs by the model's names, as numpy arrays.

    Raises:
        InputError: there are too many, or one of an unknown name.
    """
    held = {t.name for t in model.graph.initializer}
    names = [i.name for i in model.graph.input if i.name not in held]
    if len(args) > len(names):
        raise InputError(f"the model takes {len(names)} inputs, got {len(args)}")
    plain = {re.sub(r"[^0-9A-Za-z_]+", "_", n).strip("_"): n for n in names}
    out = {n: as_numpy(v) for n, v in zip(names, args, strict=False)}
    for key, value in kwargs.items():
        name = key if key in names else plain.get(key)
        if name is None:
            raise InputError(f"the model takes no input {key!r}; it takes {', '.join(names)}")
        out[name] = as_numpy(value)
    return out


def as_numpy(value: Any) -> Any:
    """Arrays of numpy, MLX and torch as numpy; sequences element by element."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)) and any(hasattr(v, "shape") for v in value):
        return [as_numpy(v) for v in value]
    if type(value).__module__.partition(".")[0] == "torch":
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        return value.numpy()
    if type(value).__module__.startswith("mlx"):
        import mlx.core as mx

        value = value.astype(mx.float32) if value.dtype == mx.bfloat16 else value
    return np.asarray(value)


def _fixed(captured: Captured, sized: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Sizes of the plain inputs by the model's names."""
    return {
        spec.name: tuple(sized[spec.argument].shape)
        for spec in captured.program.inputs
        if spec.tree.kind == "leaf"
    }
