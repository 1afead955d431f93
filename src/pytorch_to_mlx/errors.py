"""One error class a stage: what failed, where in the user's model, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class UnsupportedOp:
    """One source op that cannot be lowered.

    ``origin`` is ``file:line`` of the user's code (or the source node's name); ``reason`` says what
    is missing, ``hint`` what the user can do, ``stub`` a file to fill in that would provide it.
    """

    op: str
    module_path: str = ""
    origin: str = ""
    reason: str = ""
    hint: str = ""
    stub: str = ""

    def __str__(self) -> str:
        return _line(self.reason, self.op, self.module_path, self.origin, self.hint)


class ConversionError(Exception):
    """Base of every error that the package raises on purpose.

    ``str()`` is one clear line (subclasses may list ops below it); the fields are for programs.
    ``exit_code`` is the command line's status: 2 for bad input or unsupported models, 1 for lost
    parity.
    """

    stage: ClassVar[str] = "conversion"
    exit_code: ClassVar[int] = 2

    def __init__(
        self,
        message: str,
        *,
        op: str = "",
        module_path: str = "",
        origin: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.op = op
        self.module_path = module_path
        self.origin = origin
        self.hint = hint

    def __str__(self) -> str:
        return _line(self.message, self.op, self.module_path, self.origin, self.hint)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data, for ``--json`` and reports."""
        return {
            "stage": self.stage,
            "error": type(self).__name__,
            "message": self.message,
            "op": self.op,
            "module_path": self.module_path,
            "origin": self.origin,
            "hint": self.hint,
        }


class SourceError(ConversionError):
    """The source is missing, damaged, of an unknown kind, or needs consent."""

    stage = "source"


class InputError(ConversionError):
    """Example inputs or options do not parse or do not fit."""

    stage = "inputs"


class CaptureError(ConversionError):
    """torch.export refused, or what it gave cannot be normalised."""

    stage = "capture"


class LoweringError(ConversionError):
    """Ops that have no MLX form: all of them, in ``ops``, at once."""

    stage = "lower"

    def __init__(
        self,
        message: str = "",
        ops: Iterable[UnsupportedOp] = (),
        *,
        op: str = "",
        module_path: str = "",
        origin: str = "",
        hint: str = "",
    ) -> None:
        self.ops = list(ops)
        if not message:
            count = len(self.ops)
            message = f"{count} op{'' if count == 1 else 's'} cannot be converted"
        super().__init__(message, op=op, module_path=module_path, origin=origin, hint=hint)

    def __str__(self) -> str:
        """The ops, one a line; below them, for ops that a user can provide, a file to fill in."""
        lines = [super().__str__(), *(f"  - {op}" for op in self.ops)]
        stubs = list({op.op: op.stub for op in reversed(self.ops) if op.stub}.values())[::-1]
        if stubs:
            lines += [
                "",
                "Such an op can be given in MLX: fill in this file, pass it as --ops.",
                "",
            ]
        return "\n".join([*lines, *stubs])

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "ops": [asdict(op) for op in self.ops]}


class CodegenError(ConversionError):
    """The graph cannot be written as a module hierarchy."""

    stage = "codegen"


class WeightError(ConversionError):
    """Weights are missing, superfluous, or of another shape or dtype than the code's."""

    stage = "weights"


class OutputError(ConversionError):
    """The output folder exists, cannot be written, or is no converted package."""

    stage = "output"


class ValidationError(ConversionError):
    """The emitted package does not compute what the source computes."""

    stage = "validate"
    exit_code = 1


def _line(message: str, op: str, module_path: str, origin: str, hint: str) -> str:
    """One line: what, where, what to do; facts that the message already tells are not repeated."""
    text = _printable(message)
    if op and op not in text:
        text = f"{op}: {text}" if text else op
    where = []
    if module_path and module_path not in text:
        where.append(f"in {module_path}")
    if origin and origin not in text:
        where.append(f"at {origin}")
    if where:
        text = f"{text} ({', '.join(where)})"
    if hint:
        joint = ". " if hint[0].isupper() else "; "
        text = f"{text.rstrip('. ')}{joint}{hint}"
    return _printable(text)


def _printable(text: str) -> str:
    """One line that a terminal can show, whatever names are in it."""
    text = " ".join(text.split("\n")).strip()
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
