"""run_benchmark: both sides at every size, interleaved and checked, as a report section."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..blas import BUNDLED, HINT
from . import machine, trees
from .check import TOLERANCES, BenchmarkError
from .load import OtherLoad
from .sides import Factory, MLXModel, MLXTimed, SourceModel, TorchModel
from .timing import Measured, Timed, measure

Progress = Callable[[str, float], None]

# A probe is short, and a large fused kernel may beat the one matmul that it timed.
PROBE_MARGIN = 1.5
# Other processes' share of the CPUs from which a note warns that timings are disturbed.
BUSY_SHARE = 0.15


@dataclass
class _Job:
    """What a run needs at every size."""

    mlx: MLXModel
    source: SourceModel | None
    stateful: bool
    compile_source: bool
    dtype: str | None
    tolerance: float | None
    min_time_s: float
    notes: list[str]

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def run_benchmark(
    mlx_callable_factory: Factory,
    torch_callable_factory: Factory | None,
    inputs: trees.Inputs,
    *,
    compile_torch: bool = False,
    batch_sizes: Sequence[int] | None = None,
    min_time_s: float = 1.0,
    progress: Progress | None = None,
    batched: Collection[str] | None = None,
    dtype: str | None = None,
    stateful: bool | None = None,
    random: bool = False,
    tolerance: float | None = None,
    flops: float | None = None,
    source: SourceModel | None = None,
) -> dict[str, Any]:
    """Time MLX (eager, compiled) against torch (eager, compiled) on the same inputs.

    Args:
        mlx_callable_factory: builds and loads the MLX module or function; its time is the load
            time, parameters evaluated.
        torch_callable_factory: builds the torch one (a module in ``eval`` mode), or ``None``.
        inputs: a mapping (keywords) or tuple (positions) of numpy arrays, nested as the model
            takes them; other leaves are passed as they are. float64 becomes float32 for MLX.
        compile_torch: also time ``torch.compile``.
        batch_sizes: sizes of dim 0 to time, rows repeated or cut; ``None`` times ``inputs`` as
            they are and counts throughput in calls. Give them only if dim 0 is dynamic.
        min_time_s: time to spend on each row, at least (and at least 5 runs).
        progress: called with (what runs, fraction done of the whole).
        batched: paths of the inputs that carry the batch on dim 0; default: all whose dim 0
            equals the first array's.
        dtype: cast floating inputs to it on both sides; default: the MLX parameters' if they are
            float16 or bfloat16, else none.
        stateful: whether a call changes what the model holds; ``None`` looks. Then nothing is
            compiled, and the sides' n-th calls are compared with each other.
        random: the model draws random numbers: outputs are compared by name and shape only.
        tolerance: largest difference as a fraction of the output's scale; default by dtype.
        flops: floating-point operations of one call at the sizes of ``inputs``; then a speed
            beyond 1.5 times a measured matmul's is an error.
        source: the source's side, loaded, in place of a torch callable (another runtime's, say).

    Returns:
        The ``benchmark`` section of a report (see docs/report-schema.md).

    Raises:
        BenchmarkError: an output differs from the other side's, or a figure is impossible.
        ValueError: ``batch_sizes`` without a batch dim.
    """
    tell = progress or (lambda what, fraction: None)
    tell("loading", 0.0)
    mlx_model = MLXModel(mlx_callable_factory)
    if source is None and torch_callable_factory is not None:
        source = TorchModel(torch_callable_factory)
    dtype = dtype or (mlx_model.dtype if mlx_model.dtype in ("float16", "bfloat16") else None)
    if stateful is None:
        stateful = mlx_model.holds_state(mlx_model.convert(inputs, dtype))
    with _same_precision(source):
        facts = machine.describe(source)
        limit = _tolerance(mlx_model, dtype, facts) if tolerance is None else tolerance
        job = _Job(
            mlx_model,
            source,
            stateful,
            compile_torch,
            dtype,
            None if random else limit,
            min_time_s,
            notes=[],
        )
        _note_setting(job, facts, random)
        with OtherLoad() as others:
            rows = _rows(job, inputs, batch_sizes, batched, tell)
        _note_load(job, others.cpus, facts["threads"]["cpus"])
        if flops:
            own = None if batch_sizes is None else trees.batched_inputs(inputs, batched)[0]
            probe = _check_speeds(rows, flops, own, job)
    section = {**facts, "dtype": dtype or mlx_model.dtype, "rows": rows, "ratios": ratios(rows)}
    if flops:
        section |= {"flops": flops, "matmul_gflops": probe}
    return {**section, "other_load_cpus": others.cpus, "notes": job.notes}


def ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many times faster (medians) each MLX row is than the source's of the same sizes."""
    out = []
    for row in rows:
        for base in rows:
            if not row["name"].startswith("mlx") or base["name"].startswith("mlx"):
                continue
            if row["sizes"] == base["sizes"]:
                speedup = base["median_ms"] / row["median_ms"]
                out.append(
                    {
                        "name": row["name"],
                        "against": base["name"],
                        "sizes": row["sizes"],
                        "speedup": speedup,
                    }
                )
    return out


def _rows(
    job: _Job,
    inputs: trees.Inputs,
    batch_sizes: Sequence[int] | None,
    batched: Collection[str] | None,
    tell: Progress,
) -> list[dict[str, Any]]:
    cases: list[tuple[int | None, trees.Inputs]] = [(None, inputs)]
    if batch_sizes is not None:
        if not batch_sizes or min(batch_sizes) < 1:
            raise ValueError(f"batch sizes must be 1 or more, got {list(batch_sizes)}")
        _, names = trees.batched_inputs(inputs, batched)
        cases = [(b, trees.with_batch(inputs, names, b)) for b in dict.fromkeys(batch_sizes)]
    rows: list[dict[str, Any]] = []
    for i, (batch, case) in enumerate(cases):
        label = f"batch {batch}" if batch is not None else "timing"

        def tick(fraction: float, i: int = i, label: str = label) -> None:
            tell(label, (i + fraction) / len(cases))

        rows += _at_one_size(job, case, batch, tick)
    return rows


def _at_one_size(
    job: _Job, inputs: trees.Inputs, batch: int | None, tick: Callable[[float], None]
) -> list[dict[str, Any]]:
    sides = _sides(job, inputs)
    # A stateful model has been called once by now: on every side, so that they stay in step.
    peaks = {side.name: side.first_call() for side in sides}
    measured = measure(
        sides,
        tolerance=job.tolerance,
        min_time_s=job.min_time_s,
        paired=job.stateful,
        tick=tick,
    )
    return [_row(job, m, inputs, batch, peaks[m.side.name]) for m in measured]


def _sides(job: _Job, inputs: trees.Inputs) -> list[Timed]:
    sides: list[Timed] = []
    if job.source is not None:
        converted = job.source.convert(inputs, job.dtype)
        sides.append(job.source.timed(converted))
        if job.compile_source and job.source.compiles and not job.stateful:
            side = job.source.timed(converted, compiled=True)
            if _compiles(job, side):
                sides.append(side)
    arrays = job.mlx.convert(inputs, job.dtype)
    sides.append(MLXTimed(job.mlx, arrays, compiled=False))
    obstacle = machine.compile_obstacle()
    if obstacle:
        job.note(f"mlx compiled: not measured: {obstacle}")
    elif not job.stateful:
        compiled = MLXTimed(job.mlx, arrays, compiled=True)
        if _compiles(job, compiled):
            sides.append(compiled)
    return sides


def _compiles(job: _Job, side: Timed) -> bool:
    """Whether the compiled side runs at all; where it does not, a note says why."""
    try:
        side.call()
    except Exception as error:  # noqa: BLE001 (a compiler raises anything; the note tells it)
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        job.note(f"{side.name}: not measured: {type(error).__name__}: {first_line}")
        return False
    return True


def _row(
    job: _Job, m: Measured, inputs: trees.Inputs, batch: int | None, peak: int | None
) -> dict[str, Any]:
    if not m.median_s > 0:
        raise BenchmarkError(f"{m.side.name}: a median of {m.median_s} s is no measurement")
    model = job.mlx if isinstance(m.side, MLXTimed) else job.source
    assert model is not None
    return {
        "name": m.side.name,
        "sizes": trees.sizes(inputs),
        "batch": batch,
        "median_ms": m.median_s * 1e3,
        "p95_ms": m.p95_s * 1e3,
        "runs": len(m.seconds),
        "throughput_per_s": (1 if batch is None else batch) / m.median_s,
        "peak_memory_bytes": peak,
        "load_ms": model.load_ms,
    }


def _check_speeds(
    rows: list[dict[str, Any]], flops: float, own_batch: int | None, job: _Job
) -> dict[str, float]:
    """Add ``gflops`` to ``rows``; raise where one is beyond what the hardware's matmul reaches.

    ``flops`` counts a call of ``own_batch`` items; other batch sizes scale it.
    """
    kind = job.dtype or (job.mlx.dtype if job.mlx.dtype != "float64" else None) or "float32"
    probe = machine.matmul_gflops(kind, job.source)
    bound = PROBE_MARGIN * max(probe.values())
    for row in rows:
        scale = row["batch"] / own_batch if row["batch"] and own_batch else 1.0
        row["gflops"] = flops * scale / row["median_ms"] / 1e6
        if row["gflops"] > bound:
            raise BenchmarkError(
                f"{row['name']} at {row['sizes']}: {row['gflops']:.4g} GFLOP/s is beyond this "
                f"machine's limit of {bound:.4g} ({PROBE_MARGIN} x its matmul)"
            )
    return probe


def _tolerance(model: MLXModel, dtype: str | None, facts: dict[str, Any]) -> float:
    kind = dtype or model.dtype or "float32"
    if kind == "float32" and facts["device"]["tf32"]:
        kind = "tf32"
    return TOLERANCES[kind]


def _note_setting(job: _Job, facts: dict[str, Any], random: bool) -> None:
    device = facts["device"]
    if job.stateful:
        job.note("The model changes its own state in a call: timed eagerly only, call by call.")
    if random:
        job.note("The model draws random numbers: outputs were compared by name and shape only.")
    source, where = job.source, "" if job.source is None else job.source.where
    if source is not None and (where == "cpu") != (device["mlx"] == "cpu"):
        job.note(f"Not the same device: MLX ran on {device['mlx']}, {source.library} on {where}.")
    if device["tf32"]:
        sides = "in MLX" if source is not None and where == "cpu" else "on both sides"
        job.note(f"float32 products use TF32 {sides} (MLX_ENABLE_TF32=0 turns it off).")
    if facts["blas"] == BUNDLED and device["mlx"] == "cpu":
        job.note(f"MLX ran on its slow bundled BLAS: {HINT}.")


def _note_load(job: _Job, others: float | None, cpus: int) -> None:
    if others is not None and others > BUSY_SHARE * cpus:
        job.note(
            f"The machine was busy: other processes used {others:.1f} of {cpus} CPUs meanwhile. "
            "Threads that wait for each other suffer most; repeat it on an idle machine."
        )


@contextmanager
def _same_precision(source: SourceModel | None) -> Iterator[None]:
    """torch's float32 matmul precision on CUDA set to what MLX uses, and put back."""
    if machine.torch_device(source) != "cuda" or machine.mlx_backend() != "cuda":
        yield
        return
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if machine.tf32(None) else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
