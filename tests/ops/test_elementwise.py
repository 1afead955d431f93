"""ops.elementwise and ops.activations against torch, over special values and dtypes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pytorch_to_mlx.ops import activations as ac
from pytorch_to_mlx.ops import elementwise as el
from tests.ops.torch_parity import assert_same, to_mx

NAN, INF = float("nan"), float("inf")
FLOATS = [torch.float32, torch.float16, torch.bfloat16]
INTS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
VALUES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, -3.0, 7.25, -0.1, 0.3, 1.5, 50.0, -50.0]
SPECIAL = [*VALUES, NAN, INF, -INF]


def line(dtype: torch.dtype) -> torch.Tensor:
    if dtype.is_floating_point:
        return torch.tensor(SPECIAL, dtype=dtype)
    return torch.tensor([0, 1, 2, 3, 7, 12, 100, 127], dtype=dtype)


def pairs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    x = line(dtype)
    if dtype.is_floating_point or dtype is torch.uint8:
        return x[:, None], x[None, :]
    x = torch.cat([x, -x])
    return x[:, None], x[None, :]


UNARY = {
    "frac": (el.frac, torch.frac),
    "signbit": (el.signbit, torch.signbit),
    "sgn": (el.sgn, torch.sgn),
    "logit": (el.logit, torch.logit),
    "logit_eps": (lambda x: el.logit(x, 0.1), lambda x: torch.logit(x, 0.1)),
    "sinc": (el.sinc, torch.sinc),
    "nan_to_num": (el.nan_to_num, torch.nan_to_num),
    "nan_to": (lambda x: el.nan_to_num(x, 1.0, 2.0, -3.0), lambda x: x.nan_to_num(1.0, 2.0, -3.0)),
    "deg2rad": (el.deg2rad, torch.deg2rad),
    "rad2deg": (el.rad2deg, torch.rad2deg),
    "round": (el.round_decimals, torch.round),
    "round1": (lambda x: el.round_decimals(x, 1), lambda x: torch.round(x, decimals=1)),
    "round-1": (lambda x: el.round_decimals(x, -1), lambda x: torch.round(x, decimals=-1)),
    "exp2": (el.exp2, torch.exp2),
    "clamp": (lambda x: el.clamp(x, -1.0, 2.0), lambda x: torch.clamp(x, -1.0, 2.0)),
    "clamp_low": (lambda x: el.clamp(x, 0.5), lambda x: torch.clamp(x, 0.5)),
    "clamp_crossed": (lambda x: el.clamp(x, 3, 1), lambda x: torch.clamp(x, 3, 1)),
    "relu6": (ac.relu6, F.relu6),
    "hardtanh": (lambda x: ac.hardtanh(x, -2.0, 0.5), lambda x: F.hardtanh(x, -2.0, 0.5)),
    "hardsigmoid": (ac.hardsigmoid, F.hardsigmoid),
    "hardswish": (ac.hardswish, F.hardswish),
    "hardshrink": (ac.hardshrink, F.hardshrink),
    "softshrink": (lambda x: ac.softshrink(x, 1.0), lambda x: F.softshrink(x, 1.0)),
    "tanhshrink": (ac.tanhshrink, F.tanhshrink),
    "threshold": (lambda x: ac.threshold_below(x, 1.0, -9.0), lambda x: F.threshold(x, 1.0, -9.0)),
    "leaky_relu": (lambda x: ac.leaky_relu(x, 0.2), lambda x: F.leaky_relu(x, 0.2)),
    "rrelu": (ac.rrelu, F.rrelu),
    "elu": (lambda x: ac.elu(x, 1.3, 0.7, 0.9), lambda x: torch.ops.aten.elu(x, 1.3, 0.7, 0.9)),
    "selu": (ac.selu, F.selu),
    "celu": (lambda x: ac.celu(x, 1.7), lambda x: F.celu(x, 1.7)),
    "softplus": (lambda x: ac.softplus(x, 0.5, 3.0), lambda x: F.softplus(x, 0.5, 3.0)),
    "softplus1": (ac.softplus, F.softplus),
    "log_sigmoid": (ac.log_sigmoid, F.logsigmoid),
    "silu": (ac.silu, F.silu),
    "mish": (ac.mish, F.mish),
    "gelu": (ac.gelu, F.gelu),
    "gelu_tanh": (lambda x: ac.gelu(x, "tanh"), lambda x: F.gelu(x, approximate="tanh")),
    "softsign": (ac.softsign, F.softsign),
}
INT_TOO = ["signbit", "sgn", "logit", "sinc", "nan_to_num", "deg2rad", "rad2deg", "round", "exp2"]
INT_TOO += ["clamp", "clamp_crossed"]


@pytest.mark.parametrize(
    "name, dtype",
    [(n, d) for n in UNARY for d in FLOATS] + [(n, d) for n in INT_TOO for d in INTS],
)
def test_unary(name: str, dtype: torch.dtype) -> None:
    ours, theirs = UNARY[name]
    x = line(dtype)
    if name == "gelu":  # torch's vectorised loop gives NaN at infinity, its scalar one inf
        x = x[torch.isfinite(x) | (x == -INF)]
    rtol = 3e-5 if name == "exp2" and dtype is torch.float32 else None  # 2**50 by pow
    for part in (x, x[:1], x[:0], x[3]):
        assert_same(ours(to_mx(part)), theirs(part), rtol)
    assert_same(ours(to_mx(x.reshape(-1, 1)).T), theirs(x.reshape(-1, 1).T), rtol)


@pytest.mark.parametrize("name", sorted(UNARY))
def test_unary_on_small_values(name: str) -> None:
    ours, theirs = UNARY[name]
    torch.manual_seed(0)
    x = torch.randn(200)
    assert_same(ours(to_mx(x)), theirs(x))


BINARY = {
    "fmod": (el.fmod, torch.fmod, "fi"),
    "remainder": (el.remainder, torch.remainder, "fi"),
    "floor_divide": (el.floor_divide, torch.floor_divide, "fi"),
    "trunc_divide": (
        lambda a, b: el.divide(a, b, "trunc"),
        lambda a, b: torch.div(a, b, rounding_mode="trunc"),
        "fi",
    ),
    "divide": (el.divide, torch.div, "fi"),
    "copysign": (el.copysign, torch.copysign, "fi"),
    "hypot": (el.hypot, torch.hypot, "f"),
    "heaviside": (el.heaviside, torch.heaviside, "fi"),
    "xlogy": (el.xlogy, torch.xlogy, "fi"),
    "xlog1py": (el.xlog1py, torch.special.xlog1py, "fi"),
    "fmax": (el.fmax, torch.fmax, "fi"),
    "fmin": (el.fmin, torch.fmin, "fi"),
    "isclose": (el.isclose, torch.isclose, "fi"),
    "isclose_nan": (
        lambda a, b: el.isclose(a, b, 0.1, 0.5, True),
        lambda a, b: torch.isclose(a, b, rtol=0.1, atol=0.5, equal_nan=True),
        "fi",
    ),
    "lerp": (lambda a, b: el.lerp(a, b, 0.3), lambda a, b: torch.lerp(a, b, 0.3), "f"),
    "lerp_far": (lambda a, b: el.lerp(a, b, 1.7), lambda a, b: torch.lerp(a, b, 1.7), "f"),
    "addcmul": (
        lambda a, b: el.addcmul(a, b, a, 2),
        lambda a, b: torch.addcmul(a, b, a, value=2),
        "fi",
    ),
    "addcdiv": (
        lambda a, b: el.addcdiv(a, b, a, 0.5),
        lambda a, b: torch.addcdiv(a, b, a, value=0.5),
        "f",
    ),
    "gcd": (el.gcd, torch.gcd, "i"),
    "lcm": (el.lcm, torch.lcm, "i"),
    "logaddexp2": (el.logaddexp2, torch.logaddexp2, "f"),
    "nextafter": (el.nextafter, torch.nextafter, "n"),
    "prelu": (ac.prelu, lambda a, b: torch.where(a > 0, a, b * a), "f"),
}
DIVISIONS = ("fmod", "remainder", "floor_divide", "trunc_divide")


@pytest.mark.parametrize(
    "name, dtype",
    [
        (n, d)
        for n, (_, _, kinds) in BINARY.items()
        for d in (FLOATS if "f" in kinds else []) + (INTS if "i" in kinds else [])
    ]
    + [("nextafter", torch.float32), ("nextafter", torch.bfloat16)],
)
def test_binary(name: str, dtype: torch.dtype) -> None:
    ours, theirs, _ = BINARY[name]
    a, b = pairs(dtype)
    if name in DIVISIONS and not dtype.is_floating_point:
        b = b[b != 0][None]  # torch refuses to divide integers by zero
    if name == "addcmul":
        a, b = a[:4], b[:, :4]
    if name in ("isclose", "isclose_nan") and dtype is torch.uint8:
        a, b = a.clone(), b.clone()
    want = theirs(a, b)
    got = ours(to_mx(a), to_mx(b))
    assert_same(got, want)
    if want.dtype.is_floating_point and name in (*DIVISIONS, "copysign", "nextafter"):
        numbers = ~torch.isnan(want)
        assert_same(el.signbit(got) & to_mx(numbers), torch.signbit(want) & numbers)


def test_exact_floor_division() -> None:
    a, b = torch.rand(500) * 100 - 50, torch.rand(500) - 0.5
    assert_same(el.floor_divide(to_mx(a), to_mx(b)), torch.floor_divide(a, b), 0.0)
    assert_same(el.fmod(to_mx(a), to_mx(b)), torch.fmod(a, b), 0.0)
    assert_same(el.remainder(to_mx(a), to_mx(b)), torch.remainder(a, b), 0.0)


def test_bits() -> None:
    x = torch.tensor([0.0, -0.0, 1.0, -3.75, 1e-40, 6e-45, 3e38, NAN, INF, -INF, 0.1])
    assert_same(el.frexp(to_mx(x)), tuple(torch.frexp(x)))
    half = x[[0, 2, 3, 10]].half()
    assert_same(el.frexp(to_mx(half)), tuple(torch.frexp(half)))
    n = torch.tensor([3, -2, 0, 10])
    assert_same(el.ldexp(to_mx(x[[2, 3, 0, 10]]), to_mx(n)), torch.ldexp(x[[2, 3, 0, 10]], n))
    for dtype in INTS:
        value = torch.tensor([1, 5, 100, 127], dtype=dtype)[:, None]
        if dtype is not torch.uint8:
            value = torch.cat([value, -value])
        count = torch.tensor([0, 1, 3, 7, 8, 15, 16, 31, 32, 63, 64, 100], dtype=dtype)
        m, c = to_mx((value, count))
        assert_same(el.shift_left(m, c), value << count, note=str(dtype))
        assert_same(el.shift_right(m, c), value >> count, note=str(dtype))


def test_powers_of_integers() -> None:
    for dtype in INTS[:4]:
        x = torch.tensor([0, 1, -1, 2, -2, 3, 7], dtype=dtype)[:, None]
        n = torch.tensor([-128, -3, -2, -1, 0, 1, 2, 5, 9, 127], dtype=dtype)
        assert_same(el.integer_power(*to_mx((x, n))), torch.pow(x, n), note=str(dtype))


def test_rest() -> None:
    x, y = torch.rand(3, 4) + 0.1, torch.randn(3, 4)
    assert_same(el.float_power(to_mx(x), to_mx(y)), torch.float_power(x, y))
    ints = torch.tensor([1, 2, 3])
    assert_same(el.float_power(to_mx(ints), 3), torch.float_power(ints, 3))
    z = torch.randn(4, dtype=torch.complex64)
    z[0] = 0
    assert_same(el.sgn(to_mx(z)), torch.sgn(z))
    w = torch.rand(3, 4)
    assert_same(el.lerp(*to_mx((x, y, w))), torch.lerp(x, y, w))
    low, high = torch.tensor([0.0, NAN, 1.0, 2.0]), torch.tensor([1.0, 1.0, NAN, 1.0])
    assert_same(el.clamp(*to_mx((y, low, high))), torch.clamp(y, low, high))
    for axis in (0, 1, -1):
        v = torch.randn(4, 6)
        assert_same(ac.glu(to_mx(v), axis), F.glu(v, axis))
        assert_same(ac.log_softmax(to_mx(v), axis), F.log_softmax(v, axis))
