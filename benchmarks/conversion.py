"""Converts a model for its cases, on its own device, or in the ways that are left if that fails."""

from __future__ import annotations

import copy
import resource
import time
from pathlib import Path
from typing import Any

import torch

import pytorch_to_mlx as p2m
from benchmarks.models import Model


def conversion_of(
    model: Model, module: torch.nn.Module, work: Path
) -> tuple[dict[str, Path], dict[str, Any], list[str]]:
    """The package of each case, what converting took, and what had to be left out on the way.

    One package with dynamic sizes for all cases; if that fails, one with fixed sizes for each. A
    module on a GPU that does not convert there is converted from a copy on the CPU.
    """
    notes: list[str] = []
    try:
        return (*_packages(model, module, work, notes), notes)
    except Exception as error:
        if next(module.parameters()).device.type == "cpu":
            raise
        notes.append(f"not convertible on the GPU: {type(error).__name__}: {error}")
        return (*_packages(model, copy.deepcopy(module).cpu(), work, notes), notes)


def _packages(
    model: Model, module: torch.nn.Module, work: Path, notes: list[str]
) -> tuple[dict[str, Path], dict[str, Any]]:
    if model.dynamic_shapes is not None or len(model.cases) == 1:
        first = next(iter(model.cases))
        try:
            facts = _convert(model, module, first, work / "package", model.dynamic_shapes)
        except p2m.ConversionError as error:
            if len(model.cases) == 1:
                raise
            notes.append(f"not convertible with dynamic sizes: {error}")
        else:
            return dict.fromkeys(model.cases, work / "package"), facts
    packages, facts = {}, {}
    for i, case in enumerate(model.cases):
        packages[case] = work / f"package_{i}"
        facts = _convert(model, module, case, packages[case], None)
    return packages, facts


def _convert(
    model: Model, module: torch.nn.Module, case: str, folder: Path, dynamic_shapes: Any
) -> dict[str, Any]:
    device = next(module.parameters()).device
    example = tuple(x.to(device) for x in model.example(case))
    start = time.perf_counter()
    converted = p2m.convert(
        module, example, dynamic_shapes=dynamic_shapes, output=folder, overwrite=True
    )
    return {
        "seconds": time.perf_counter() - start,
        "stages": converted.report["timings"],
        "weight_bytes": sum(t.numel() * t.element_size() for t in module.parameters()),
        "peak_process_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "on": str(device),
    }
