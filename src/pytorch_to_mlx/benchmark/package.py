"""Times a converted package against the model that it was converted from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from pytorch_to_mlx.benchmark.check import TOLERANCES, BenchmarkError
from pytorch_to_mlx.benchmark.original import Original, opened_original, original_of
from pytorch_to_mlx.benchmark.run import run_benchmark
from pytorch_to_mlx.benchmark.sides import SourceModel
from pytorch_to_mlx.benchmark.trees import with_batch
from pytorch_to_mlx.errors import CaptureError, InputError, ValidationError
from pytorch_to_mlx.package import arrays, trees
from pytorch_to_mlx.package.run import call_model, import_model
from pytorch_to_mlx.progress import as_progress

if TYPE_CHECKING:
    from pytorch_to_mlx.converted import Converted
    from pytorch_to_mlx.package.run import Package

BATCH_SIZES = (1, 2, 4, 8)
HALF = ("float16", "bfloat16")
GOLDEN = "golden.safetensors"
_UNCOUNTED = (
    "What the products of a call cost is not known (their sizes could not be found), so no timing "
    "was checked against what this machine's matmul reaches."
)
_WORD = re.compile(r"\w+")


def benchmark_package(
    converted: Converted,
    source: Any = None,
    *,
    compile: bool = False,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    batch_sizes: Sequence[int] | None = None,
    min_time_s: float = 0.5,
    progress: Any = None,
) -> dict[str, Any]:
    """Times the package's own ``model.py``, and the original beside it where there is one.

    The original is ``source``, or else the model that ``converted`` was captured from: a torch
    model in torch, an ONNX model in onnxruntime (its CPU provider). The inputs
    are ``args`` and ``kwargs``, nested as forward takes them, or else the example's.

    Args:
        converted: what ``convert`` or ``load`` returned.
        source: the original of a loaded package: anything that ``convert`` takes.
        compile: time ``torch.compile`` as well (of a torch model).
        args, kwargs: other inputs than the example's.
        batch_sizes: sizes of dim 0 to time; default 1, 2, 4 and 8 where dim 0 is dynamic.
        min_time_s: time to spend on each row, at least.
        progress: a callable ``(stage, done, total)`` or a ``Progress``.

    Returns:
        The ``benchmark`` section (docs/report-schema.md), which is also put into
        ``converted.report`` and written.

    Raises:
        ValidationError: the sides' outputs differ, or a figure is beyond the hardware.
        InputError: the inputs do not fit, or ``batch_sizes`` are given and dim 0 is static.
        SourceError: ``source`` cannot be opened.
    """
    package = converted.package
    inputs = _inputs(converted, args, dict(kwargs or {}))
    original = _original(converted, source, inputs)
    if original is not None:
        inputs = original.fitted(inputs)
    batched, sizes = _batch(package.config, batch_sizes)
    if source is not None and original is not None and sizes and not batch_sizes:
        refused = {b for b in sizes if not original.takes(with_batch(inputs, batched, b))}
        sizes = [b for b in sizes if b not in refused] or None  # it may be static where MLX is not
    dtype = package.config["dtype"]
    precision = package.config.get("precision", dtype)  # half, where the code itself casts to it
    notes: list[str] = []
    with as_progress(progress).stage("benchmark", 100) as stage:
        flops = original.flops(inputs) if original is not None else 0
        if flops is None:
            notes.append(_UNCOUNTED)
        with original.session() if original is not None else nullcontext():
            try:
                section = run_benchmark(
                    lambda: _Emitted(package, inputs),
                    None,
                    inputs,
                    source=_loaded(original, notes),
                    compile_torch=compile,
                    batch_sizes=sizes,
                    min_time_s=min_time_s,
                    progress=lambda _, done: stage.advance(round(done * 100) - stage.done),
                    batched=batched if sizes else None,
                    dtype=dtype if dtype in HALF else None,
                    tolerance=TOLERANCES[precision] if precision in HALF else None,
                    stateful=bool(package.config["states"]),
                    random="mx.random." in converted.code,
                    flops=flops or None,
                )
            except BenchmarkError as error:
                raise ValidationError(f"the benchmark cannot be trusted: {error}") from error
    section["notes"] += notes
    _set_load_time(section, original)
    converted.report["benchmark"] = section
    converted.write_report()
    return section


def _original(converted: Converted, source: Any, inputs: Mapping[str, Any]) -> Original | None:
    """The model to compare with: ``source`` if given, else the captured one, else none."""
    if source is not None:
        return opened_original(source, converted.package, inputs)
    captured = converted.captured
    return None if captured is None else original_of(captured, converted.package)


def _loaded(original: Original | None, notes: list[str]) -> SourceModel | None:
    """The original's side; where its runtime cannot run it, the package is timed alone."""
    if original is None:
        return None
    try:
        return original.side()
    except CaptureError as error:
        notes.append(f"the original: not measured: {error.message}")
        return None


def _set_load_time(section: dict[str, Any], original: Original | None) -> None:
    """torch's load time is that of opening its source; a model that was in memory has none."""
    for row in section["rows"]:
        if row["name"].startswith("torch") and original is not None:
            row["load_ms"] = original.load_ms
            if original.load_ms is None:
                del row["load_ms"]


# -- inputs ----------------------------------------------------------------------------------------


def _inputs(converted: Converted, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The inputs by their names in ``config.json``: arrays as numpy, host values as they are.

    bfloat16, which numpy lacks, is float32 here: the benchmark casts it back.
    """
    package = converted.package
    specs = package.config["inputs"]
    found: Mapping[str, Any]
    if args or kwargs:
        leaves = package.bind(args, kwargs)[1]
        found = {s["name"]: leaves[s["index"]] for s in specs}
    else:
        golden = mx.load(str(package.folder / GOLDEN))
        assert isinstance(golden, dict)
        found = {s["name"]: golden[f"call0.input.{s['name']}"] for s in specs}
    return {s["name"]: _host(found[s["name"]], s.get("kind", "array") == "array") for s in specs}


def _host(value: Any, is_array: bool) -> Any:
    if not isinstance(value, mx.array):
        return value
    if not is_array:
        return value.item()
    return np.array(value.astype(mx.float32) if value.dtype == mx.bfloat16 else value)


def _batch(
    config: Mapping[str, Any], wanted: Sequence[int] | None
) -> tuple[list[str], list[int] | None]:
    """The inputs whose dim 0 varies together, and the sizes to give it (``None``: it stays).

    Dim 0 counts as a batch if its symbol stands nowhere else in the inputs' shapes.
    """
    shapes = {i["name"]: i["shape"] for i in config["inputs"] if i.get("shape")}
    symbol = next((s[0] for s in shapes.values() if _is_symbol(s[0])), None)
    names = [name for name, shape in shapes.items() if shape[0] == symbol]
    others = [str(d) for n, s in shapes.items() for d in (s[1:] if n in names else s)]
    if symbol is None or any(symbol in _WORD.findall(d) for d in others):
        if wanted:
            raise InputError("batch sizes need an input whose dim 0 is dynamic, and only that")
        return [], None
    if wanted:
        return names, list(wanted)
    limits = config["dims"].get("symbols", {}).get(symbol, {})
    low, high = limits.get("min") or 1, limits.get("max") or max(BATCH_SIZES)
    step = limits.get("multiple_of") or 1
    return names, [b for b in BATCH_SIZES if low <= b <= high and b % step == 0] or None


def _is_symbol(dim: Any) -> bool:
    return isinstance(dim, str) and dim.isidentifier()


# -- the MLX side ----------------------------------------------------------------------------------


class _Emitted(nn.Module):
    """The package's model, freshly loaded; takes its inputs by their names in ``config.json``."""

    def __init__(self, package: Package, inputs: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = import_model(package.folder).load(package.folder)
        self._names = {i["index"]: i["name"] for i in package.config["inputs"]}
        self._nests = [c for c in package.in_tree.children if any(True for _ in c.leaves())]
        self._casts = _integer_casts(package, inputs)

    def __call__(self, **leaves: Any) -> Any:
        for name, dtype in self._casts.items():
            leaves[name] = leaves[name].astype(dtype)
        names = self._names
        return call_model(
            self.model, [trees.rebuild(n, lambda i: leaves[names[i]]) for n in self._nests]
        )


def _integer_casts(package: Package, inputs: Mapping[str, Any]) -> dict[str, mx.Dtype]:
    """Integer inputs that the package takes in another width than they come in."""
    casts = {}
    for spec in package.config["inputs"]:
        value = inputs[spec["name"]]
        if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
            wanted = arrays.matched(
                arrays.to_mlx(value[:0] if value.ndim else value), spec["dtype"]
            )
            if str(wanted.dtype).rpartition(".")[2] != value.dtype.name:
                casts[spec["name"]] = wanted.dtype
    return casts
