"""Runs the coverage-guided fuzzers: ``python tests/hostile/fuzz.py --seconds 600 onnx``.

Each is a process of its own, started again when native code ends it. What ended it must not end a
conversion, which has a child for that: each such file is then given to the command. Exits with 1 if
there are findings; a second run with the same ``--folder`` goes on from the first one's corpus.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
TARGETS = ("onnx", "torchscript")


def run(
    target: str, folder: Path, seconds: float, cases: int | None = None
) -> tuple[dict[str, int], list[str], int]:
    """Figures of all cases, findings (their first line) and native crashes of one target.

    With ``cases``, so many at most, and the same ones in every run of the same code.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures: Counter[str] = Counter()
    crashes = 0
    end = time.monotonic() + seconds
    while (left := int(end - time.monotonic())) > 0:
        (folder / "tally.json").unlink(missing_ok=True)
        command = [sys.executable, str(HERE / f"fuzz_{target}.py"), str(folder)]
        limits = [f"-max_total_time={left}", f"-artifact_prefix={folder}/"]
        if cases is not None:
            if figures["cases"] >= cases:
                break
            limits += [f"-seed={1 + crashes}", f"-runs={cases - figures['cases']}"]
        with (folder / "log").open("ab") as log:
            done = subprocess.run(
                [*command, *limits],
                stdout=log,
                stderr=log,
                check=False,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
            )
        if (folder / "tally.json").exists():
            figures.update(json.loads((folder / "tally.json").read_text()))
        if done.returncode:
            crashes += 1
            last = folder / "last"
            if not last.exists():
                raise RuntimeError(f"the fuzzer does not start; see {folder / 'log'}")
            last.rename(folder / f"crash_{time.time_ns()}")
        elif cases is not None:
            break
    found = [p.read_text().splitlines()[0] for p in sorted((folder / "findings").glob("*.txt"))]
    return dict(figures), found + replayed(target, sorted(folder.glob("crash_*"))), crashes


#: For the command: a conversion is to end with a package or a refusal.
SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt"}
ENDS = (0, 2)


def replayed(target: str, files: Sequence[Path]) -> list[str]:
    """What is wrong with the conversions of files that ended the fuzzer's process."""
    wrong = []
    for file in files:
        with tempfile.TemporaryDirectory() as place:
            model, out = Path(place, f"model{SUFFIXES[target]}"), Path(place, "out")
            shutil.copyfile(file, model)
            words = ["convert", "--input", str(model), "--output", str(out), "--quiet"]
            words += _examples(target, file.read_bytes(), Path(place))
            command = [sys.executable, "-m", "pytorch_to_mlx", *words]
            done = subprocess.run(command, capture_output=True, check=False, timeout=600)
            if done.returncode not in ENDS:
                wrong.append(f"{file}: the conversion ended with {done.returncode}")
            elif done.returncode and out.exists():
                wrong.append(f"{file}: a refusal left a folder behind")
    return wrong


def _examples(target: str, data: bytes, folder: Path) -> list[str]:
    """The inputs at which the fuzzer ran the file; it loads none whose inputs cannot be told."""
    if target != "torchscript":
        return []
    import torch

    from tests.hostile.script_cases import inputs_of

    torch.save(inputs_of(data), folder / "inputs.pt")
    return ["--args", str(folder / "inputs.pt")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=TARGETS, choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=600, help="of each target")
    parser.add_argument("--folder", type=Path, default=Path("fuzz"))
    options = parser.parse_args()
    findings = 0
    for target in options.targets:
        figures, found, crashes = run(target, options.folder / target, options.seconds)
        shown = ", ".join(f"{count} {name}" for name, count in figures.items())
        print(f"{target}: {shown}; native crashes: {crashes}; findings: {len(found)}")  # noqa: T201
        for line in found:
            print(f"  {line}")  # noqa: T201
        findings += len(found)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
