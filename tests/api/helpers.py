"""The whole path of a conversion: convert, compare with torch, save, load, compare again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.converted import Converted
from tests.golden.compare import assert_same, run_torch

torch.set_num_threads(1)

Call = tuple[tuple[Any, ...], dict[str, Any]]


def call(*args: Any, **kwargs: Any) -> Call:
    return args, kwargs


def proven(
    tmp_path: Path,
    module: torch.nn.Module,
    *calls: Call,
    reference: Any = None,
    tolerance: float = 1e-4,
    **options: Any,
) -> Converted:
    """Converts with the first call as the example; every call, in a row, equals torch's.

    So do the same calls through a saved and loaded copy (which starts from the saved state), and
    through the reference (``module``, left as it was).

    Returns:
        the loaded package.
    """
    args, kwargs = calls[0]
    converted = p2m.convert(module, args, kwargs, **options)
    wanted = expected(reference or module, calls)
    same(converted, calls, wanted, tolerance)
    saved = p2m.convert(module, args, kwargs, output=tmp_path / "written", **options)
    assert saved.code == converted.code
    loaded = p2m.load(converted.save(tmp_path / "saved"))
    same(loaded, calls, wanted, tolerance)
    return loaded


def expected(module: torch.nn.Module, calls: Sequence[Call]) -> list[Any]:
    """What torch gives over the calls in a row (state moves on)."""
    return [run_torch(module, *args, **kwargs) for args, kwargs in calls]


def same(converted: Converted, calls: Sequence[Call], wanted: list[Any], tolerance: float) -> None:
    for (args, kwargs), want in zip(calls, wanted, strict=True):
        assert_same(converted(*args, **kwargs), want, tolerance)
