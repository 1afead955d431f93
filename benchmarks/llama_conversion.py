"""What converting Llama at its 1B configuration takes: ``python -m benchmarks.llama_conversion``.

Time from the call to the finished folder, golden outputs included, and the process's peak memory,
the source module's own weights and all imports in it. Seeded bfloat16 weights; a fresh process.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.conversion import conversion_of
from benchmarks.models import PRESETS
from pytorch_to_mlx.blas import load_blas

#: What conversion must stay under: seconds, and peak memory in multiples of the weights' bytes.
BOUNDS = {"seconds": 120.0, "peak": 1.6}


def measure() -> dict[str, Any]:
    """The facts of one conversion."""
    load_blas()
    model = PRESETS["full"]["llama-1b"]()
    module = model.module("cpu")
    with tempfile.TemporaryDirectory() as folder:
        _, facts, notes = conversion_of(model, module, Path(folder))
    facts["peak"] = facts["peak_process_bytes"] / facts["weight_bytes"]
    return {"title": model.title, "dtype": model.dtype, **facts, "notes": notes, "bounds": BOUNDS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--machine", required=True, help="the machine's name in the results")
    options = parser.parse_args()
    data = {"machine": options.machine, "conversion": measure()}
    options.out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
