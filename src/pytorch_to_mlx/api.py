"""The public functions: convert, load, analyze, validate, benchmark, quantize."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx import memory, reporting
from pytorch_to_mlx.converted import Converted
from pytorch_to_mlx.custom.load import CustomOp, check_provable, load_ops
from pytorch_to_mlx.custom.provide import provide, provide_by_agent
from pytorch_to_mlx.errors import CaptureError, InputError, LoweringError
from pytorch_to_mlx.footprint import memory_estimate
from pytorch_to_mlx.package.config import build_config
from pytorch_to_mlx.package.folder import beside, check_target
from pytorch_to_mlx.package.run import Package
from pytorch_to_mlx.package.writer import Job, write_package
from pytorch_to_mlx.progress import Progress, as_progress
from pytorch_to_mlx.quantize.recipe import fold_limit, wanted_recipe
from pytorch_to_mlx.quantize.run import quantize_package

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.program import Captured
    from pytorch_to_mlx.custom.agent.chat import Agent
    from pytorch_to_mlx.graph import Graph
    from pytorch_to_mlx.passes.base import PassReport
    from pytorch_to_mlx.sources.detect import OpenedSource

_TOO_LARGE = "free some memory, or convert on a larger machine"
DTYPES = ("float32", "float16", "bfloat16")


def convert(
    source: Any,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    *,
    dynamic_shapes: Any = "auto",
    dtype: str | None = None,
    quantize: Any = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    trust_code: bool = False,
    progress: Any = None,
    model: Any = None,
    method: str | None = None,
    fold_batch_norm: bool = True,
    quantize_options: Mapping[str, Any] | None = None,
    ops: Any = None,
    agent: Agent | None = None,
) -> Converted:
    """Converts a model to a package of readable ``mlx.nn`` code and weights.

    Args:
        source: an ``nn.Module``, an ``ExportedProgram``, an ``onnx.ModelProto``, or a path
            (``.pt2``, ``.onnx``, ``.pt``/``.pth``, ``file.py:factory``).
        args, kwargs: example inputs, as for ``torch.export.export``; an ONNX model's inputs by
            position or name, drawn where none are given.
        dynamic_shapes: ``"auto"`` (every dimension the model accepts at other sizes), ``None``
            (static), or a ``torch.export`` specification.
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"`` for the floating weights; the
            checkpoint's by default.
        quantize: 8, 4, ``"mixed"``, ``"mxfp4"``, ``"mxfp8"``, ``"nvfp4"`` or a recipe, as for
            :func:`quantize`; ``"source"``: the 8-bit weights of an ONNX model in quantized layers.
        output: folder to write; without it the package lives in a temporary folder until ``save``.
        overwrite: replace an existing package at ``output``.
        trust_code: allow whole-module pickles, which run code when loaded.
        progress: a callable ``(stage, done, total)`` or a
            :class:`~pytorch_to_mlx.progress.Progress`.
        model: for a state dict: ``file.py:factory``, a callable or a module that takes the weights.
        method: convert this method instead of ``forward``.
        fold_batch_norm: fold batch norms into the convolutions before them.
        quantize_options: options of :func:`quantize` (``group_size``, ``include``, ...).
        ops: a file (or several), or functions, marked with :func:`pytorch_to_mlx.implements`: the
            MLX forms of ops that the converter does not know. Each is proven against its op first.
        agent: whom to ask for ops that are still unknown (docs/custom_ops.md); nobody by default.

    Returns:
        The converted model, callable.

    Raises:
        SourceError, InputError, CaptureError, LoweringError, CodegenError, WeightError,
            OutputError: by stage.
    """
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r} is unknown", hint=f"choose one of {', '.join(DTYPES)}")
    if output is not None:
        check_target(Path(output), overwrite=overwrite)
    options = dict(quantize_options or {})
    fold = fold_limit(quantize, options)
    recipe = None if fold is not None else wanted_recipe(quantize, options)
    bars = as_progress(progress)
    timings = reporting.Timings()
    given = load_ops(ops)
    opened, captured = _capture(
        source,
        args,
        kwargs,
        dynamic_shapes,
        dtype=dtype,
        trust_code=trust_code,
        model=model,
        method=method,
        bars=bars,
        timings=timings,
        fold=fold,
        given=given,
    )
    provide(captured, given)
    if agent is not None:
        provide_by_agent(captured, agent, print)
    first = output if recipe is None else None  # a temporary folder, to be quantized from
    converted = _convert(
        opened, captured, first, bars, timings, overwrite=overwrite, fold=fold_batch_norm
    )
    if recipe is None:
        return converted
    return quantize_package(
        converted, recipe, output=output, overwrite=overwrite, progress=progress, **options
    )


def convert_captured(
    captured: Captured, *, fold_batch_norm: bool = True, progress: Any = None
) -> Converted:
    """Converts a program that is captured already, into a temporary folder."""
    from pytorch_to_mlx.sources.detect import OpenedSource

    opened = OpenedSource("exported_program", f"{captured.name} (captured)")
    bars = as_progress(progress)
    return _convert(
        opened, captured, None, bars, reporting.Timings(), overwrite=False, fold=fold_batch_norm
    )


def _convert(
    opened: OpenedSource,
    captured: Captured,
    output: str | Path | None,
    bars: Progress,
    timings: reporting.Timings,
    *,
    overwrite: bool,
    fold: bool,
) -> Converted:
    with timings("lower"), bars.stage("lower"):
        graph = _lower(captured)
    source_ops = reporting.op_counts(graph)
    with timings("passes"), bars.stage("optimise"):
        reports = _optimise(graph, captured, fold_batch_norm=fold)
    with timings("codegen"), bars.stage("write code"):
        job = _job(graph, captured, opened)
    report = reporting.conversion_report(opened, captured, graph, job, reports, source_ops)
    if output is None:
        temporary = tempfile.TemporaryDirectory(prefix="p2m_")
        folder = Path(temporary.name) / "model_mlx"
        folder.mkdir()
        converted = _finish(folder, job, report, graph, timings, bars, temporary)
    else:
        with beside(Path(output), overwrite=overwrite) as work:
            _finish(work, job, report, graph, timings, bars, None)
        converted = Converted(Path(output), report, captured=captured, graph=graph)
    converted.fold_batch_norm = fold
    return converted


def _capture(
    source: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None,
    dynamic_shapes: Any,
    *,
    dtype: str | None,
    trust_code: bool,
    model: Any,
    method: str | None,
    bars: Progress,
    timings: reporting.Timings,
    fold: float | None = None,
    given: Sequence[CustomOp] = (),
) -> tuple[OpenedSource, Captured]:
    from pytorch_to_mlx.sources.detect import open_source

    with timings("open"), bars.stage("open"):
        chosen = {"trust_code": trust_code, "model_factory": model, "method": method}
        opened = open_source(source, (args, kwargs), **chosen)
    if fold is not None and opened.kind != "onnx":
        raise InputError("quantize='source' is for ONNX models, whose weights may be codes")
    if opened.kind == "onnx":
        check_provable(given)
        from pytorch_to_mlx.capture.onnx.source import capture_source

        with timings("capture"), bars.stage("capture"):
            captured = capture_source(opened.onnx, args, kwargs, dynamic_shapes, dtype, fold)
    else:
        captured = _capture_torch(opened, args, kwargs, dynamic_shapes, dtype, bars, timings)
    tensors = captured.tensors.values()
    memory.require(
        memory.working_bytes(tensors),
        f"converting the largest of {memory.tensor_bytes(tensors):,} bytes of weights",
        _TOO_LARGE,
        CaptureError,
    )
    captured.warnings.extend(opened.notes)
    captured.warnings.extend(reporting.narrowed(captured))
    captured.warnings.extend(reporting.folded(captured))
    return opened, captured


def _capture_torch(
    opened: OpenedSource,
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None,
    dynamic_shapes: Any,
    dtype: str | None,
    bars: Progress,
    timings: reporting.Timings,
) -> Captured:
    from pytorch_to_mlx.capture.cast import cast_source
    from pytorch_to_mlx.capture.export import capture_module, capture_program
    from pytorch_to_mlx.codegen.size_names import asked_names

    if not args and not kwargs:
        args, kwargs = opened.args, dict(opened.kwargs)
    shapes = opened.dynamic_shapes if dynamic_shapes == "auto" else dynamic_shapes
    if dtype is not None:
        args, kwargs = cast_source(opened, args, dict(kwargs or {}), dtype)
    with timings("capture"), bars.stage("capture"):
        if opened.exported_program is not None:
            given = (tuple(args), dict(kwargs or {})) if args or kwargs else (None, None)
            captured = capture_program(opened.exported_program, *given)
        else:
            assert opened.module is not None
            captured = capture_module(
                opened.module, tuple(args), dict(kwargs or {}), dynamic_shapes=shapes
            )
        captured = _decompose(captured)
    captured.size_names = asked_names(shapes, captured.in_tree)
    return captured


def _decompose(captured: Captured) -> Captured:
    """Opens composite ops that have no lowering but a decomposition in torch."""
    from pytorch_to_mlx.capture.normalise import replace_program
    from pytorch_to_mlx.lower.aten import load_families
    from pytorch_to_mlx.lower.aten._decompose import decompose_unknown

    table = load_families()
    program = decompose_unknown(captured.program, lambda name: table.find(name) is not None)
    return captured if program is captured.program else replace_program(captured, program)


def _lower(captured: Captured) -> Graph:
    if captured.frontend == "onnx":
        from pytorch_to_mlx.lower.onnx._program import lower_model

        return lower_model(captured)
    from pytorch_to_mlx.lower.aten._program import lower_program

    return lower_program(captured)


def _optimise(graph: Graph, captured: Captured, *, fold_batch_norm: bool) -> list[PassReport]:
    from pytorch_to_mlx.package.writer import SourceTensors
    from pytorch_to_mlx.passes.evaluate import weights
    from pytorch_to_mlx.passes.pipeline import optimise

    with weights(SourceTensors(captured).find):
        return optimise(graph, fold_batch_norm=fold_batch_norm)


def _job(graph: Graph, captured: Captured, opened: OpenedSource) -> Job:
    from pytorch_to_mlx.codegen.size_names import name_sizes, renamed_dims
    from pytorch_to_mlx.codegen.source import emit

    name_sizes(graph, captured.size_names)
    captured.dims = renamed_dims(captured.dims, graph.size_names)
    code = emit(graph)
    versions = reporting.source_versions(captured)
    source = {"kind": opened.kind, "description": opened.description, "sha256": opened.sha256}
    config = build_config(graph, code, dims=captured.dims, source=source, versions=versions)
    kept = {
        name
        for name, p in code.weights.items()
        if not p.persistent or not _from_source(p, captured)
    }
    return Job(captured, code, config, kept)


def _from_source(p: Any, captured: Captured) -> bool:
    """Whether a weight is made of what files of the source hold (constants are the program's)."""
    return captured.frontend != "onnx" or set(p.sources) <= captured.persistent


def _finish(
    folder: Path,
    job: Job,
    report: dict[str, Any],
    graph: Graph,
    timings: reporting.Timings,
    bars: Progress,
    temporary: tempfile.TemporaryDirectory[str] | None,
) -> Converted:
    with timings("write"):
        write_package(folder, job, bars)
    report["timings"] = timings.seconds
    converted = Converted(folder, report, captured=job.captured, graph=graph, temporary=temporary)
    converted.write_report()
    return converted


def load(path: str | Path) -> Converted:
    """A saved package.

    Raises:
        SourceError: the folder is no package.
    """
    folder = Path(path)
    package = Package(folder)
    report_file = package.folder / "report.json"
    report = json.loads(report_file.read_text(encoding="utf-8")) if report_file.is_file() else {}
    report.pop("schema_version", None)
    return Converted(folder, report)


def analyze(
    source: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    """What converting would do, by a dry run of the real lowering and passes; nothing is written.

    Returns:
        The report's sections plus ``unsupported``: every op that cannot be converted.
    """
    timings = reporting.Timings()
    bars = as_progress(options.get("progress"))
    opened, captured = _capture(
        source,
        args,
        kwargs,
        options.get("dynamic_shapes", "auto"),
        dtype=options.get("dtype"),
        trust_code=options.get("trust_code", False),
        model=options.get("model"),
        method=options.get("method"),
        bars=bars,
        timings=timings,
    )
    provide(captured, load_ops(options.get("ops")))
    try:
        graph = _lower(captured)
    except LoweringError as error:
        return {
            **reporting.source_sections(opened, captured),
            "unsupported": [vars(o) for o in error.ops],
        }
    source_ops = reporting.op_counts(graph)
    reports = _optimise(graph, captured, fold_batch_norm=options.get("fold_batch_norm", True))
    job = _job(graph, captured, opened)
    report = reporting.conversion_report(opened, captured, graph, job, reports, source_ops)
    estimate = memory_estimate(graph, report["weights"]["bytes"], captured.dims)
    return {**report, "unsupported": [], "memory": estimate | reporting.conversion_memory(job)}


def validate(converted: Any, source: Any = None, **options: Any) -> Any:
    """Compares a package with its source; see :func:`pytorch_to_mlx.validate.run.validate`."""
    from pytorch_to_mlx.validate.run import validate as run

    if not isinstance(converted, Converted):
        converted = load(converted)
    return run(converted, source, **options)


def benchmark(converted: Any, source: Any = None, **options: Any) -> dict[str, Any]:
    """Times a package (and its source, where known); the ``benchmark`` section of the report."""
    from pytorch_to_mlx.benchmark.package import benchmark_package

    if not isinstance(converted, Converted):
        converted = load(converted)
    return benchmark_package(converted, source, **options)


def quantize(
    package: Converted | str | Path,
    quantize: Any,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Converted:
    """A quantized copy of a package, by ``mlx.nn.quantize``.

    Args:
        package: what ``convert`` or ``load`` returned, or a package folder.
        quantize: bits (8, 4, ...), ``"mixed"`` (8-bit attention, embeddings and head, the rest 4),
            ``"mxfp4"``, ``"mxfp8"``, ``"nvfp4"``, ``"auto"`` (4 or 8 bits by sensitivity, within
            ``budget_mb`` or ``bits_per_weight``, on the inputs of the file ``calibration`` or the
            recorded ones), or a recipe: a dict or a ``.json`` (docs/quantization.md).
        output: folder to write; without it the copy lives in a temporary folder until ``save``.
        overwrite: replace an existing package at ``output`` (``package`` itself, say).
        options: ``group_size`` (affine: 32, 64 or 128), ``include`` and ``exclude`` (globs over
            layers' paths), ``embeddings`` and ``head`` (``False`` leaves them as they are),
            ``limit`` (the largest error of an output against the original's, as a fraction of its
            norm; by bits if not given), ``progress``.

    Returns:
        The quantized package; ``report["quantization"]`` has its size, errors and speed, and every
        layer that stayed as it was, with the reason.

    Raises:
        InputError: the recipe does not fit the model, or it is quantized already.
        SourceError, OutputError: as ``load`` and ``convert``.
    """
    source = package if isinstance(package, Converted) else load(package)
    return quantize_package(source, quantize, output=output, overwrite=overwrite, **options)


__all__ = ["analyze", "benchmark", "convert", "load", "quantize", "validate"]
