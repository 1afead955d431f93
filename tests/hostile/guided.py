"""What the coverage-guided fuzzers share: run as scripts, by :mod:`tests.hostile.fuzz`.

libFuzzer grows a corpus and atheris tells it what of an importer each file reaches. A defect does
not end the run: each new one is kept, once, with the file that shows it.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hostile.stages import Tally

MEMORY = 6 << 30
LARGEST = 1 << 16  # bytes of a file
#: libFuzzer's own bound for what no Python signal can stop, in seconds.
STUCK = 300


class Findings:
    """Defects by the place that raised, in a folder: the traceback, and the file beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, error: BaseException, data: bytes) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if "pytorch_to_mlx" in f.filename] or list(frames)
        place = f"{type(error).__name__} {own[-1].filename}:{own[-1].lineno}"
        name = hashlib.sha256(place.encode()).hexdigest()[:12]
        if not (self.folder / f"{name}.txt").exists():
            (self.folder / f"{name}.bin").write_bytes(data)
            text = "".join(traceback.format_exception(error))
            (self.folder / f"{name}.txt").write_text(f"{place}\n{text}", errors="replace")


def fuzz(
    tally: Tally,
    steps: Callable[[bytes, Callable[[str], None]], None],
    mutated: Callable[[bytes, int, int], bytes],
    seeds: Callable[[], list[bytes]],
) -> None:
    """``script FOLDER [libFuzzer's options]``: corpus, findings and the tally are kept there."""
    import atheris

    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    folder, options = Path(sys.argv[1]), sys.argv[2:]
    corpus, findings = folder / "corpus", Findings(folder / "findings")
    if not corpus.exists():
        corpus.mkdir(parents=True)
        limit = int(os.environ.get("P2M_FUZZ_SEEDS", "100000"))
        for number, data in enumerate(seeds()[:limit]):
            (corpus / f"seed_{number}").write_bytes(data)

    def one(data: bytes) -> None:
        (folder / "last").write_bytes(data)  # what a crash of native code leaves behind
        try:
            tally.case(lambda reached: steps(data, reached))
        except Exception as error:  # noqa: BLE001 - whatever is no refusal is a finding
            findings.add(error, data)
        if tally.cases % 10 == 0:
            (folder / "tally.json").write_text(json.dumps(tally.figures()))

    command = [sys.argv[0], str(corpus), f"-max_len={LARGEST}", f"-timeout={STUCK}", *options]
    settings: dict[str, Any] = {"custom_mutator": mutated, "internal_libfuzzer": True}
    atheris.Setup(command, one, **settings)
    atheris.Fuzz()
