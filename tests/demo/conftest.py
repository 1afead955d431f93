"""The examples import each other by name, as they do when they are run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(autouse=True)
def _examples_are_importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    for name in {"demo", "demo_vad", "vad", "pitch", "crepe", "torchcrepe"} & (
        set(sys.modules) - before
    ):
        del sys.modules[name]
