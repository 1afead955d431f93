"""Judges the entries named on standard input; writes one JSON line each to standard output.

Runs as its own process, so that a crash or a memory limit costs one entry.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings

MEMORY = 8 << 30


def main() -> None:
    """Reads names to the end of standard input, then judges each."""
    names = sys.stdin.read().split()
    count = int(os.environ.get("P2M_SAMPLES", "5"))
    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what torch prints does not mix with the verdicts
    from pytorch_to_mlx.blas import load_blas

    load_blas()
    from tests.conformance.speed import remember_tables

    remember_tables()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    from tests.conformance.judge import judge

    for name in names:
        start = time.perf_counter()
        verdict = judge(name, count)
        seconds = round(time.perf_counter() - start, 2)
        out.write(json.dumps({"op": name, "verdict": verdict, "seconds": seconds}) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
