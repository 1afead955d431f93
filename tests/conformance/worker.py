"""Judges what is named on standard input; writes one JSON line each to standard output.

Runs as its own process (``python -m tests.conformance.worker ops``, or ``architectures``), so that
a crash or a memory limit costs one verdict.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

MEMORY = 8 << 30
Judge = Callable[[str], Any]


def judge_of_ops() -> Judge:
    from tests.conformance.judge import judge
    from tests.conformance.speed import remember_tables

    remember_tables()
    count = int(os.environ.get("P2M_SAMPLES", "5"))
    return lambda name: judge(name, count)


def judge_of_architectures() -> Judge:
    import torch

    from tests.conformance.architectures.case import architectures
    from tests.conformance.architectures.judge import judge

    torch.set_num_threads(1)
    found = architectures()
    return lambda name: judge(found[name])


def main() -> None:
    """Reads names to the end of standard input, then judges each."""
    names = sys.stdin.read().split()
    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what torch prints does not mix with the verdicts
    from pytorch_to_mlx.blas import load_blas

    load_blas()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    judge = {"ops": judge_of_ops, "architectures": judge_of_architectures}[sys.argv[1]]()
    for name in names:
        start = time.perf_counter()
        verdict = judge(name)
        seconds = round(time.perf_counter() - start, 2)
        out.write(json.dumps({"name": name, "verdict": verdict, "seconds": seconds}) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
