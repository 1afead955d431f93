"""Sections of the report that conversion itself knows: model, dims, ops, passes, weights."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx import memory
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.package import arrays

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.program import Captured
    from pytorch_to_mlx.graph import Graph
    from pytorch_to_mlx.package.writer import Job
    from pytorch_to_mlx.passes.base import PassReport
    from pytorch_to_mlx.sources.detect import OpenedSource


class Timings:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def op_counts(graph: Graph) -> dict[str, tuple[int, str]]:
    """Source ops of a freshly lowered graph: how many calls came from each, and where the
    first is.
    """
    seen: dict[str, set[str]] = {}
    first: dict[str, str] = {}
    for _, node in graph.walk():
        if node.origin.op:
            seen.setdefault(node.origin.op, set()).add(node.origin.name)
            first.setdefault(node.origin.op, _place(node.origin.file, node.origin.line))
    return {op: (len(names), first[op]) for op, names in sorted(seen.items())}


def _place(file: str, line: int) -> str:
    return f"{Path(file).name}:{line}" if file else ""


def conversion_report(
    opened: OpenedSource,
    captured: Captured,
    graph: Graph,
    job: Job,
    reports: list[PassReport],
    source_ops: dict[str, tuple[int, str]],
) -> dict[str, Any]:
    """The report of a conversion, before validation and benchmark."""
    became: dict[str, Counter[str]] = {}
    for _, node in graph.walk():
        if node.origin.op and node.target != "return":
            became.setdefault(node.origin.op, Counter())[node.target] += 1
    ops = [
        {
            "op": op,
            "count": count,
            "call": ", ".join(sorted(became.get(op, ()))) or None,
            "origin": origin or None,
        }
        for op, (count, origin) in source_ops.items()
    ]
    config = job.config
    given = {"custom_ops": captured.provided} if captured.provided else {}
    return {
        **given,
        **source_sections(opened, captured),
        "inputs": [_tensor(t) for t in config["inputs"]],
        "outputs": [_tensor(t) for t in config["outputs"]],
        "dims": _dims(captured),
        "ops": ops,
        "passes": [
            {
                "name": r.name,
                "applied": r.applied,
                "made": dict(r.made.most_common()),
                "refusals": [{"where": w, "reason": why} for w, why in r.refusals],
            }
            for r in reports
        ],
        "weights": weight_section(job),
        "versions": config["versions"],
    }


def _tensor(t: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": t["name"],
        "dtype": t.get("dtype", t.get("kind", "")),
        "dims": t.get("shape", []),
    }


def source_sections(opened: OpenedSource, captured: Captured) -> dict[str, Any]:
    """What is known of the source alone."""
    return {
        "model": {
            "name": captured.name,
            "source_kind": opened.description,
            "source_hash": opened.sha256 or None,
            "tree": module_tree(captured),
        },
        "warnings": list(captured.warnings),
    }


def module_tree(captured: Captured) -> dict[str, Any]:
    """Modules with classes and parameter counts (each shared tensor counted once)."""
    own: Counter[str] = Counter()
    for path, tensor in captured.tensors.items():
        own[path.rpartition(".")[0]] += arrays.count_of(tensor)
    paths = {*captured.classes, *own}
    children: dict[str, list[str]] = {}
    for path in sorted(
        paths, key=lambda p: list(captured.classes).index(p) if p in captured.classes else 1 << 30
    ):
        if path:
            parent = path.rpartition(".")[0]
            while parent and parent not in paths:
                parent = parent.rpartition(".")[0]
            children.setdefault(parent, []).append(path)

    def build(path: str) -> dict[str, Any]:
        below = [build(c) for c in children.get(path, [])]
        count = own.get(path, 0) + sum(c["parameters"] for c in below)
        return {
            "path": path,
            "class": captured.classes.get(path, ""),
            "parameters": count,
            "children": below,
        }

    return build("")


def _dims(captured: Captured) -> dict[str, Any]:
    """Dynamic sizes by symbol, and static ones by place with the reason."""
    out: dict[str, Any] = {}
    for name, info in captured.dims.get("symbols", {}).items():
        out[name] = {"where": info.get("where", []), "min": info.get("min"), "max": info.get("max")}
    for info in captured.dims.get("static", []):
        out[info["where"]] = {"where": [info["where"]], "static_reason": info.get("reason", "")}
    return out


def narrowed(captured: Captured) -> list[str]:
    """A warning that names what is float64 in the source: MLX cannot store it."""
    tensors = {**captured.tensors, **captured.example_inputs}
    names = [k for k, t in tensors.items() if str(t.dtype) in ("torch.float64", "torch.complex128")]
    if not names:
        return []
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return [f"float64 becomes float32, which MLX can store: {shown}"]


def folded(captured: Captured) -> list[str]:
    """What folding the source's 8-bit products came to."""
    if not captured.folded:
        return []
    products, left = captured.folded["products"], captured.folded["left"]
    told = f"{len(products)} products take the source's 8-bit weights"
    lines = [f"{told}; activations are no longer rounded to codes"]
    return lines + [f"not folded: {name}: {reason}" for name, reason in left.items()]


def weight_section(job: Job) -> dict[str, Any]:
    total = 0
    dtypes: Counter[str] = Counter()
    for p in job.code.weights.values():
        size = math.prod(int(d) for d in p.value.dims)
        total += size * DType(str(p.value.dtype)).size
        dtypes[str(p.value.dtype)] += 1
    return {
        "count": len(job.code.weights),
        "bytes": total,
        "dtype": job.config["dtype"],
        "renames": dict(job.code.renames),
        "tied": [[v, k] for k, v in job.captured.aliases.items()],
    }


def conversion_memory(job: Job) -> dict[str, int]:
    """Bytes of the source's weights, what converting takes beside them, and what is free."""
    tensors = job.captured.tensors.values()
    found = {
        "source_weights": memory.tensor_bytes(tensors),
        "needed_beside_them_to_convert": memory.working_bytes(tensors),
    }
    there = memory.available()
    return found if there is None else {**found, "free_now": there}


def source_versions(captured: Captured) -> dict[str, str]:
    """Versions of the library that the source is of."""
    if captured.frontend == "onnx":
        from importlib.metadata import version

        return {"onnx": version("onnx")}
    import torch

    return {"torch": torch.__version__.partition("+")[0]}
