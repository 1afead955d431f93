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
from pytorch_to_mlx.quantize import measure
from pytorch_to_mlx.quantize.plan import Layers, Plan, find_layers, make_plan
from pytorch_to_mlx.quantize.recipe import Filters, recipe_of
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
    if output is None:
        temporary = tempfile.TemporaryDirectory(prefix="p2m_")
        folder = Path(temporary.name) / "model_mlx"
        folder.mkdir()
        made = _make(source, plan, found, folder, bars, limit)
        made._temporary = temporary
        return made
    with beside(output, overwrite=overwrite) as work:
        report = _make(source, plan, found, work, bars, limit).report
    made = Converted(output, report, captured=source.captured, graph=source.graph)
    made.fold_batch_norm = source.fold_batch_norm
    return made


def _make(
    source: Converted,
    plan: Plan,
    found: Layers,
    folder: Path,
    bars: Progress,
    limit: float | None,
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
