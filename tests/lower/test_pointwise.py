"""Lowerings of elementwise ops against torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.lower.harness import check_op, targets

X = torch.tensor([[-2.5, -1.5, -0.5, 0.0], [0.5, 1.5, 2.5, 3.0]])
Y = torch.tensor([[2.0, -1.0, 0.5, 3.0], [-2.0, 1.5, 0.25, -3.0]])
UNIT = torch.tensor([[-0.9, -0.5, 0.0], [0.25, 0.5, 0.95]])
POS = torch.tensor([[0.25, 1.0, 2.0], [1.5, 3.0, 10.0]])
I = torch.tensor([[-7, 3, 0], [5, -2, 9]])
J = torch.tensor([[2, -2, 3], [-3, 5, 4]])
B = torch.tensor([[True, False, True], [False, True, False]])
ODD = torch.tensor([[float("nan"), float("inf")], [-float("inf"), 1.0]])
H = X.half()
Z = torch.tensor([1 + 2j, -3 + 0.5j])

UNARY: list[tuple[Any, torch.Tensor]] = [
    (torch.abs, X),
    (torch.abs, I),
    (torch.acos, UNIT),
    (torch.acosh, POS + 1),
    (torch.asin, UNIT),
    (torch.asinh, X),
    (torch.atan, X),
    (torch.atanh, UNIT),
    (torch.ceil, X),
    (torch.cos, X),
    (torch.cosh, X),
    (torch.deg2rad, X),
    (torch.erf, X),
    (torch.erfinv, UNIT),
    (torch.exp, X),
    (torch.exp, I),
    (torch.exp2, X),
    (torch.expm1, X),
    (torch.floor, X),
    (torch.floor, I),
    (torch.frac, X),
    (torch.isnan, ODD),
    (torch.isinf, ODD),
    (torch.isfinite, ODD),
    (torch.isneginf, ODD),
    (torch.isposinf, ODD),
    (torch.log, POS),
    (torch.log10, POS),
    (torch.log1p, POS),
    (torch.log2, POS),
    (torch.logical_not, X),
    (torch.neg, X),
    (torch.neg, I),
    (torch.positive, X),
    (torch.rad2deg, X),
    (torch.reciprocal, Y),
    (torch.reciprocal, J),
    (torch.round, X),
    (torch.rsqrt, POS),
    (torch.sigmoid, X),
    (torch.sigmoid, I),
    (torch.sign, X),
    (torch.sgn, X),
    (torch.signbit, X),
    (torch.sin, X),
    (torch.sinc, X),
    (torch.sinh, X),
    (torch.sqrt, POS),
    (torch.square, X),
    (torch.tan, X),
    (torch.tanh, X),
    (torch.tanh, H),
    (torch.trunc, X),
    (torch.sqrt, B.int()),
    (torch.nan_to_num, ODD),
    (lambda x: torch.nan_to_num(x, 1.0, 2.0, -3.0), ODD),
    (lambda x: torch.round(x, decimals=1), X / 3),
    (torch.exp, Z),
    (torch.abs, Z),
    (torch.sgn, Z),
]

BINARY: list[tuple[Any, tuple[torch.Tensor, ...]]] = [
    (torch.add, (X, Y)),
    (lambda a, b: torch.add(a, b, alpha=2), (X, Y)),
    (lambda a, b: torch.add(a, b, alpha=2), (I, J)),
    (torch.add, (I, Y[:, :3].clone())),
    (torch.add, (B, B)),
    (lambda b: b + 2, (B,)),
    (lambda x: x + 2, (X,)),
    (lambda x: x + 2.5, (I,)),
    (lambda x: x + 1, (H,)),
    (lambda x: x + 1.5, (X.bfloat16(),)),
    (torch.sub, (X, Y)),
    (lambda a, b: torch.sub(a, b, alpha=3), (X, Y)),
    (lambda x: 1 - x, (X,)),
    (lambda x: torch.rsub(x, 2, alpha=3), (X,)),
    (torch.mul, (X, Y)),
    (torch.mul, (I, B)),
    (torch.mul, (B, B)),
    (torch.mul, (H, Y)),
    (lambda x: x * 0.5, (I,)),
    (torch.div, (X, Y)),
    (torch.div, (I, J)),
    (lambda x: x / 2, (I,)),
    (lambda x: 2 / x, (Y,)),
    (lambda a, b: torch.div(a, b, rounding_mode="floor"), (X, Y)),
    (lambda a: torch.add(a, a, alpha=-3), (torch.arange(6, dtype=torch.uint8),)),
    (lambda a: torch.floor_divide(a, 0.1), (torch.arange(6) / 2,)),
    (lambda a: torch.floor_divide(a, 3), ((torch.randn(9) * 300).half(),)),
    (lambda a, b: torch.div(a, b, rounding_mode="trunc"), (X, Y)),
    (lambda a, b: torch.div(a, b, rounding_mode="floor"), (I, J)),
    (lambda a, b: torch.div(a, b, rounding_mode="trunc"), (I, J)),
    (lambda a: torch.div(a, 2, rounding_mode="trunc"), (I,)),
    (lambda x: x // 2, (I,)),
    (lambda x: x // 0.75, (X,)),
    (torch.remainder, (X, Y)),
    (torch.remainder, (I, J)),
    (lambda x: x % 3, (I,)),
    (torch.fmod, (X, Y)),
    (torch.fmod, (I, J)),
    (lambda x: torch.fmod(x, 1.5), (X,)),
    (torch.pow, (POS, UNIT)),
    (torch.pow, (I, J.abs())),
    (lambda x: x**2, (X,)),
    (lambda x: x**2, (I,)),
    (lambda x: x**3, (X,)),
    (lambda x: x**3.0, (X,)),
    (lambda x: x**0.5, (POS,)),
    (lambda x: x**-0.5, (POS,)),
    (lambda x: x**-1, (POS,)),
    (lambda x: x**0.3, (POS,)),
    (lambda x: x**0.5, (I.abs(),)),
    (lambda x: 2**x, (X,)),
    (lambda x: torch.float_power(x, 2), (I,)),
    (torch.maximum, (X, Y)),
    (torch.minimum, (X, Y)),
    (torch.maximum, (I, J)),
    (torch.fmax, (ODD, ODD.flip(0))),
    (torch.fmin, (ODD, ODD.flip(0))),
    (torch.maximum, (ODD, ODD.flip(0))),
    (lambda x: x.clamp(-1, 1), (X,)),
    (lambda x: x.clamp(min=0.5), (X,)),
    (lambda x: x.clamp(max=0.5), (I,)),
    (lambda x: x.clamp(-1, 1), (H,)),
    (lambda x, y: x.clamp(min=y), (X, Y)),
    (lambda x, y: torch.clamp(x, y - 1, y + 1), (X, Y)),
    (lambda x: torch.clamp_min(x, 0), (X,)),
    (lambda x: torch.clamp_max(x, 0), (X,)),
    (torch.atan2, (X, Y)),
    (torch.atan2, (I, J)),
    (torch.logaddexp, (X, Y)),
    (torch.logaddexp2, (X, Y)),
    (torch.addcmul, (X, Y, Y)),
    (lambda a, b, c: torch.addcmul(a, b, c, value=0.5), (X, Y, Y)),
    (lambda a, b, c: torch.addcdiv(a, b, c, value=2), (X, Y, Y)),
    (torch.lerp, (X, Y, Y)),
    (lambda a, b: torch.lerp(a, b, 0.25), (X, Y)),
    (torch.copysign, (X, Y)),
    (torch.hypot, (X, Y)),
    (torch.heaviside, (X, Y)),
    (torch.xlogy, (X, Y.abs())),
    (torch.gcd, (I, J)),
    (torch.lcm, (I, J)),
    (torch.ldexp, (X, X.int())),
    (lambda x: torch.logit(x, 1e-3), (UNIT.abs(),)),
    (torch.logit, (UNIT.abs(),)),
    (torch.special.xlog1py, (X, Y.abs())),
]

SCALARS: list[tuple[Any, tuple[torch.Tensor, ...]]] = [
    # A 0-D tensor does not widen an array of its kind, but a kind above does.
    (torch.mul, (H, torch.tensor(2.0))),
    (torch.mul, (I, torch.tensor(2.0))),
    (torch.add, (I.int(), torch.tensor(2))),
    (torch.add, (torch.tensor(2.0), H)),
    (torch.add, (torch.tensor(2), torch.tensor(2.5))),
    (lambda x: x - 1, (I.to(torch.uint8),)),
    (lambda x: x + 1, (I.to(torch.int8),)),
    (torch.add, (I.to(torch.uint8), J.to(torch.int8))),
    (torch.add, (H, X.bfloat16())),
    (torch.mul, (X.to(torch.complex64), Y)),
]


@pytest.mark.parametrize("row", range(len(UNARY)))
def test_unary(row: int) -> None:
    check_op(UNARY[row][0], UNARY[row][1])


@pytest.mark.parametrize("row", range(len(BINARY)))
def test_binary(row: int) -> None:
    check_op(BINARY[row][0], *BINARY[row][1], atol=2e-6)


@pytest.mark.parametrize("row", range(len(SCALARS)))
def test_promotion(row: int) -> None:
    check_op(SCALARS[row][0], *SCALARS[row][1])


def test_plain_arithmetic_is_one_call_each() -> None:
    assert targets(lambda x, y: (x * y + 1) / 2, X, Y) == ["mx.multiply", "mx.add", "mx.divide"]
    assert targets(lambda x: x**2, X) == ["mx.square"]
    assert targets(lambda x: x.half() * 2.0, H) == ["mx.multiply"]
