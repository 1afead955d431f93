"""The command line: ``python -m mlx_inference``.

Exit codes: 0 done, 2 bad packages or sound, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from mlx_inference.audio import microphone, read_pipe, read_sound
from mlx_inference.errors import InferenceError

RATE, CHUNK = 16000, 1280
BAD_INPUT, INTERRUPTED = 2, 130

app = typer.Typer(
    help="Runs converted packages on streams.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root() -> None:
    """Runs converted packages on streams."""


@app.command()
def wakeword(
    mel: Annotated[Path, typer.Option(help="The package of melspectrogram.onnx.")],
    embedding: Annotated[Path, typer.Option(help="The package of embedding_model.onnx.")],
    head: Annotated[list[Path], typer.Option(help="The package of a wake word; repeatable.")],
    sound: Annotated[
        str | None,
        typer.Argument(metavar="[FILE|-]", help="A sound file; - reads raw 16-bit PCM, 16 kHz."),
    ] = None,
    use_microphone: Annotated[
        bool, typer.Option("--microphone", help="Listen (needs sounddevice).")
    ] = False,
    threshold: Annotated[float, typer.Option(help="From which score on a word is heard.")] = 0.5,
    patience: Annotated[int, typer.Option(help="Calls above the threshold before a word.")] = 0,
    debounce: Annotated[float, typer.Option(help="Seconds between two reports of a word.")] = 0.0,
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="HEAD=A,B", help="Names of a head's classes; repeatable."),
    ] = None,
    chunk: Annotated[int, typer.Option(min=1, help="Samples a call.")] = 1280,
    padding: Annotated[
        float, typer.Option(min=0, help="Seconds of silence before and after a file.")
    ] = 0.0,
    scores: Annotated[
        bool, typer.Option("--scores", help="Print the scores of every call, as JSON lines.")
    ] = False,
) -> None:
    """Listens for wake words; prints the time in seconds, the word and its score."""
    try:
        from mlx_inference.wakeword import WakeWord

        detector = WakeWord(
            mel, embedding, head, labels=dict(map(_label, labels or ())),
            threshold=threshold, patience=patience, debounce=debounce,
        )  # fmt: skip
        samples = 0
        for pcm in _chunks(sound, use_microphone, chunk, padding):
            before, samples = samples, samples + _length(pcm)
            found = detector.detect(pcm)
            if scores:
                typer.echo(json.dumps({"seconds": round(samples / RATE, 4), "scores": found}))
            elif samples // CHUNK > before // CHUNK:  # other calls only repeat the last scores
                for word in detector.heard(found):
                    typer.echo(f"{samples / RATE:9.2f} s  {word}  {found[word]:.3f}")
    except InferenceError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(BAD_INPUT) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _label(text: str) -> tuple[str, list[str]]:
    """``HEAD=A,B`` taken apart."""
    head, sign, names = text.partition("=")
    if not sign:
        raise InferenceError(f"--labels {text}: no =", hint="write --labels HEAD=A,B")
    return head, names.split(",")


def _length(pcm: np.ndarray | bytes) -> int:
    """How many samples these are."""
    return len(pcm) // 2 if isinstance(pcm, bytes) else len(pcm)


def _chunks(
    sound: str | None, use_microphone: bool, chunk: int, padding: float
) -> Iterator[np.ndarray | bytes]:
    """The stream, ``chunk`` samples at a time."""
    if use_microphone == (sound is not None):
        raise InferenceError("pass one of a file, - and --microphone")
    if use_microphone:
        yield from microphone(RATE, chunk)
    elif sound == "-":
        yield from read_pipe(sys.stdin.buffer, 2 * chunk)
    elif sound is not None:
        silence = np.zeros(round(padding * RATE), np.int16)
        pcm = np.concatenate([silence, read_sound(Path(sound), RATE), silence])
        for start in range(0, len(pcm), chunk):
            yield pcm[start : start + chunk]


def main() -> None:
    """The entry point of ``mlx_inference``."""
    app(prog_name="mlx_inference")


__all__ = ["app", "main"]
