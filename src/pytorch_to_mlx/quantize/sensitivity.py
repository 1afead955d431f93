"""A recipe by measurement: each layer's effect alone, then the most useful bits under a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.package.run import Package
from pytorch_to_mlx.progress import Progress
from pytorch_to_mlx.quantize import inputs, measure
from pytorch_to_mlx.quantize.inputs import Call
from pytorch_to_mlx.quantize.plan import Layers
from pytorch_to_mlx.quantize.recipe import Setting
from pytorch_to_mlx.quantize.write import pack, unpack

LOW, HIGH = 4, 8


@dataclass
class Sensitivity:
    """What one layer alone does to the outputs at either width, and what it then takes."""

    path: str
    weights: int
    settings: dict[int, Setting]
    errors: dict[int, float] = field(default_factory=dict)
    bytes: dict[int, int] = field(default_factory=dict)

    @property
    def gain(self) -> float:
        """The squared error that a byte more removes (errors of layers add up in squares)."""
        more = self.bytes[HIGH] - self.bytes[LOW]
        return (self.errors[LOW] ** 2 - self.errors[HIGH] ** 2) / max(more, 1)


def measure_layers(
    package: Package,
    found: Layers,
    settings: Mapping[str, Setting],
    calls: list[Call],
    bars: Progress,
) -> list[Sensitivity]:
    """Rounds one layer at a time, 8 bits and 4, and runs the calibration inputs.

    Raises:
        InputError: no output is floating, so that there is no error to measure.
    """
    wanted = [inputs.run(package, call) for call in calls]
    rows = []
    with bars.stage("sensitivity", len(settings)) as stage:
        for path, setting in settings.items():
            layer = found.modules[path]
            weight = layer["weight"]
            widths = {b: Setting(b, setting.group_size) for b in (LOW, HIGH)}
            row = Sensitivity(path, weight.size, widths)
            for bits, how in widths.items():
                parts = pack(weight, how)
                row.bytes[bits] = sum(p.nbytes for p in parts)
                layer["weight"] = unpack(parts, how, weight.dtype)
                mx.eval(layer["weight"])
                try:
                    row.errors[bits] = _error(package, calls, wanted)
                finally:
                    layer["weight"] = weight
            rows.append(row)
            stage.advance()
    return rows


def _error(package: Package, calls: list[Call], wanted: list[list[inputs.Values]]) -> float:
    """The mean square over calls of the worst output's error, as a root."""
    squares = []
    for call, want in zip(calls, wanted, strict=True):
        errors = measure.output_errors(want, inputs.run(package, call))
        if not errors:
            raise InputError(
                "no output is floating, so sensitivity cannot be measured",
                hint="choose 8, 4 or a recipe",
            )
        squares.append(max(errors.values()) ** 2)
    return math.sqrt(sum(squares) / len(squares))


def budget_bytes(
    rows: list[Sensitivity], rest: int, megabytes: float | None, bits: float | None
) -> int:
    """What the quantized layers may take; ``rest`` is what everything else does.

    Raises:
        InputError: no budget, two, or one that not even the fewest bits keep.
    """
    if (megabytes is None) == (bits is None):
        raise InputError(
            "an automatic recipe needs one budget",
            hint="give the size (--budget-mb) or the bits of a weight (--bits-per-weight)",
        )
    if megabytes is not None:
        budget = int(megabytes * 1e6) - rest
    else:
        assert bits is not None
        budget = int(bits * sum(r.weights for r in rows) / 8)
    least = sum(r.bytes[LOW] for r in rows)
    if budget < least:
        if megabytes is not None:
            raise InputError(f"at {LOW} bits the weights take {(least + rest) / 1e6:.3f} MB")
        each = 8 * least / sum(r.weights for r in rows)
        raise InputError(f"{LOW} bits take {each:.3f} bits a weight, scales included")
    return budget


def choose(rows: list[Sensitivity], budget: int) -> dict[str, Setting]:
    """Everything at 4 bits, then 8 where a byte removes the most error, as far as they go."""
    chosen = {r.path: LOW for r in rows}
    left = budget - sum(r.bytes[LOW] for r in rows)
    for row in sorted(rows, key=lambda r: -r.gain):
        more = row.bytes[HIGH] - row.bytes[LOW]
        if row.gain > 0 and more <= left:
            chosen[row.path], left = HIGH, left - more
    return {r.path: r.settings[chosen[r.path]] for r in rows}


def section(
    rows: list[Sensitivity], chosen: Mapping[str, Setting], budget: int, calls: int
) -> dict[str, Any]:
    """The report's table, most sensitive layers first."""
    table = [
        {
            "path": r.path,
            "error_8": r.errors[HIGH],
            "error_4": r.errors[LOW],
            "bytes_8": r.bytes[HIGH],
            "bytes_4": r.bytes[LOW],
            "bits": chosen[r.path].bits,
        }
        for r in sorted(rows, key=lambda r: -r.errors[LOW])
    ]
    taken = sum(r.bytes[chosen[r.path].bits] for r in rows)
    return {"budget_bytes": budget, "bytes": taken, "calls": calls, "layers": table}
