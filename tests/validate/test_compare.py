"""What counts as equal, and what never does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytorch_to_mlx.validate.compare import Array, compare


def floats(*values: float, dtype: str = "float32") -> Array:
    return Array(np.array(values, np.float64 if dtype == "float64" else np.float32), dtype)


def test_equal() -> None:
    found = compare("y", floats(1, -2), floats(1, -2))
    assert found.ok
    assert (found.max_abs, found.scale) == (0.0, 2.0)
    assert found.cosine == pytest.approx(1)
    assert found.snr_db == math.inf


def test_tolerance_is_a_fraction_of_the_scale() -> None:
    assert compare("y", floats(100, 0), floats(100, 0.009)).ok
    assert not compare("y", floats(100, 0), floats(100, 0.011)).ok
    assert not compare("y", floats(1, 0), floats(1, 0.009)).ok


@pytest.mark.parametrize(
    "got, word",
    [
        (None, "does not give"),
        (floats(1), "shape"),
        (Array(np.ones((2, 1), np.float32), "float32"), "shape"),
        (Array(np.ones(2, np.float16), "float16"), "dtype"),
        (floats(1, math.nan), "NaN"),
        (floats(1, math.inf), "+inf"),
    ],
)
def test_structure_comes_first(got: Array | None, word: str) -> None:
    found = compare("y", floats(1, 1), got)
    assert not found.ok
    assert word in str(found.reason)


def test_non_finite_places_must_agree() -> None:
    want = floats(1, math.nan, math.inf, -math.inf)
    assert compare("y", want, floats(1, math.nan, math.inf, -math.inf)).ok
    assert not compare("y", want, floats(1, math.nan, -math.inf, math.inf)).ok
    assert not compare("y", want, floats(1, 0, math.inf, -math.inf)).ok
    assert not compare("y", want, floats(2, math.nan, math.inf, -math.inf)).ok


def test_all_nan_on_one_side_only_fails() -> None:
    assert not compare("y", floats(math.nan, math.nan), floats(0, 0)).ok
    assert not compare("y", floats(0, 0), floats(math.nan, math.nan)).ok


def test_complex_numbers_are_finite_as_a_whole() -> None:
    a = Array(np.array([1 + 2j, complex(math.nan, 1)], np.complex64), "complex64")
    b = Array(np.array([1 + 2j, complex(1, math.nan)], np.complex64), "complex64")
    assert compare("y", a, a).ok
    assert compare("y", a, b).ok
    c = Array(np.array([complex(1, math.nan), 1], np.complex64), "complex64")
    assert not compare("y", a, c).ok


def test_float64_counts_as_float32_and_only_that() -> None:
    assert compare("y", floats(1, dtype="float64"), floats(1)).ok
    assert not compare("y", Array(np.ones(1, np.float32), "bfloat16"), floats(1)).ok


def test_integers_and_bools_are_exact() -> None:
    want = Array(np.array([[1, 2], [3, 4]]), "int64")
    found = compare("y", want, Array(np.array([[1, 2], [3, 5]]), "int64"))
    assert not found.ok
    assert "1 of 4" in str(found.reason)
    assert "(1, 1): 5 for 4" in str(found.reason)
    assert not compare("y", want, Array(want.values.astype(np.int32), "int32")).ok
    flags = Array(np.array([True, False]), "bool")
    assert compare("y", flags, flags).ok
    assert not compare("y", flags, Array(~flags.values, "bool")).ok


def test_nothing_to_compare_within_an_empty_output() -> None:
    empty = Array(np.zeros((0, 3), np.float32), "float32")
    assert compare("y", empty, empty).ok


def test_zeros_have_a_floor() -> None:
    assert not compare("y", floats(0, 0), floats(0, 1e-9)).ok
    assert compare("y", floats(0, 0), floats(0, 1e-9), least_scale=1e-2).ok
