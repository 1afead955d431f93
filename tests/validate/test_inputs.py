"""Draws keep what matters of the example; sizes honour the model's limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.validate import inputs

RNG = np.random.default_rng


def test_floats_keep_mean_and_spread_and_change() -> None:
    example = RNG(0).normal(3, 2, (40, 50)).astype(np.float32)
    drawn = inputs.draw(example, (60, 50), RNG(1))
    assert drawn.dtype == np.float32
    assert abs(drawn.mean() - 3) < 0.3
    assert abs(drawn.std() - 2) < 0.3
    assert not np.array_equal(drawn[:40], example)


def test_signs_stay_where_all_are_the_same() -> None:
    drawn = inputs.draw(np.array([0.1, 0.9, 0.5], np.float32), (100,), RNG(0))
    assert drawn.min() >= 0.1
    assert drawn.max() <= 0.9


def test_integers_stay_in_range() -> None:
    drawn = inputs.draw(np.array([[3, 9, 5]]), (20, 6), RNG(0))
    assert drawn.shape == (20, 6)
    assert drawn.dtype == np.int64
    assert (drawn.min(), drawn.max()) == (3, 9)


def test_integers_in_order_stay_so() -> None:
    offsets = inputs.draw(np.array([[0, 2, 5, 6, 9]] * 3), (3, 20), RNG(0))
    assert (offsets[:, 0] == 0).all()
    assert (np.diff(offsets, axis=-1) >= 0).all()
    assert len(np.unique(offsets, axis=0)) == 3
    lengths = inputs.draw(np.array([9, 7, 4, 4, 2]), (5,), RNG(0))
    assert lengths[0] == 9
    assert (np.diff(lengths) <= 0).all()


def test_numbers_stay() -> None:
    assert inputs.draw(4, (), RNG(0)) == 4


def test_padding_masks_keep_one_side() -> None:
    mask = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    for size in (1, 4, 11):
        drawn = inputs.draw(mask, (3, size), RNG(size))
        assert drawn.shape == (3, size)
        assert (np.diff(drawn, axis=-1) <= 0).all()
        assert drawn.any(axis=-1).all()


def test_causal_masks_stay_triangular() -> None:
    mask = np.tril(np.ones((6, 6), bool))
    drawn = inputs.draw(mask, (9, 9), RNG(0))
    assert drawn.any(axis=-1).all()
    assert (np.diff(drawn.astype(int), axis=-1) <= 0).all()
    assert (np.diff(drawn.astype(int), axis=0) >= 0).all()


def test_additive_masks_are_masks() -> None:
    mask = np.where(np.tril(np.ones((5, 5))), 0, -np.inf).astype(np.float32)
    assert inputs.is_structural(mask)
    assert set(np.unique(inputs.draw(mask, (7, 7), RNG(0)))) == {-np.inf, 0.0}


def test_positions_go_on_counting() -> None:
    drawn = inputs.draw(np.arange(2, 6)[None], (1, 7), RNG(0))
    assert drawn.tolist() == [[2, 3, 4, 5, 6, 7, 8]]


def test_other_sizes_include_one_and_a_larger() -> None:
    symbols = {"B": {"size": 2, "min": 1, "max": None}, "T": {"size": 12, "multiple_of": 4}}
    batch, length = inputs.other_sizes(symbols)
    assert batch[0] == {"B": 1}
    changes = [*batch, *length, inputs.grown_sizes(symbols)]
    assert {"T": 4} in changes
    assert any(c.get("B", 0) > 2 and len(c) == 1 for c in changes)
    assert all(c.get("T", 4) % 4 == 0 for c in changes)
    assert set(changes[-1]) == {"B", "T"}


def test_limits_are_honoured() -> None:
    assert inputs.candidates({"size": 4, "min": 3, "max": 5}, 3) == [3, 5]


def test_sizes_keep_to_the_conditions_of_the_source() -> None:
    """The nearest above that fit, alone or with what is as large; none if none does."""
    symbols: dict[str, Any] = {"H": {"size": 64, "min": 32}, "W": {"size": 64, "min": 32}}
    changes = inputs.other_sizes(symbols, lambda c: all(v % 4 < 2 for v in c.values()))
    assert changes == [[{"H": 32}, {"H": 68}], [{"W": 32}, {"W": 69}]]
    tied = inputs.other_sizes(symbols, lambda c: len(c) == 2)
    assert tied[0] == [{"H": 32}, {"H": 67}]
    assert inputs.other_sizes(symbols, lambda c: False) == []
    assert inputs.grown_sizes(symbols, lambda c: len(c) == 1) == {}


def test_equal_sizes_move_together() -> None:
    symbols: dict[str, Any] = {"a": {"size": 5}, "b": {"size": 5}, "c": {"size": 2}}
    assert inputs.moved_together({"a": 7}, symbols) == {"a": 7, "b": 7}


@pytest.mark.parametrize(
    "text, value", [("2*T + 1", 7), ("(T - 1) // 2", 1), ("max(T, 5)", 5), ("-T % 4", 1)]
)
def test_sizes_are_arithmetic(text: str, value: int) -> None:
    assert inputs.size_of(text, {"T": 3}) == value


@pytest.mark.parametrize("text", ["__import__('os')", "T.real", "U"])
def test_sizes_are_nothing_else(text: str) -> None:
    with pytest.raises(InputError):
        inputs.size_of(text, {"T": 3})


def test_edges() -> None:
    given: dict[str, Any] = {"x": np.ones(4, np.float32), "ids": np.array([2, 7, 3]), "n": 3}
    assert inputs.scaled(given, 0.0)["x"].tolist() == [0, 0, 0, 0]
    bad = inputs.with_non_finite(given)["x"]
    assert np.isinf(bad[0])
    assert np.isnan(bad[-1])
    ends = dict(inputs.integer_ends(given))
    assert ends["largest integers"]["ids"].tolist() == [7, 7, 7]
    assert ends["least integers"]["ids"].tolist() == [2, 2, 2]
    assert given["x"].tolist() == [1, 1, 1, 1]
