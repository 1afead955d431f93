"""How many of a suite's cases get as far as lowering: what is refused before proves little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from pytorch_to_mlx.errors import ConversionError
from pytorch_to_mlx.lower.aten import _program


@dataclass
class Tally:
    """Cases, and those whose program was lowered."""

    cases: int = 0
    lowered: int = 0

    @contextmanager
    def case(self) -> Iterator[None]:
        """One case: a conversion that works, or is refused in one line."""
        self.cases += 1
        real = _program.lower_program
        reached = []

        def lower(*args: Any, **kwargs: Any) -> Any:
            graph = real(*args, **kwargs)
            reached.append(graph)
            return graph

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_program, "lower_program", lower)
            try:
                yield
            except ConversionError as error:
                assert_one_line(error)
            finally:
                self.lowered += bool(reached)

    def assert_half(self, record: Callable[[str, object], None]) -> None:
        """At least half of the cases were lowered; the figure is shown at the end of the run."""
        record("lowered", f"{self.lowered} of {self.cases} cases reached lowering")
        assert self.cases, "no case ran"
        assert 2 * self.lowered >= self.cases, f"{self.lowered} of {self.cases}"


def assert_one_line(error: ConversionError) -> None:
    """A refusal says what and where in one line that a terminal can show."""
    text = str(error)
    assert text, "an empty message"
    assert "\n" not in text, text
    assert text.isprintable(), ascii(text)
    assert error.exit_code == 2
