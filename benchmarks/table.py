"""Writes docs/performance.md from benchmarks/results/*.json: ``python benchmarks/table.py``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
RESULTS = ROOT / "results"
TARGET = ROOT.parent / "docs" / "performance.md"
#: Other processes' CPUs from which a row is called rough.
BUSY_CPUS = 0.3
HEAD = (
    "| model | case | torch eager | torch compile | MLX eager | MLX compiled | hand-written MLX "
    "| limit | × eager | × compile | × hand-written | of limit |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|\n"
)


def main() -> int:
    """Writes the page, or with ``--check`` says whether it is up to date (1 if not)."""
    text = page()
    if "--check" in sys.argv[1:]:
        return int(not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != text)
    TARGET.write_text(text, encoding="utf-8")
    return 0


def page() -> str:
    """The whole page."""
    parts = [(ROOT / "performance.head.md").read_text(encoding="utf-8").rstrip()]
    for file in sorted(RESULTS.glob("*.json"), key=lambda f: ("variants" in f.stem, f.stem)):
        data = json.loads(file.read_text(encoding="utf-8"))
        if "conversion" in data:
            parts.append(_conversion(data))
        else:
            parts.append(_variants(file.stem, data) if "models" not in data else _machine(data))
    return "\n\n".join(parts) + "\n"


def _conversion(data: dict[str, Any]) -> str:
    facts, bounds = data["conversion"], data["conversion"]["bounds"]
    stages = ", ".join(f"{name} {s:.0f} s" for name, s in facts["stages"].items() if s >= 1)
    return (
        f"## Converting {facts['title']}, {facts['dtype']} ({data['machine']})\n\n"
        f"{facts['weight_bytes'] / 1e9:.2f} GB of weights, an example of {facts['length']} tokens, "
        f"golden outputs included: **{facts['seconds']:.0f} s** (at most {bounds['seconds']:.0f}), "
        f"peak memory of the whole process **{facts['peak']:.2f} ×** the weights (at most "
        f"{bounds['peak']:.1f}; the source module is 1 of them). Stages: {stages}."
    )


# -- one machine -----------------------------------------------------------------------------------


def _machine(data: dict[str, Any]) -> str:
    facts = data["machine"]
    versions = ", ".join(f"{name} {v}" for name, v in facts["versions"].items())
    lines = [f"## {facts['device']['name']}", "", f"{versions}."]
    measured = {n: m for n, m in data["models"].items() if "error" not in m}
    speeds = _speeds(measured)
    if speeds:
        lines += [f"Measured limits: {speeds}."]
    lines += ["", HEAD + "\n".join(_rows(measured)), "", *_explanations(data["models"])]
    return "\n".join(lines).rstrip()


def _speeds(models: dict[str, Any]) -> str:
    """The best matmul by dtype and the best copy, over all models."""
    flops: dict[str, float] = {}
    copy = 0.0
    for model in models.values():
        limits = model["limits"]
        dtype = model["dtype"]
        flops[dtype] = max(flops.get(dtype, 0.0), *limits["matmul_gflops"].values())
        copy = max(copy, *limits["copy_gb_s"].values())
    texts = [f"{d} matmul {g / 1e3:,.3g} TFLOP/s" for d, g in sorted(flops.items())]
    return ", ".join([*texts, f"copy {copy:,.0f} GB/s"]) if models else ""


def _rows(models: dict[str, Any]) -> Iterator[str]:
    for model in models.values():
        for case in model["cases"]:
            ms = {name: row["median_ms"] for name, row in case["rows"].items()}
            mlx = best(ms, "mlx")
            hand = best(ms, "hand")
            cells = [f"{model['title']}, {model['dtype']}", case["case"]]
            cells += [_ms(ms.get(n)) for n in ("torch eager", "torch compile")]
            cells += [_ms(ms.get(n)) for n in ("mlx eager", "mlx compiled")]
            cells += [_ms(hand), f"{_ms(case['limit_ms'])} ({case['limited_by']})"]
            bases = (ms.get("torch eager"), ms.get("torch compile"), hand)
            cells += [_ratio(base, mlx) for base in bases]
            cells += [f"{case['limit_ms'] / mlx:.0%}" if mlx else "–"]
            yield "| " + " | ".join(cells) + " |"


def best(ms: dict[str, float], prefix: str) -> float | None:
    """The faster of the eager and the compiled row of one kind of MLX code."""
    return min((v for name, v in ms.items() if name.startswith(prefix)), default=None)


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _ratio(base: float | None, value: float | None) -> str:
    return "–" if base is None or value is None else f"{base / value:.2f}"


# -- what holds a row back -------------------------------------------------------------------------


def _explanations(models: dict[str, Any]) -> Iterator[str]:
    for name, model in models.items():
        if "error" in model:
            yield f"- **{name}**: not measured: {model['error']}."
            continue
        if (model.get("other_load_cpus") or 0.0) > BUSY_CPUS:
            yield (
                f"- **{model['title']}**: other processes kept {model['other_load_cpus']:.1f} "
                "CPUs busy meanwhile: its ratios are rough."
            )
        for note in model["notes"]:
            yield f"- **{model['title']}**: {note}."
        for case in model["cases"]:
            yield from _kernels(model["title"], case)


def _kernels(title: str, case: dict[str, Any]) -> Iterator[str]:
    """The kernels behind the compiled MLX row, beside torch's and the hand-written module's."""
    profiles = case.get("profiles", {})
    for side, profile in profiles.items():
        if side not in case["rows"]:
            continue  # profiled, but its outputs were not checked: no row to explain
        top = ", ".join(
            f"{t['name']} {t['ms']:.2g} ms ({t['count']:g}×)" for t in profile["top"][:4]
        )
        yield (
            f"- **{title}, {case['case']}**, {side}: {profile['kernels']:g} kernels, GPU busy "
            f"{profile['busy_ms']:.3g} of {case['rows'][side]['median_ms']:.3g} ms. Most in: {top}."
        )


# -- ways of writing a layer -----------------------------------------------------------------------


def _variants(name: str, groups: dict[str, Any]) -> str:
    lines = [f"## Ways of writing a layer ({name.partition('-')[0]})"]
    for group, variants in groups.items():
        lines += ["", f"| {group} | median ms | × the first |", "|---|---|---|"]
        first = next(iter(variants.values()))["median_ms"]
        for variant, row in variants.items():
            lines.append(
                f"| {variant} | {_ms(row['median_ms'])} | {first / row['median_ms']:.2f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
