"""How far a foreign model gets, stage by stage, in this process: what is no refusal is a defect."""

from __future__ import annotations

import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pytorch_to_mlx.errors import ConversionError

#: No small model may keep its importer busy for longer.
SECONDS = 60

SCRIPT = ("unpacked", "read", "loaded", "rebuilt", "ran", "captured", "emitted")
ONNX = ("parsed", "checked", "captured", "lowered", "emitted")


class TooLongError(Exception):
    """A case that had to be stopped."""


@contextmanager
def watched(seconds: float = SECONDS) -> Iterator[None]:
    """Raises :class:`TooLongError` within, when it has computed for so long."""

    def stop(_: int, frame: Any) -> None:
        traceback.print_stack(frame, file=sys.__stderr__)
        raise TooLongError(f"not done within {seconds} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # its own time: the machine may be busy
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def memory(room: int) -> Iterator[None]:
    """Within, this process may hold no more; what asks for it by mistake is refused."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


class Tally:
    """How many cases reached each stage."""

    def __init__(self, *stages: str) -> None:
        self.stages = stages
        self.cases = 0
        self.reached: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def case(self, steps: Callable[[Callable[[str], None]], None]) -> None:
        """Runs ``steps``, which tells of every stage that is behind it; it may refuse the case."""
        self.cases += 1
        with watched():
            try:
                steps(lambda stage: self.reached.update([stage]))
            except ConversionError as error:
                text = str(error)
                assert text, "an empty message"
                assert text.replace("\n", "").isprintable(), ascii(text)
                self.errors[type(error).__name__] += 1

    def figures(self) -> dict[str, int]:
        """How many cases there were, and how many reached each stage."""
        return {"cases": self.cases, **{s: self.reached[s] for s in self.stages}}

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in self.figures().items())

    def assert_half(self, stage: str) -> None:
        """At least half of the cases got past a stage; what is refused before proves little."""
        assert 2 * self.reached[stage] >= self.cases, str(self)


def onnx_steps(data: bytes, reached: Callable[[str], None]) -> None:
    """All of a conversion but the file: parse, check, capture, lower, optimise, emit."""
    import onnx
    from google.protobuf.message import DecodeError

    from pytorch_to_mlx.capture.onnx.capture import capture_onnx
    from pytorch_to_mlx.capture.onnx.load import prepared, read_model
    from pytorch_to_mlx.codegen.source import emit
    from pytorch_to_mlx.errors import SourceError
    from pytorch_to_mlx.lower.onnx._program import lower_model
    from pytorch_to_mlx.passes.evaluate import weights
    from pytorch_to_mlx.passes.pipeline import optimise

    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise SourceError("no ONNX model") from error
    reached("parsed")
    prepared(read_model(model)[0])
    reached("checked")
    captured = capture_onnx(model)
    reached("captured")
    graph = lower_model(captured)
    reached("lowered")
    with weights(captured.tensors.get):
        optimise(graph)
        emit(graph, formatted=False)
    reached("emitted")


def script_steps(data: bytes, reached: Callable[[str], None], *, whole: bool = True) -> None:
    """All of the conversion of an archive; up to one run of what is rebuilt if not ``whole``."""
    import tempfile
    import warnings
    import zipfile
    from pathlib import Path

    import torch

    from pytorch_to_mlx.api import convert_captured
    from pytorch_to_mlx.capture.export import capture_module
    from pytorch_to_mlx.errors import SourceError
    from pytorch_to_mlx.sources.archives import check_archive
    from pytorch_to_mlx.sources.kinds import TORCHSCRIPT, sniff
    from pytorch_to_mlx.sources.torchscript.archive import damaged_part
    from pytorch_to_mlx.sources.torchscript.load import _load
    from pytorch_to_mlx.sources.torchscript.rebuild import rebuild
    from tests.hostile.script_cases import inputs_of

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.pt"
        path.write_bytes(data)
        if sniff(path) != TORCHSCRIPT:
            raise SourceError("no TorchScript")
        check_archive(path)
        try:
            inputs = inputs_of(data)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise SourceError("a damaged archive") from error
        reached("unpacked")
        if wrong := damaged_part(path):
            raise SourceError(wrong)
        reached("read")
        try:
            script = _load(path)
        except MemoryError as error:  # which a child says so
            raise SourceError("it takes too much memory") from error
        reached("loaded")
        module = rebuild(script)
        reached("rebuilt")
        with torch.no_grad(), watched(2):
            try:
                module(*inputs)
            except Exception:  # noqa: BLE001 - it has no end, or refuses the inputs
                whole = False
            else:
                reached("ran")
        if whole:
            with watched():
                captured = capture_module(module, inputs, {}, dynamic_shapes="auto")
                reached("captured")
                convert_captured(captured)
                reached("emitted")
