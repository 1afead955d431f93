"""What converting Llama at its 1B configuration takes: ``python -m benchmarks.llama_conversion``.

Time from the call to the finished folder, golden outputs included, and the process's peak memory,
the source module's own weights and all imports in it. Seeded bfloat16 weights, sizes found
automatically, a fresh process. The example is short: capture and golden outputs call the source
several times, and one call of 512 tokens takes PyTorch a minute on two cores (2 s of 16 tokens).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.conversion import conversion_of
from benchmarks.models import PRESETS
from pytorch_to_mlx.blas import load_blas

#: What conversion must stay under: seconds, and peak memory in multiples of the weights' bytes.
BOUNDS = {"seconds": 120.0, "peak": 1.6}
LENGTH = 16  # tokens of the example


def measure() -> dict[str, Any]:
    """The facts of one conversion."""
    load_blas()
    cases = {f"T={LENGTH}": {"batch": 1, "length": LENGTH}}
    model = replace(PRESETS["full"]["llama-1b"](), cases=cases, dynamic_shapes="auto")
    module = model.module("cpu")
    forget_peak()  # the module was built in float32
    with tempfile.TemporaryDirectory() as folder:
        _, facts, notes = conversion_of(model, module, Path(folder))
    facts["peak_process_bytes"] = peak_since()
    facts["peak"] = facts["peak_process_bytes"] / facts["weight_bytes"]
    facts |= {"title": model.title, "dtype": model.dtype, "length": LENGTH}
    return {**facts, "notes": notes, "bounds": BOUNDS}


def forget_peak() -> None:
    """Linux: the peak of this process's resident memory starts anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_since() -> int:
    """Bytes of resident memory at the highest since then."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--machine", required=True, help="the machine's name in the results")
    options = parser.parse_args()
    data = {"machine": options.machine, "conversion": measure()}
    options.out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
