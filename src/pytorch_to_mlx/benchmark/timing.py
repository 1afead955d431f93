"""Interleaved timing: every side takes its turn in each round, and every output is checked."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .check import Outputs, check_outputs

ROUNDS = 8
MIN_RUNS = 5
MAX_RUNS = 2000
CHECKED_BYTES = 2 << 30  # so much output is compared for a side; from then on more runs tell little
ENOUGH_RUNS = 30
WARM_UP_CALLS = 2
SETTLE_BELOW_S = 0.05
KEPT_BYTES = 256 << 20  # outputs that wait for their check


class Timed(Protocol):
    """One side at one size: ``call`` returns when its outputs are computed."""

    name: str

    def call(self) -> Any:
        """Run once, to an evaluated output (the raw output; not yet numpy)."""

    def first_call(self) -> int | None:
        """Run once and return the peak of memory in bytes, weights included."""

    def outputs(self, raw: Any) -> Outputs:
        """The raw output of one call as named numpy arrays."""

    def kept(self, raw: Any) -> Any:
        """The raw output in memory that no later call writes to."""

    def same(self, raw: Any, kept: Any) -> bool:
        """Whether two raw outputs are equal to the bit, NaNs included; decided on the device."""


@dataclass
class Measured:
    """The timed runs of one side at one size."""

    side: Timed
    estimate_s: float
    output_bytes: int
    passed: Any  # the last raw output that passed its check
    seconds: list[float] = field(default_factory=list)

    @property
    def max_runs(self) -> int:
        by_check = CHECKED_BYTES // max(self.output_bytes, 1)
        return min(MAX_RUNS, max(ENOUGH_RUNS, by_check))

    def check(self, raw: Any, reference: Outputs, tolerance: float | None) -> None:
        """Compare with ``reference``; what equals an output that passed needs no second look.

        That equality is decided on the device: an output read by the host would have to move back
        before its memory can be used again, in the midst of a later timing.
        """
        if not self.side.same(raw, self.passed):
            check_outputs(self.side.name, self.side.outputs(raw), reference, tolerance)
            self.passed = self.side.kept(raw)

    @property
    def median_s(self) -> float:
        return float(np.median(self.seconds))

    @property
    def p95_s(self) -> float:
        return float(np.percentile(self.seconds, 95))


def measure(
    sides: Sequence[Timed],
    *,
    tolerance: float | None,
    min_time_s: float,
    paired: bool,
    tick: Callable[[float], None] = lambda _: None,
) -> list[Measured]:
    """Time ``sides`` in interleaved rounds until each has run ``min_time_s`` and MIN_RUNS times.

    A side with a great many calls, or with so large outputs that checking them would take far
    longer than the calls, stops at fewer (``Measured.max_runs``).

    The first side is the reference: every timed call of the others is compared with its output,
    and its own calls with its first. ``paired`` is for models that hold state: all sides are
    called equally often and the n-th calls are compared with each other. ``tick`` is told the
    fraction done. Raises BenchmarkError where an output is wrong.
    """
    measured, reference = _warm_up(sides, tolerance, paired)
    turn = 0
    with _no_garbage_collection():
        while (done := _fraction(measured, min_time_s)) < 1.0:
            tick(done)
            counts = _counts(measured, min_time_s, paired)
            order = [(turn + i) % len(sides) for i in range(len(sides))]
            raws = {i: _run(measured[i], counts[i], not paired) for i in order}
            _check_round(measured, raws, reference, tolerance, paired)
            turn += 1
    tick(1.0)
    return measured


def _warm_up(
    sides: Sequence[Timed], tolerance: float | None, paired: bool
) -> tuple[list[Measured], Outputs]:
    measured: list[Measured] = []
    reference: Outputs = {}
    expected: list[Outputs] = []
    for side in sides:
        for step in range(WARM_UP_CALLS):
            start = time.perf_counter()
            raw = side.call()
            estimate = time.perf_counter() - start
            outputs = side.outputs(raw)
            if not measured:
                expected.append(outputs)
                reference = reference or outputs
            against = expected[step] if paired else reference
            check_outputs(side.name, outputs, against, tolerance)
        size = sum(x.nbytes for x in outputs.values())
        measured.append(Measured(side, max(estimate, 1e-7), size, side.kept(raw)))
    return measured, reference


def _fraction(measured: list[Measured], min_time_s: float) -> float:
    def one(m: Measured) -> float:
        runs = len(m.seconds)
        if runs >= m.max_runs:
            return 1.0
        by_time = sum(m.seconds) / min_time_s if min_time_s > 0 else 1.0
        return min(1.0, by_time, runs / MIN_RUNS)

    return min(one(m) for m in measured)


def _counts(measured: list[Measured], min_time_s: float, paired: bool) -> list[int]:
    def one(m: Measured) -> int:
        by_time = int(min_time_s / ROUNDS / m.estimate_s)
        by_memory = KEPT_BYTES // max(m.output_bytes, 1)
        return max(1, min(by_time, by_memory, m.max_runs // ROUNDS))

    # One call a round when paired: an output may be a view of state that the next call changes.
    return [1 if paired else one(m) for m in measured]


def _run(m: Measured, count: int, settle: bool) -> list[Any]:
    call = m.side.call
    # An untimed call first: the threads of the side before may still be spinning.
    raws = [call()] if settle and m.estimate_s < SETTLE_BELOW_S else []
    for _ in range(count):
        start = time.perf_counter()
        raw = call()
        m.seconds.append(time.perf_counter() - start)
        raws.append(raw)
    return raws


def _check_round(
    measured: list[Measured],
    raws: dict[int, list[Any]],
    reference: Outputs,
    tolerance: float | None,
    paired: bool,
) -> None:
    if paired:
        for calls in zip(*(raws[i] for i in range(len(measured))), strict=True):
            expected = measured[0].side.outputs(calls[0])
            for m, raw in zip(measured, calls, strict=True):
                check_outputs(m.side.name, m.side.outputs(raw), expected, tolerance)
        return
    for i, m in enumerate(measured):
        for raw in raws[i]:
            m.check(raw, reference, tolerance)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
