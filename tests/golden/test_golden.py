"""Emitted code of real architectures: as committed, dynamic where it must be, equal to torch."""

from __future__ import annotations

import difflib

import pytest

from tests.golden.compare import assert_same, run_torch
from tests.golden.conversion import LISTINGS, conversion, path_of, without_lines
from tests.golden.models import MODELS

NAMES = list(MODELS)


def test_every_listing_has_its_model() -> None:
    assert {p.stem for p in LISTINGS.glob("*.py")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_ragged(name: str) -> None:
    """Two other sizes of every dynamic dim at least, the smallest that torch takes included."""
    golden = MODELS[name]
    for dim, size in golden.sizes.items():
        others = {sizes[dim] for sizes in golden.ragged} - {size}
        assert len(others) >= 2, dim
        assert golden.smallest.get(dim, 1) in others, dim


@pytest.mark.parametrize("name", NAMES)
def test_dims_stay_dynamic(name: str) -> None:
    golden = MODELS[name]
    inputs = conversion(name).converted.config["inputs"]
    found = {
        f"{spec['name']}:{axis}"
        for spec in inputs
        for axis, size in enumerate(spec["shape"])
        if isinstance(size, str)
    }
    assert golden.dynamic <= found <= golden.dynamic | golden.optional


@pytest.mark.parametrize("name", NAMES)
def test_equals_torch(name: str) -> None:
    """Through the emitted package, at the example's size and every ragged one."""
    made = conversion(name)
    for seed, sizes in enumerate((made.golden.sizes, *made.golden.ragged), start=2):
        inputs = made.golden.example(sizes, seed)
        want = run_torch(made.module, **inputs)
        assert_same(made.converted(**inputs), want, made.golden.tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_listing(name: str) -> None:
    """``python tests/golden/update.py`` writes listings anew; the diff is reviewed as code."""
    emitted = without_lines(conversion(name).converted.code).splitlines()
    committed = without_lines(path_of(name).read_text(encoding="utf-8")).splitlines()
    diff = difflib.unified_diff(committed, emitted, "committed", "emitted", lineterm="")
    assert emitted == committed, "\n".join(diff)
