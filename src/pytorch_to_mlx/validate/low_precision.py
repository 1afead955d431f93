"""Half precision: first the same model in float32 is proven, then errors are judged by torch's own.

The error of the package against the original in float32 may be at most twice what the original
itself shows in that precision (plus one rounding of the output), over all cases together: the
largest error of few numbers is a matter of luck.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytorch_to_mlx.progress import Progress
from pytorch_to_mlx.validate.cases import Cases
from pytorch_to_mlx.validate.compare import FLOOR, Array, Comparison, compare, is_inexact, measure
from pytorch_to_mlx.validate.inputs import Inputs
from pytorch_to_mlx.validate.result import Case, ValidationReport
from pytorch_to_mlx.validate.subject import (
    PackageFailed,
    SourceRefuses,
    Subject,
    examples_of,
)

if TYPE_CHECKING:
    import torch

    from pytorch_to_mlx.converted import Converted

FACTOR = 2.0
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


@dataclass
class _Errors:
    """An output's errors against float32 so far, of the package and of torch."""

    package: float = 0.0
    torch: float = 0.0
    package_squares: float = 0.0
    torch_squares: float = 0.0
    count: int = 0
    scale: float = 0.0
    reason: str | None = None


def validate_low(
    subject: Subject,
    converted: Converted,
    source: Any,
    tolerance: float,
    seed: int,
    bars: Progress,
    *,
    quick: bool,
    sizes: Sequence[Mapping[str, int]],
) -> ValidationReport:
    """The proof in float32 (its cases come first), then this precision beside torch's own."""
    from pytorch_to_mlx.validate.run import prove

    dtype = str(converted.config["dtype"])
    twin = float32_twin(subject, source, bars)
    plain = Subject(twin.package, twin.captured, examples_of(twin.package, twin.captured))
    report = prove(plain, twin, tolerance, seed, bars, quick=quick, sizes=())
    converted.report["plots"] = twin.report.pop("plots", [])
    for case in report.cases:
        case.name = f"float32: {case.name}"
    _keep_repro(twin, converted, report)
    with bars.stage(f"validate {dtype}"):
        cases, report.low_precision = judge(subject, dtype, seed, sizes)
    report.cases += cases
    return report


def _keep_repro(twin: Converted, converted: Converted, report: ValidationReport) -> None:
    """The script that shows a fault belongs to the package that the user has."""
    name = (report.bisect or {}).get("repro")
    if name:
        text = (twin.path / name).read_text(encoding="utf-8")
        (converted.path / name).write_text(text, encoding="utf-8")


# -- the same model in float32 -------------------------------------------------------------------


def float32_twin(subject: Subject, source: Any, bars: Progress) -> Converted:
    """A float32 conversion of the source, or without it of the captured program."""
    from pytorch_to_mlx.api import convert

    args, kwargs, program = captured_module(subject)
    if source is not None:
        return convert(source, args, kwargs, dtype="float32", progress=bars)
    return convert(program, args, kwargs, progress=bars)


def captured_module(subject: Subject) -> tuple[tuple[Any, ...], dict[str, Any], torch.nn.Module]:
    """The captured program as a float32 module, and example arguments in float32."""
    import torch
    import torch.utils._pytree as pytree

    captured = subject.captured
    assert captured is not None
    program = captured.program
    leaves: list[Any] = []
    for name, arg in zip(captured.input_names, _user_specs(program), strict=True):
        value = captured.example_inputs.get(name, getattr(arg, "value", None))
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            value = value.detach().float()
        leaves.append(value)
    args, kwargs = pytree.tree_unflatten(leaves, program.call_spec.in_spec)
    module = program.module(check_guards=False)
    for refusing in ("train", "eval"):  # torch forbids them on programs, which have no such modes
        module.__dict__.pop(refusing, None)
    _widen(module)
    return tuple(args), dict(kwargs), module


def _user_specs(program: Any) -> list[Any]:
    from torch.export.graph_signature import InputKind

    specs = program.graph_signature.input_specs
    return [s.arg for s in specs if s.kind == InputKind.USER_INPUT]


def _widen(module: Any) -> None:
    """Makes a traced module float32: its tensors (as copies) and the dtypes its calls name."""
    import torch
    import torch.fx as fx

    low = (torch.float16, torch.bfloat16)
    for sub in module.modules():
        for store in (sub._parameters, sub._buffers, sub.__dict__):
            for name, value in list(store.items()):
                if isinstance(value, torch.Tensor) and value.dtype in low:
                    wide = value.detach().float()
                    store[name] = (
                        torch.nn.Parameter(wide, False) if store is sub._parameters else wide
                    )
        if isinstance(sub, fx.GraphModule):
            for node in sub.graph.nodes:
                node.args = fx.node.map_aggregate(node.args, _wide_dtype)
                node.kwargs = fx.node.map_aggregate(node.kwargs, _wide_dtype)
            sub.graph.eliminate_dead_code()
            sub.recompile()


def _wide_dtype(arg: Any) -> Any:
    import torch

    return torch.float32 if arg in (torch.float16, torch.bfloat16) else arg


# -- beside torch's own --------------------------------------------------------------------------


def judge(
    subject: Subject, dtype: str, seed: int, sizes: Sequence[Mapping[str, int]]
) -> tuple[list[Case], dict[str, Any]]:
    """Cases with errors against the original in float32, and the ``low_precision`` section."""
    cases = Cases(subject, FACTOR, seed)
    compared: list[Case] = []
    errors: dict[str, _Errors] = {}
    for case in cases.plan(quick=True, extra=sizes):
        case.name = f"{dtype}: {case.name}"
        case.dtype = dtype
        case.calls = [rounded(c, subject) for c in case.calls]
        _measure(subject, case, errors)
        compared.append(case)
    rows = {name: _verdict(name, e, dtype) for name, e in errors.items()}
    for case in compared:
        for output in case.outputs:
            row = rows[output.name.partition(" (call ")[0]]
            output.ok = output.ok and not row["failed"]
            output.reason = output.reason or row["reason"]
    failed = [name for name, row in rows.items() if row["failed"]]
    section = {
        "dtype": dtype,
        "factor": FACTOR,
        "outputs": list(rows.values()),
        "failed": failed,
        "reasons": [f"{n}: {rows[n]['reason']}" for n in failed],
    }
    return compared, section


def rounded(inputs: Inputs, subject: Subject) -> Inputs:
    """Inputs as the model's input dtypes hold them, so that all sides see the same numbers."""
    import torch

    out = dict(inputs)
    for spec in subject.package.config["inputs"]:
        value = inputs[spec["name"]]
        if isinstance(value, np.ndarray) and spec.get("dtype") in EPSILON:
            low = torch.from_numpy(np.array(value)).to(getattr(torch, spec["dtype"]))
            out[spec["name"]] = low.float().numpy()
    return out


def _measure(subject: Subject, case: Case, errors: dict[str, _Errors]) -> None:
    """Runs the three sides of a case and adds to each output's errors."""
    try:
        exact = subject.run_source(case.calls, "float32")
        own = subject.run_source(case.calls)
        package = subject.run_package(case.calls)
    except (SourceRefuses, PackageFailed) as error:
        case.outputs.append(Comparison("all", False, str(error)))
        errors["all"] = _Errors(reason=str(error))
        return
    for k, (e, o, p) in enumerate(zip(exact, own, package, strict=True)):
        for name in e:
            label = name if len(exact) == 1 else f"{name} (call {k + 1})"
            # Structure, dtype and non-finite places are torch's in this precision: no values yet.
            found = compare(label, o[name], p.get(name), math.inf)
            total = errors.setdefault(name, _Errors())
            if found.max_abs is None:
                total.reason = total.reason or found.reason
            else:
                _add(total, found, e[name], o[name], p[name])
            case.outputs.append(found)


def _add(total: _Errors, found: Comparison, exact: Array, own: Array, package: Array) -> None:
    if not is_inexact(own.dtype):
        total.package += int((package.values != exact.values).sum())
        total.torch += int((own.values != exact.values).sum())
        found.ok, found.reason = True, None  # the count over all cases decides
        return
    if not found.ok:
        total.reason = total.reason or found.reason
    measure(found, exact.values, package.values)
    mine, theirs = _finite_errors(exact, package), _finite_errors(exact, own)
    total.package = max(total.package, float(mine.max(initial=0.0)))
    total.torch = max(total.torch, float(theirs.max(initial=0.0)))
    total.package_squares += float((mine**2).sum())
    total.torch_squares += float((theirs**2).sum())
    total.count += mine.size
    total.scale = max(total.scale, found.scale or 0.0)


def _finite_errors(exact: Array, other: Array) -> np.ndarray:
    a, b = exact.values.astype(np.complex128), other.values.astype(np.complex128)
    return np.abs(np.where(np.isfinite(a) & np.isfinite(b), a - b, 0.0)).ravel()


def _verdict(name: str, e: _Errors, dtype: str) -> dict[str, Any]:
    floor = EPSILON[dtype] * max(e.scale, FLOOR)
    rms, own_rms = (math.sqrt(s / max(e.count, 1)) for s in (e.package_squares, e.torch_squares))
    reason = e.reason
    if reason is None and e.package > FACTOR * e.torch + floor:
        reason = f"off by {e.package:.3g} of float32, torch's own {dtype} by {e.torch:.3g}"
    elif reason is None and rms > FACTOR * own_rms + floor / 2:
        reason = f"off by {rms:.3g} rms of float32, torch's own {dtype} by {own_rms:.3g}"
    return {
        "name": name,
        "error": e.package,
        "torch_error": e.torch,
        "rms": rms,
        "torch_rms": own_rms,
        "scale": e.scale,
        "failed": reason is not None,
        "reason": reason,
    }
