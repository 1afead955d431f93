"""torch's symbolic sizes as integer arithmetic."""

from __future__ import annotations

import math

import pytest
import sympy
from torch.utils._sympy.functions import CeilToInt, FloorToInt, IntTrueDiv

from pytorch_to_mlx.graph.dims import PyCall, evaluate, symbol
from pytorch_to_mlx.lower.aten._symbols import to_expr

T = sympy.Symbol("T", integer=True, positive=True)


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 100])
def test_a_rounded_quotient_is_an_integer_division(size: int) -> None:
    up = to_expr(CeilToInt(IntTrueDiv(T - 3, 4) + 1.0))
    down = to_expr(FloorToInt(IntTrueDiv(3 * T, 4)))
    assert not up.has(PyCall)
    assert not down.has(PyCall)
    assert evaluate(up, {symbol("T"): size}) == math.ceil((size - 3) / 4 + 1.0)
    assert evaluate(down, {symbol("T"): size}) == math.floor(3 * size / 4)


def test_another_scale_stays_a_call() -> None:
    scaled = to_expr(FloorToInt(T * 1.5))
    assert scaled.has(PyCall)
    assert evaluate(scaled, {symbol("T"): 5}) == 7
