"""``make demo-vad``: converts Silero VAD with its trained weights, and draws what it hears.

Installs silero-vad (for its files) and, as root on a Debian, espeak-ng (for speech). Exits with 1
if the original and its package hear different segments of speech.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import vad
from demo import ROOT, install, say, speech

SILERO = "silero-vad==6.2.3"
SOURCES = {"TorchScript": "silero_vad.jit", "ONNX": "silero_vad.onnx"}
PICTURE = "speech.png"  # beside the first package
SENTENCES = (
    ("en", "Somebody speaks, and then there is a pause."),
    ("de", "Jetzt spricht jemand anderes."),
    ("fr", "Le modèle écoute, malgré le bruit."),
    ("en", "No."),
    ("en", "It was trained on many languages, and on much noise."),
)
GREY, BLUE, ORANGE = "#777777", "#0072b2", "#d55e00"
UNSUPPORTED = 2  # the command's status
NEAR = 1e-5  # of probabilities, which lie between 0 and 1
CONTEXT, STATE = (
    64,
    (2, 1, 128),
)  # what the ONNX file wants besides a frame: samples before it, state


@dataclass
class Heard:
    """What the original and the package made of the same sound."""

    name: str
    original: np.ndarray
    mlx: np.ndarray

    @property
    def apart(self) -> float:
        """The largest difference of probabilities; NaN if there is one."""
        return float(np.abs(self.mlx - self.original).max())

    @property
    def ok(self) -> bool:
        """Whether both hear the same: the same segments, and some."""
        same = vad.segments(self.mlx) == vad.segments(self.original)
        return same and bool(vad.segments(self.original)) and self.apart <= NEAR


def main() -> int:
    """Runs the whole demo; returns the exit status."""
    start = time.perf_counter()
    data = install("silero_vad", SILERO, "14 MB") / "data"
    sentences = [speech(text, voice) for voice, text in SENTENCES]
    spoken = [sentence for sentence in sentences if sentence is not None]
    if not spoken:
        say("nothing to hear, because espeak-ng is not installed (apt-get install espeak-ng)")
        return 1
    sound = vad.scene(spoken)
    heard = []
    for name, file in SOURCES.items():
        status = convert(name, data / file)
        if status == UNSUPPORTED and heard:
            say(f"the {name} file cannot be converted, so it is not in the picture")
            continue
        if status:
            say(f"the conversion ended with status {status}; nothing more to show")
            return status
        say(f"listening to {len(sound) / vad.RATE:.0f} s with both models ...")
        heard.append(listen(name, data / file, sound))
    show(heard)
    picture = package_of(next(iter(SOURCES))) / PICTURE
    draw(heard, sound, picture)
    say(f"\npicture: {picture}\nmodel:   {picture.with_name('model.py')}")
    say(f"{time.perf_counter() - start:.0f} s in all")
    return 0 if all(h.ok for h in heard) else 1


def package_of(name: str) -> Path:
    """Where the package of a source goes."""
    return ROOT / f"silero_vad_{name.lower()}_mlx"


def convert(name: str, source: Path) -> int:
    """Converts and proves one source on an example of one frame; the command's status."""
    import torch

    frame = (np.random.default_rng(0).standard_normal(vad.STEP) * 0.1).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        if source.suffix == ".jit":
            example = Path(folder) / "frame.pt"
            torch.save({"x": torch.from_numpy(frame[None]), "sr": vad.RATE}, example)
        else:
            example = Path(folder) / "frame.npz"
            inputs = {"input": np.pad(frame, (CONTEXT, 0))[None], "sr": np.int64(vad.RATE)}
            np.savez(example, state=np.zeros(STATE, np.float32), **inputs)
        options = ["--input", str(source), "--args", str(example), "--output"]
        command = ["pytorch_to_mlx", "convert", *options, str(package_of(name))]
        command += ["--validate", "--overwrite"]
        say(f"$ {' '.join(command)}")
        return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode


# -- listening -------------------------------------------------------------------------------------


def listen(name: str, source: Path, sound: np.ndarray) -> Heard:
    """Runs the original and its package over ``sound``, frame by frame."""
    import pytorch_to_mlx as p2m

    package = p2m.load(package_of(name))
    if source.suffix == ".jit":
        original, mlx = scripted(source), lambda frame: np.array(package(frame[None])).item()
    else:
        original, mlx = recurrent(session(source)), recurrent(package)
    return Heard(name, vad.probabilities(original, sound), vad.probabilities(mlx, sound))


def scripted(source: Path) -> vad.Model:
    """The TorchScript model, which keeps its state itself."""
    import torch

    script = torch.jit.load(str(source))

    def probability(frame: np.ndarray) -> float:
        with torch.inference_mode():
            return script(torch.from_numpy(frame[None]), vad.RATE).item()

    return probability


def session(source: Path) -> Callable[..., Any]:
    """The ONNX model on onnxruntime, from named inputs to named outputs."""
    import onnxruntime

    running = onnxruntime.InferenceSession(str(source))
    names = [output.name for output in running.get_outputs()]
    return lambda **inputs: dict(zip(names, running.run(None, inputs), strict=True))


def recurrent(model: Callable[..., Any]) -> vad.Model:
    """A model of a frame, the samples before it and a state, with both kept between frames."""
    before, state = np.zeros(CONTEXT, np.float32), np.zeros(STATE, np.float32)

    def probability(frame: np.ndarray) -> float:
        nonlocal before, state
        frame = np.concatenate([before, frame])
        made = model(input=frame[None], state=state, sr=np.array(vad.RATE))
        before, state = frame[-CONTEXT:], np.array(made["stateN"])
        return np.array(made["output"]).item()

    return probability


# -- showing ---------------------------------------------------------------------------------------


def show(heard: list[Heard]) -> None:
    """The table at the end."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Speech by Silero VAD", title_justify="left", box=None, pad_edge=False)
    for column in ("source", "frames", "segments", "speech", "MLX - original", ""):
        table.add_column(column, justify="left" if column in ("source", "") else "right")
    for h in heard:
        spoken = vad.segments(h.mlx)
        seconds = f"{sum(end - start for start, end in spoken):.1f} s"
        verdict = "[green]ok[/green]" if h.ok else "[red]WRONG[/red]"
        cells = [h.name, str(len(h.mlx)), str(len(spoken)), seconds, f"{h.apart:.0e}", verdict]
        table.add_row(*cells)
    Console(width=110).print(table)


def draw(heard: list[Heard], sound: np.ndarray, picture: Path) -> None:
    """The waveform with its segments, a row for each model, and the probabilities below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (wave, rows, curves) = pyplot.subplots(
        3, 1, sharex=True, figsize=(13, 7), layout="constrained", height_ratios=(3, 1, 2)
    )
    first = heard[0]
    wave.plot(np.arange(len(sound)) / vad.RATE, sound, color=GREY, linewidth=0.4)
    for start, end in vad.segments(first.mlx):
        wave.axvspan(start, end, color=BLUE, alpha=0.25, linewidth=0)
    for start, end in vad.segments(first.original):
        for edge in (start, end):
            wave.axvline(edge, color=ORANGE, linestyle="--", linewidth=1)
    wave.set(ylabel="waveform", title="Silero VAD: MLX (filled) and the original (dashed)")
    names = []
    for h in heard:
        for side, found, color in (("original", h.original, ORANGE), ("MLX", h.mlx, BLUE)):
            spans = [(start, end - start) for start, end in vad.segments(found)]
            rows.broken_barh(spans, (len(names) - 0.35, 0.7), color=color)
            names.append(f"{h.name}, {side}")
    rows.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    times = (np.arange(len(first.mlx)) + 0.5) * vad.STEP / vad.RATE
    for h in heard:
        curves.plot(times, h.mlx, color=BLUE, linewidth=3, alpha=0.4, label=f"{h.name}, MLX")
        curves.plot(
            times, h.original, color=ORANGE, linewidth=1, linestyle="--",
            label=f"original; largest difference {h.apart:.0e}",
        )  # fmt: skip
    for level in (vad.ENTER, vad.LEAVE):
        curves.axhline(level, color=GREY, linewidth=0.6, linestyle=":")
    curves.set(ylabel="probability of speech", xlabel="seconds", ylim=(-0.03, 1.03))
    curves.set_xlim(0, len(sound) / vad.RATE)
    figure.legend(loc="outside lower center", ncols=2 * len(heard), fontsize="small")
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
