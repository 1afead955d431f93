"""One OpInfo entry, start to finish."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
import torch.utils._pytree as pytree

from tests.conformance import compare, reconstruct
from tests.conformance.convert import convert
from tests.conformance.samples import SAMPLES, Sample, entries, samples

SECONDS = 20
# What is in new memory is no promise of torch's.
UNINITIALISED = frozenset(
    "empty empty_like empty_permuted empty_strided new_empty new_empty_strided".split()
)

Verdict = Any  # "pass" or {"fail": reason, "sample": which}


class TooSlow(Exception):
    """A sample ran past its time."""


@contextmanager
def limit(seconds: int) -> Iterator[None]:
    """Raises :class:`TooSlow` in the block after so many seconds."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TooSlow(f"took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def filled_memory(wanted: bool) -> Iterator[None]:
    """torch fills new memory, so that two calls of the original agree, as conversion demands."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def judge(name: str, count: int = SAMPLES) -> Verdict:
    """``"pass"`` or why the first failing sample fails."""
    op = entries()[name]
    done = 0
    try:
        for sample in samples(op, count):
            with limit(SECONDS), filled_memory(name in UNINITIALISED):
                check(name, sample)
            done += 1
    except Exception as error:  # noqa: BLE001 - every fault is a verdict
        where = sample.text if "sample" in locals() else "making samples"
        return {"fail": reason(error), "sample": f"{done}: {where}"}
    return "pass" if done else {"fail": "torch gives no samples", "sample": ""}


def reason(error: BaseException) -> str:
    """The first line of an error, with its class unless it is one of the project's."""
    ops = getattr(error, "ops", None)
    if ops:
        return "; ".join(dict.fromkeys(f"{o.op}: {o.reason}" for o in ops))[:300]
    lines = str(error).strip().splitlines() or [""]
    kind = type(error)
    prefix = "" if kind.__name__ == "Mismatch" else f"{kind.__name__}: "
    return f"{prefix}{lines[0]}"[:300]


def check(name: str, sample: Sample) -> None:
    """Converts with the traced values, runs with the others, compares.

    Raises:
        Exception: of whichever stage fails; ``compare.Mismatch`` where outputs differ.
    """
    emitted = convert(sample.module, sample.traced)

    def reference() -> list[Any]:
        copies = (t.detach().clone() for t in sample.given)
        with torch.no_grad():
            return pytree.tree_leaves(sample.module(*copies))

    def run() -> list[Any]:
        return [o for o in emitted(*sample.given) if o is not None]

    if name in UNINITIALISED:
        compare.check_kind(reference(), run())
    elif (rule := reconstruct.find(name)) is not None:
        want, got = reference(), run()
        compare.check_kind(want, got)
        rule(sample.given, want, reconstruct.tensors(got))
    elif emitted.random:
        compare.check_distribution(reference, run)
    else:
        want = [w for w in reference() if w is not None]
        compare.check_values(want, run())
