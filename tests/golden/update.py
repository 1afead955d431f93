"""Writes golden listings anew: ``python tests/golden/update.py [names]``; review the diff."""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]


def main(names: list[str]) -> None:
    from pytorch_to_mlx.blas import load_blas

    load_blas()  # before anything imports mlx
    from tests.golden.conversion import LISTINGS, conversion, path_of
    from tests.golden.models import MODELS

    LISTINGS.mkdir(exist_ok=True)
    for name in names or list(MODELS):
        start = time.perf_counter()
        path_of(name).write_text(conversion(name).converted.code, encoding="utf-8")
        sys.stdout.write(f"{name}: {time.perf_counter() - start:.1f} s\n")


if __name__ == "__main__":
    main(sys.argv[1:])
