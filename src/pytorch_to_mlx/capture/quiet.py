"""torch's own output while it traces, kept from the user."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO

_NOISY = ("torch", "torch.fx.experimental.symbolic_shapes", "torch._dynamo", "torch.export")


@contextmanager
def quiet() -> Iterator[None]:
    """Within, torch says nothing: what it prints of a failing trace is told in an error's terms.

    Its warnings are about attributes that forward assigns; those are found and kept, or refused.
    """
    noisy = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in noisy]
    try:
        for logger in noisy:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(noisy, levels, strict=True):
            logger.setLevel(level)
