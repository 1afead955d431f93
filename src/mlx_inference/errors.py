"""What the pipelines raise on purpose."""

from __future__ import annotations


class InferenceError(Exception):
    """Packages or sound that a pipeline cannot run on: one line, with what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message
