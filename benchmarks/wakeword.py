"""80 ms of sound through the wake word pipeline, MLX beside onnxruntime, as JSON and a table.

python -m benchmarks.wakeword        # measures, writes both
python -m benchmarks.wakeword table  # writes the table anew from the JSON
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before numpy and mlx start their pools: openWakeWord gives onnxruntime one thread, too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

HERE = Path(__file__).parent
RESULTS = HERE / "wakeword.json"
PAGE = HERE.parent / "docs" / "wakeword.md"
START = "## Measured\n"
HEAD = "hey_seeded"
CHUNK, LOOK_BACK, SEED = 1280, 480, 0
#: Chunks of a turn, turns of a side, and chunks before the first turn.
BLOCK, BLOCKS, WARM = 25, 16, 25
#: How far the scores of the sides may lie apart.
TOLERANCE = 1e-4
TEXT = """\
`python -m benchmarks.wakeword` writes this section: one chunk of 1280 samples, which is 80 ms of
sound, through all three stages and one head. {device}, {versions}; one thread each. The sides
take turns of {block} chunks in one run, {chunks} chunks each, and must agree in their scores.
Other processes kept {others:.1f} of the machine's {cpus} CPUs busy. *Time* is the median from
samples to scores; *CPU* is the median of what the process itself computed, which other processes
disturb less: MLX computes on a thread of its own, and a busy machine lets each hand-over between
threads wait. The ratios are MLX's medians over that side's. openWakeWord's own class copies its
ten seconds of samples for every chunk; the bare sessions do not."""

Side = Callable[[np.ndarray], float]


class Sessions:
    """The least that the pipeline is on onnxruntime: three sessions and numpy buffers."""

    def __init__(self, graphs: dict[str, Path]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        names = ("melspectrogram", "embedding_model", HEAD)
        sessions = [onnxruntime.InferenceSession(str(graphs[n]), options) for n in names]
        self.mel, self.embedding, self.head = (
            lambda x, s=s: s.run(None, {s.get_inputs()[0].name: x})[0] for s in sessions
        )
        self.samples = np.zeros(0, np.float32)
        self.frames = np.ones((76, 32), np.float32)
        noise = np.random.RandomState(SEED).randint(-1000, 1000, 64000).astype(np.float32)
        frames = self._frames(noise)
        windows = [frames[i : i + 76] for i in range(0, len(frames) - 75, 8)]
        self.embeddings = self.embedding(np.stack(windows)[..., None])[:, 0, 0]

    def _frames(self, samples: np.ndarray) -> np.ndarray:
        return self.mel(samples[None])[0, 0] / 10 + 2

    def __call__(self, pcm: np.ndarray) -> float:
        samples = np.concatenate([self.samples, pcm.astype(np.float32)])
        self.samples = samples[-LOOK_BACK:]
        self.frames = np.concatenate([self.frames, self._frames(samples)])[-76:]
        new = self.embedding(self.frames[None, ..., None])[0, 0]
        self.embeddings = np.concatenate([self.embeddings, new])[-120:]
        return float(self.head(self.embeddings[None, -16:])[0, 0])


def sides(graphs: dict[str, Path], packages: dict[str, Path]) -> dict[str, Side]:
    """What is timed, by name; each at the beginning of a stream."""
    from mlx_inference import WakeWord
    from tests.fixtures import openwakeword_reference

    def mlx(compiled: bool) -> Side:
        stages = (packages[n] for n in ("melspectrogram", "embedding_model", HEAD))
        detector = WakeWord(*stages, seed=SEED, compiled=compiled)
        return lambda pcm: detector.detect(pcm)[HEAD]

    original = openwakeword_reference.detector(graphs, [HEAD], SEED)
    return {
        "MLX": mlx(compiled=False),
        "MLX, compiled": mlx(compiled=True),
        "openWakeWord on onnxruntime": lambda pcm: float(original.predict(pcm)[HEAD]),
        "onnxruntime, bare sessions": Sessions(graphs),
    }


def measure() -> dict[str, Any]:
    """Every side over the same stream; sides that disagree end the run."""
    from pytorch_to_mlx.benchmark.load import OtherLoad
    from pytorch_to_mlx.benchmark.machine import describe
    from tests.fixtures import openwakeword_graphs

    with tempfile.TemporaryDirectory() as folder:
        graphs = openwakeword_graphs.write(Path(folder) / "onnx")
        timed = sides(graphs, converted(graphs, Path(folder)))
        wall: dict[str, list[float]] = {name: [] for name in timed}
        cpu: dict[str, list[float]] = {name: [] for name in timed}
        scores: dict[str, list[float]] = {name: [] for name in timed}
        rng = np.random.default_rng(SEED)
        sound = (rng.standard_normal((WARM + BLOCK * BLOCKS, CHUNK)) * 2000).astype(np.int16)
        for name, side in timed.items():
            scores[name] += [side(pcm) for pcm in sound[:WARM]]
        with OtherLoad() as others:
            for start in range(WARM, len(sound), BLOCK):
                for name, side in timed.items():
                    for pcm in sound[start : start + BLOCK]:
                        before, busy = time.perf_counter(), time.process_time()
                        scores[name].append(side(pcm))
                        wall[name].append(time.perf_counter() - before)
                        cpu[name].append(time.process_time() - busy)
    reference = np.array(scores["openWakeWord on onnxruntime"])
    for name, values in scores.items():
        # The bare sessions know no first five calls, which are zero.
        apart = float(np.abs(np.array(values)[5:] - reference[5:]).max())
        if not apart <= TOLERANCE:
            raise SystemExit(f"{name}: scores {apart:.1e} apart")
    rows = {
        name: {
            "median_ms": statistics.median(wall[name]) * 1e3,
            "cpu_median_ms": statistics.median(cpu[name]) * 1e3,
            "chunks": len(wall[name]),
        }
        for name in timed
    }
    import onnxruntime

    machine = describe(None)
    machine["versions"]["onnxruntime"] = onnxruntime.__version__
    return {"machine": machine, "other_load_cpus": others.cpus, "rows": rows}


def converted(graphs: dict[str, Path], folder: Path) -> dict[str, Path]:
    """The packages, as the command line writes them."""
    for name, path in graphs.items():
        words = ["convert", "--input", str(path), "--output", str(folder / name), "--quiet"]
        subprocess.run([sys.executable, "-m", "pytorch_to_mlx", *words], check=True)
    return {name: folder / name for name in graphs}


def table(found: dict[str, Any]) -> str:
    """The measured section of docs/wakeword.md."""
    machine, rows = found["machine"], found["rows"]
    text = TEXT.format(
        device=f"{machine['device']['system']}, MLX on its {machine['device']['mlx'].upper()}",
        versions=", ".join(f"{name} {v}" for name, v in machine["versions"].items()),
        block=BLOCK, chunks=next(iter(rows.values()))["chunks"],
        others=found["other_load_cpus"] or 0.0, cpus=machine["threads"]["cpus"],
    )  # fmt: skip
    lines = [
        START,
        textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False),
        "",
        "| | time, ms | CPU, ms | MLX : it, time | MLX : it, CPU |",
    ]
    lines.append("|---|---|---|---|---|")
    for name, row in rows.items():
        cells = [f"{row['median_ms']:.2f}", f"{row['cpu_median_ms']:.2f}"]
        for key in ("median_ms", "cpu_median_ms"):
            cells.append("" if name == "MLX" else f"{rows['MLX'][key] / row[key]:.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    if sys.argv[1:] != ["table"]:
        from mlx_inference.blas import load_blas

        load_blas()
        RESULTS.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8").partition(START)[0].rstrip()
    PAGE.write_text(f"{text}\n\n{table(found)}", encoding="utf-8")


if __name__ == "__main__":
    main()
