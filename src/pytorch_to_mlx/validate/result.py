"""What validation found: the report's ``validation`` section, a verdict, a few lines of text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pytorch_to_mlx.validate.compare import Array, Comparison


@dataclass
class Case:
    """One comparison of all outputs at some inputs (a sequence of calls for a model with state)."""

    name: str
    sizes: dict[str, int] = field(default_factory=dict)
    dtype: str | None = None
    outputs: list[Comparison] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)  # inputs by name, one dict a call
    # Both sides' outputs, one dict a call, once they have run.
    wanted: list[dict[str, Array]] | None = field(default=None, repr=False)
    got: list[dict[str, Array]] | None = field(default=None, repr=False)
    # Outputs that the original leaves open at these inputs: their structure is compared, no values.
    open: list[str] = field(default_factory=list)
    seconds: float = 0.0  # of both sides' runs

    @property
    def ok(self) -> bool:
        return bool(self.outputs) and all(o.ok for o in self.outputs)

    def to_dict(self) -> dict[str, Any]:
        outputs = [o.to_dict() for o in self.outputs]
        return {"name": self.name, "sizes": self.sizes, "dtype": self.dtype, "outputs": outputs}


@dataclass
class ValidationReport:
    """The proof, or where it failed.

    ``notes`` say what a reader must know: sizes that the original refuses, what was not compared.
    ``budget`` holds the seconds and the names of what they were not enough for.
    """

    tolerance: float
    cases: list[Case] = field(default_factory=list)
    layers: list[dict[str, Any]] | None = None
    perturbation: dict[str, Any] | None = None
    low_precision: dict[str, Any] | None = None
    random_ops: dict[str, Any] | None = None
    quantization: dict[str, Any] | None = None
    bisect: dict[str, Any] | None = None
    budget: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether there are comparisons and every check holds."""
        if not self.cases or not all(c.ok for c in self.cases):
            return False
        sections = (self.perturbation, self.low_precision, self.random_ops, self.quantization)
        return not any(s and s.get("failed") for s in sections)

    def to_dict(self) -> dict[str, Any]:
        """The report's ``validation`` section as plain data (no NaN or infinity)."""
        from pytorch_to_mlx.report.build import plain

        section: dict[str, Any] = {
            "verdict": "proven" if self.passed else "failed",
            "tolerance": self.tolerance,
            "cases": [c.to_dict() for c in self.cases],
        }
        optional = {
            "layers": self.layers,
            "perturbation": self.perturbation,
            "low_precision": self.low_precision,
            "random_ops": self.random_ops,
            "quantization": self.quantization,
            "bisect": self.bisect,
            "budget": self.budget,
            "notes": self.notes or None,
        }
        section.update({k: v for k, v in optional.items() if v is not None})
        return dict(plain(section))

    def summary(self) -> str:
        """The verdict in a few lines."""
        from pytorch_to_mlx.report.verdict import exact_cases, left_out

        section = self.to_dict()
        outputs = [o for c in self.cases for o in c.outputs]
        compared = f"{len(outputs)} outputs in {len(self.cases)} cases"
        if self.passed:
            kept = {c["name"] for c in exact_cases(section)}
            worst = max(o.relative for c in self.cases if c.name in kept for o in c.outputs)
            where = "" if self.low_precision is None else "in float32 "
            lines = [f"proven: {compared}, {where}none further off than {worst:.2g} of its scale"]
        elif not outputs:
            lines = ["failed: nothing was compared"]
        else:
            lines = [f"failed: {sum(not o.ok for o in outputs)} of {compared}"]
        more = _half(self.low_precision) + _weights(self.perturbation)
        lines += [f"  {line}" for line in more + _quantized(self.quantization)]
        for case in self.cases:
            lines += [f"  {case.name}: {o.name}: {o.reason}" for o in case.outputs if not o.ok][:4]
        for part in (self.perturbation, self.low_precision, self.random_ops, self.quantization):
            for failure in (part or {}).get("reasons", [])[:4]:
                lines.append(f"  {failure}")
        if self.bisect:
            lines += _bisected(self.bisect)
        lines += [f"  {line}" for line in left_out(section)]
        return "\n".join([*lines, *(f"  note: {n}" for n in self.notes)])


def _half(section: dict[str, Any] | None) -> list[str]:
    """A line an output: its error in half precision beside the limit."""
    return [
        f"{row['name']}: {section['dtype']} off by {row['error']:.2g} of float32, "
        f"{row['allowed']:.2g} allowed "
        f"({section.get('runtime', 'torch')}'s own: {row['torch_error']:.2g})"
        for row in (section or {}).get("outputs", ())
        if section is not None
    ]


def _quantized(section: dict[str, Any] | None) -> list[str]:
    """A line an output: its error by quantization beside the limit."""
    return [
        f"{row['name']}: quantization moves it by {row['original']:.2g} of its norm, "
        f"{section['limit']:.2g} allowed"
        for row in (section or {}).get("outputs", ())
        if section is not None and row.get("original") is not None
    ]


def _weights(section: dict[str, Any] | None) -> list[str]:
    if not section:
        return []
    followed = section["checked"] - len(section["failed"])
    return [f"{followed} of {section['checked']} changed weights followed"]


def _bisected(found: dict[str, Any]) -> list[str]:
    where = " ".join(
        f"{label} {found[key]}"
        for key, label in (("op", ""), ("pass", "pass"), ("module", "in"), ("origin", "at"))
        if found.get(key)
    ).strip()
    lines = [f"  parts at {where}: {found.get('reason')}" if where else f"  {found.get('reason')}"]
    if found.get("repro"):
        lines.append(f"  run {found['repro']} to see it")
    return lines
