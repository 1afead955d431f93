"""Sizes that are floors of floors: equal ones are seen to be equal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytorch_to_mlx.graph.dims import FloorDiv, Mod, dims_equal, evaluate, symbol
from pytorch_to_mlx.passes.match import may_be_equal

S = symbol("s")


@given(
    st.sampled_from([-4, -3, -2, -1, 1, 2, 3]),
    st.integers(-6, 6),
    st.integers(1, 5),
    st.sampled_from([-2, -1, 1, 3]),
    st.integers(-4, 4),
    st.integers(1, 4),
)
def test_nested_floors_are_pythons(a: int, b: int, c: int, d: int, e: int, f: int) -> None:
    expr = FloorDiv(d * FloorDiv(a * S + b, c) + e, f)
    for value in range(1, 24):
        assert evaluate(expr, {S: value}) == (d * ((a * value + b) // c) + e) // f


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_ceilings_have_one_form(kernel: int) -> None:
    """What ceil_mode pooling writes and what torch makes of it."""
    halved = FloorDiv(S + 1, 2)
    assert dims_equal(-FloorDiv(kernel - 2 - halved, 2), FloorDiv(S + 7 - 2 * kernel, 4))


def test_shapes_that_differ_everywhere_are_refused() -> None:
    assert not may_be_equal((S, 3), (S + 1, 3))
    assert not may_be_equal((S,), (S, 1))
    assert may_be_equal((S - Mod(S, 4), 3), (S, 3))
