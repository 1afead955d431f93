"""The inputs that a package is compared at, and the comparison itself."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pytorch_to_mlx.package import arrays
from pytorch_to_mlx.validate import inputs as draws
from pytorch_to_mlx.validate.budget import Budget
from pytorch_to_mlx.validate.compare import FLOOR, STORED, Array, Comparison, compare
from pytorch_to_mlx.validate.inputs import Inputs
from pytorch_to_mlx.validate.result import Case
from pytorch_to_mlx.validate.subject import Outputs, PackageFailed, SourceRefuses, Subject
from pytorch_to_mlx.validate.ties import open_outputs

# Elements of weights up to which a float64 run of the original is affordable.
WIDE_LIMIT = 40_000_000
# Edge cases may cancel to nothing; their scale is at least this share of the ordinary output's.
EDGE_SHARE = 1e-3


@dataclass
class Step:
    """A case that may be made: how, at which sizes, and how many runs of the original it needs."""

    name: str
    make: Callable[[], Case | None]
    change: Mapping[str, int] = field(default_factory=dict)
    source_runs: float = 1.0
    required: bool = False


class Cases:
    """Makes and compares the cases of one subject; ``notes`` says what could not be."""

    def __init__(
        self, subject: Subject, tolerance: float, seed: int, ignored: frozenset[str] = frozenset()
    ) -> None:
        self.subject = subject
        self.tolerance = tolerance
        self.seed = seed
        self.ignored = ignored  # random outputs: compared by distribution
        self.notes: list[str] = []
        self.symbols: Mapping[str, Any] = subject.package.config["dims"].get("symbols", {})
        self.sizes = {name: int(info["size"]) for name, info in self.symbols.items()}
        self.scales: dict[str, float] = {}
        self.seen: set[str] = set()
        # The quickest run at the example's sizes so far.
        self.source_seconds: float | None = None
        self.package_seconds: float | None = None

    # -- making ------------------------------------------------------------------------------------

    def chosen(
        self, quick: bool, extra: Sequence[Mapping[str, int]], budget: Budget
    ) -> Iterator[Case]:
        """The cases in order of worth, as far as the budget goes; those at which the original is
        not defined become notes instead.
        """
        for step in self.steps(quick, extra):
            if budget.take(step.name, self.seconds(step), required=step.required):
                case = step.make()
                if case is not None:
                    yield case

    def steps(self, quick: bool, extra: Sequence[Mapping[str, int]] = ()) -> Iterator[Step]:
        """What may be compared: required are the given inputs, fresh ones, one other size of every
        dimension, and the sizes that the user asked for.
        """
        yield Step("given inputs", self.given, required=True)
        yield Step("random inputs", lambda: self.random("random inputs", {}, 1), required=True)
        sizes, grown = self._other_sizes()
        first: list[list[dict[str, int]]] = sizes
        if quick:
            first = [[grown]] if grown else [changes[-1:] for changes in sizes[-1:]]
        must: list[Sequence[Mapping[str, int]]] = [*first, *([c] for c in extra)]
        for i, changes in enumerate(must):
            yield self._sized(changes, 2 + i, required=True)
        if not quick:
            rest = [c for changes in sizes for c in changes[1:]]
            for i, change in enumerate([*([grown] if grown else []), *rest]):
                yield self._sized([change], 300 + i)
            yield from self.edges()
            again = "more random inputs"
            yield Step(again, lambda: self.random(again, {}, 100))

    def _other_sizes(self) -> tuple[list[list[dict[str, int]]], dict[str, int]]:
        return (
            draws.other_sizes(self.symbols, self._fits),
            draws.grown_sizes(self.symbols, self._fits),
        )

    def _fits(self, change: Mapping[str, int]) -> bool:
        """Whether the source takes the branches that it took at the example's sizes."""
        return self.subject.package.broken_condition({**self.sizes, **change}) is None

    def _sized(
        self, changes: Sequence[Mapping[str, int]], stream: int, *, required: bool = False
    ) -> Step:
        """A case at the first of some sizes that the original takes."""
        return Step(
            f"sizes {_label(changes[0])}",
            lambda: self._first_size(changes, stream),
            changes[0],
            required=required,
        )

    def _first_size(self, changes: Sequence[Mapping[str, int]], stream: int) -> Case | None:
        for change in changes:
            if _label(change) in self.seen:
                continue
            self.seen.add(_label(change))
            case = self.resized(dict(change), stream)
            if case is not None:
                return case
        return None

    def seconds(self, step: Step) -> float:
        """About how long a step takes, by what its like took so far."""
        ratio = max(1.0, self._elements(step.change) / max(1, self._elements({})))
        return ratio * (
            step.source_runs * (self.source_seconds or 0.0) + (self.package_seconds or 0.0)
        )

    def _elements(self, change: Mapping[str, int]) -> int:
        """Elements of all inputs at some sizes."""
        sizes = {**self.sizes, **change}
        return sum(
            math.prod(draws.size_of(d, sizes) for d in spec.get("shape", ()))
            for spec in self.subject.package.config["inputs"]
        )

    def given(self) -> Case:
        """The example inputs; later calls of a sequence take fresh ones."""
        first = self.subject.examples
        rest = [self._drawn({}, 50 + k) for k in range(1, self.subject.calls)]
        return Case("given inputs", dict(self.sizes), calls=[first, *rest])

    def random(self, name: str, change: Mapping[str, int], stream: int) -> Case:
        calls = [self._drawn(change, stream * 10 + k) for k in range(self.subject.calls)]
        return Case(name, {**self.sizes, **change}, calls=calls)

    def _drawn(self, change: Mapping[str, int], stream: int) -> Inputs:
        rng = np.random.default_rng([self.seed, stream])
        sizes = {**self.sizes, **change}
        out: Inputs = {}
        for spec in self.subject.package.config["inputs"]:
            example = self.subject.examples[spec["name"]]
            shape: tuple[int, ...] = ()
            if isinstance(example, np.ndarray):
                dims = zip(spec["shape"], example.shape, strict=True)
                shape = tuple(draws.size_of(d, sizes) if change else now for d, now in dims)
            out[spec["name"]] = draws.draw(example, shape, rng)
        return out

    def resized(self, change: dict[str, int], stream: int) -> Case | None:
        """The case at other sizes: alone, else with equal sizes along, else not at all."""
        refusal = ""
        attempts = [change, draws.moved_together(change, self.symbols)]
        for attempt in [a for a in attempts if self._fits(a)] or [change]:
            case = self.random(f"sizes {_label(attempt)}", attempt, stream)
            try:
                case.wanted = self.subject.run_source(case.calls)
            except SourceRefuses as error:
                refusal = str(error)
                continue
            return case
        self.notes.append(
            f"the original refuses {_label(change)}, so it is not compared: {refusal}"
        )
        return None

    def edges(self) -> Iterator[Step]:
        """Zeros, large, tiny and non-finite floats, integers at the ends of their range."""
        examples = self.subject.examples
        tries: list[tuple[str, list[Inputs]]] = []
        if draws.has_floats(examples):
            base = self._drawn({}, 900)
            tries.append(("zeros", [draws.scaled(examples, 0.0)]))
            tries.append(("large values", [draws.scaled(base, f) for f in (1e3, 1e2, 1e1)]))
            tries.append(("tiny values", [draws.scaled(base, f) for f in (1e-6, 1e-4, 1e-2)]))
            if self._keeps_nan:
                tries.append(("NaN and infinity", [draws.with_non_finite(base)]))
        tries += [(name, [made]) for name, made in draws.integer_ends(examples)]
        runs = 4.0 if self._wide_is_affordable() else 1.0  # float64 takes about three times as long
        for name, choices in tries:
            make = functools.partial(self._first_sound, name, choices)
            yield Step(f"edge: {name}", make, source_runs=runs)

    @property
    def _is_onnx(self) -> bool:
        captured = self.subject.captured
        return captured is not None and captured.frontend == "onnx"

    @functools.cached_property
    def _keeps_nan(self) -> bool:
        """Whether the original's runtime keeps to IEEE: several kernels of ONNX Runtime do not."""
        if not self._is_onnx:
            return True
        self.notes.append(
            "inputs with NaN and infinity are not compared: kernels of ONNX Runtime (recurrences, "
            "fused attention) lose them"
        )
        return False

    def _first_sound(self, name: str, choices: list[Inputs]) -> Case | None:
        """The first of some edge inputs at which the original itself is well defined: it accepts
        them, and its own float32 result is its float64 result within the tolerance.
        """
        refusal = ""
        for values in choices:
            case = Case(f"edge: {name}", dict(self.sizes), calls=[values] * self.subject.calls)
            try:
                case.wanted = self.subject.run_source(case.calls)
                case.open = open_outputs(self.subject, case.calls, self.tolerance)
            except SourceRefuses as refused:
                refusal = str(refused)
                continue
            error = self.own_error(case)
            if error is not None and not error <= self.tolerance:
                refusal = "its own float32 and float64 results differ there"
                continue
            if case.open:
                self.notes.append(
                    f"{case.name}: the values of output {', '.join(case.open)} are not compared: "
                    "they hang on the order of equal values, which torch leaves open"
                )
            return case
        self.notes.append(
            f"{name} are not compared: the original is not defined at them: {refusal}"
        )
        return None

    def _wide_is_affordable(self) -> bool:
        captured = self.subject.captured
        assert captured is not None
        return sum(arrays.count_of(t) for t in captured.tensors.values()) <= WIDE_LIMIT

    def own_error(self, case: Case) -> float | None:
        """The original's float32 error against float64 as a fraction of scale (infinite where their
        non-finite places differ); ``None`` where float64 is not affordable or not possible.
        """
        if not self._wide_is_affordable():
            return None
        narrow = case.wanted
        assert narrow is not None
        try:
            wide = self.subject.run_source(case.calls, "float64")
        except SourceRefuses:
            return None
        errors = [
            compare(n, w[n], _stored(c[n]), self.tolerance, least_scale=self._least(n))
            for w, c in zip(wide, narrow, strict=True)
            for n in c
            if n in w and c[n].dtype.startswith(("float", "complex"))
        ]
        return max(
            (e.relative if e.max_abs is not None and _placed(e) else math.inf for e in errors),
            default=0.0,
        )

    def _least(self, name: str) -> float:
        return max(FLOOR, EDGE_SHARE * self.scales.get(name, 0.0))

    # -- comparing ---------------------------------------------------------------------------------

    def run(self, case: Case) -> Case:
        """Fills in the outputs of a case."""
        try:
            wanted = case.wanted = self._wanted(case)
        except SourceRefuses as error:
            case.outputs = [Comparison("all", False, f"the original refuses these inputs: {error}")]
            return case
        try:
            started = time.monotonic()
            got = case.got = self.subject.run_package(case.calls)
            if case.sizes == self.sizes:
                self.package_seconds = _least(self.package_seconds, time.monotonic() - started)
                case.seconds = (self.source_seconds or 0.0) + self.package_seconds
        except PackageFailed as error:
            reason = f"the package failed: {error}"
            case.outputs = [Comparison(n, False, reason) for n in wanted[0]] or [
                Comparison("all", False, reason)
            ]
            return case
        case.dtype = self.subject.package.config["dtype"]
        edge = case.name.startswith("edge")
        for k, (w, g) in enumerate(zip(wanted, got, strict=True)):
            for name in dict.fromkeys((*w, *g)):
                if name in self.ignored:
                    continue
                label = name if len(wanted) == 1 else f"{name} (call {k + 1})"
                got_open = _as_wanted(w, g, case.open)
                case.outputs.append(self._compared(label, name, w, got_open, edge))
        if not case.ok and self._is_onnx:
            self._judge_exactly(case, got)
        if not case.ok:
            self._explain(case)
        return case

    def _judge_exactly(self, case: Case, got: list[Outputs]) -> None:
        """Compares failed float outputs with the original in float64, at the same tolerance, where
        its float32 is off that itself: kernels of ONNX Runtime approximate ``exp`` and its like.
        """
        own = self.own_error(case)
        if own is None or not own > self.tolerance / 10:
            return
        wide = self.subject.run_source(case.calls, "float64")
        places = [
            (k, n) for k, w in enumerate(case.wanted or ()) for n in dict.fromkeys((*w, *got[k]))
        ]
        places = [(k, n) for k, n in places if n not in self.ignored]
        for i, (k, name) in enumerate(places):
            old = case.outputs[i]
            if old.ok or old.max_abs is None or name not in wide[k]:
                continue
            floor = self._least(name) if case.name.startswith("edge") else FLOOR
            exact = _stored(wide[k][name])
            new = compare(old.name, exact, got[k].get(name), self.tolerance, least_scale=floor)
            if new.ok:
                case.outputs[i] = new
                self.notes.append(
                    f"{case.name}: {old.name} is compared with the original in float64, since "
                    f"onnxruntime's float32 is itself {own:.2g} of scale off that"
                )

    def _wanted(self, case: Case) -> list[Outputs]:
        """The original's outputs, of which no case needs a second run."""
        if case.wanted is not None:
            return case.wanted
        started = time.monotonic()
        wanted = self.subject.run_source(case.calls)
        if case.sizes == self.sizes:
            self.source_seconds = _least(self.source_seconds, time.monotonic() - started)
        return wanted

    def _compared(self, label: str, name: str, w: Outputs, g: Outputs, edge: bool) -> Comparison:
        if name not in w:
            return Comparison(label, False, "the original does not give this output")
        floor = self._least(name) if edge else FLOOR
        found = compare(label, w[name], g.get(name), self.tolerance, least_scale=floor)
        if not edge and found.scale is not None:
            self.scales[name] = max(self.scales.get(name, 0.0), found.scale)
        return found

    def _explain(self, case: Case) -> None:
        """Adds the original's own rounding error to the reasons of float failures (never a
        pardon).
        """
        failed = [o for o in case.outputs if not o.ok and o.max_abs is not None]
        if not failed:
            return
        own = self.own_error(case)
        if own is not None and own > self.tolerance / 10:
            for o in failed:
                o.reason = (
                    f"{o.reason} (the original's own float32 error there is {own:.2g} of scale)"
                )


def _label(change: Mapping[str, int]) -> str:
    return ", ".join(f"{k}={v}" for k, v in change.items())


def _least(known: float | None, new: float) -> float:
    return new if known is None else min(known, new)


def _as_wanted(w: Outputs, g: Outputs, names: Sequence[str]) -> Outputs:
    """The package's outputs, of which these have the original's values if their shape is right."""
    alike = [n for n in names if n in w and n in g and w[n].values.shape == g[n].values.shape]
    return {**g, **{n: Array(w[n].values, g[n].dtype) for n in alike}}


def _stored(a: Array) -> Array:
    """What MLX makes of a dtype that it lacks; float64 references are judged as if they were
    float32.
    """
    return Array(a.values, STORED.get(a.dtype, a.dtype))


def _placed(c: Comparison) -> bool:
    """Whether a comparison got as far as values: shapes agree and so do non-finite places."""
    return c.ok or (c.reason or "").startswith("off by")
