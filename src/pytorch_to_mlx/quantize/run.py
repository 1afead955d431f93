"""``quantize``: from a package to a quantized one, whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_to_mlx.converted import Converted
from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.package.folder import beside, check_target
from pytorch_to_mlx.package.run import Package
from pytorch_to_mlx.progress import Progress, as_progress
from pytorch_to_mlx.quantize import inputs, measure, sensitivity
from pytorch_to_mlx.quantize.plan import Layers, Plan, find_layers, make_plan
from pytorch_to_mlx.quantize.recipe import Filters, Recipe, recipe_of
from pytorch_to_mlx.quantize.write import refuse_quantized, write_quantized


def quantize_package(
    source: Converted,
    quantize: Any,
    *,
    output: str | Path | None,
    overwrite: bool,
    group_size: int | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    embeddings: bool = True,
    head: bool = True,
    limit: float | None = None,
    calibration: str | Path | None = None,
    budget_mb: float | None = None,
    bits_per_weight: float | None = None,
    progress: Any = None,
) -> Converted:
    """Writes a quantized copy; the package itself stays as it is unless it is what is overwritten.

    Raises:
        InputError: the recipe does not fit the model, or the package is quantized already.
        OutputError: as ``convert``.
    """
    bars = as_progress(progress)
    package = source.package
    refuse_quantized(package)
    filters = Filters(tuple(include), tuple(exclude), embeddings, head)
    recipe = recipe_of(quantize, group_size)
    if output is not None:
        output = Path(output)
        check_target(output, overwrite=overwrite)
    if limit is not None and not limit > 0:
        raise InputError(f"a limit of {limit} makes no sense", hint="choose one like 0.1")
    with bars.stage("look at layers"):
        found = find_layers(package)
        plan = make_plan(found, recipe, filters, package.config["dtype"])
    measured = None
    budgets = budget_mb, bits_per_weight
    if recipe.name == "auto":
        measured = _measured(package, found, plan, calibration, budgets, bars)
    elif calibration is not None or budgets != (None, None):
        raise InputError("calibration and budgets are for the recipe 'auto'")
    if output is None:
        temporary = tempfile.TemporaryDirectory(prefix="p2m_")
        folder = Path(temporary.name) / "model_mlx"
        folder.mkdir()
        made = _make(source, plan, found, folder, bars, limit, measured)
        made._temporary = temporary
        return made
    with beside(output, overwrite=overwrite) as work:
        report = _make(source, plan, found, work, bars, limit, measured).report
    made = Converted(output, report, captured=source.captured, graph=source.graph)
    made.fold_batch_norm = source.fold_batch_norm
    return made


def _measured(
    package: Package,
    found: Layers,
    plan: Plan,
    calibration: str | Path | None,
    budgets: tuple[float | None, float | None],
    bars: Progress,
) -> dict[str, Any]:
    """Settles the plan by sensitivity under the budget; returns the report's table."""
    calls = inputs.golden_calls(package)
    if calibration is not None:
        calls = inputs.calibration_calls(package, Path(calibration))
    if budgets.count(None) != 1:
        sensitivity.budget_bytes([], 0, *budgets)  # refused before anything long begins
    rows = sensitivity.measure_layers(package, found, plan.settings, calls, bars)
    held = sum(found.modules[r.path]["weight"].nbytes for r in rows)
    rest = measure.weight_bytes(package.folder) - held
    budget = sensitivity.budget_bytes(rows, rest, *budgets)
    plan.settings = sensitivity.choose(rows, budget)
    plan.recipe = Recipe("auto", plan.recipe.default, dict(plan.settings))
    return sensitivity.section(rows, plan.settings, budget, len(calls))


def _make(
    source: Converted,
    plan: Plan,
    found: Layers,
    folder: Path,
    bars: Progress,
    limit: float | None,
    measured: dict[str, Any] | None,
) -> Converted:
    plain = source.package
    if limit is None:
        modes = {s.mode for s in plan.settings.values()}
        limit = measure.limit_of(min(s.bits for s in plan.settings.values()), modes)
    with bars.stage("quantize"):
        errors = write_quantized(plain, plan, folder, limit)
    with bars.stage("measure"):
        compared = measure.comparison(plain, Package(folder))
    report = {k: v for k, v in source.report.items() if k not in ("validation", "benchmark")}
    report.pop("plots", None)
    report["quantization"] = {
        "recipe": {"name": plan.recipe.name, **plan.recipe.to_dict()},
        "limit": limit,
        **compared,
        "layers": [
            {
                "path": path,
                "kind": type(found.modules[path]).__name__,
                "role": found.roles[path],
                "shape": list(found.modules[path].weight.shape),
                **setting.to_dict(),
                "error": errors[path],
            }
            for path, setting in plan.settings.items()
        ],
        "left": plan.left,
    }
    if measured is not None:
        report["quantization"]["sensitivity"] = measured
    report["warnings"] = [*report.get("warnings", []), *_warnings(plan, found)]
    made = Converted(folder, report, captured=source.captured, graph=source.graph)
    made.fold_batch_norm = source.fold_batch_norm
    made.write_report()
    return made


def _warnings(plan: Plan, found: Layers) -> list[str]:
    """Layers that the recipe wanted and that cannot be quantized, by name."""
    lines = [
        f"not quantized: {path}: {reason}"
        for path, reason in plan.left.items()
        if path in found.modules and ("do not divide" in reason or "bfloat16" in reason)
    ]
    lines += [f"not quantized: {p}: {r}" for p, r in found.refused.items() if p in plan.left]
    if found.untraced is not None:
        lines.append(
            "a run cannot be traced, so layers' roles are not known, nor whether other code reads "
            f"their weights: {found.untraced}"
        )
    return lines
