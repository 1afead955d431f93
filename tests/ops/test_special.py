"""ops.special and ops.polynomials against torch in float64: errors are of float32 size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytorch_to_mlx.ops import polynomials as po
from pytorch_to_mlx.ops import special as sp
from tests.ops.torch_parity import assert_same, to_mx

NAN, INF = float("nan"), float("inf")
EDGES = torch.tensor([0.0, -0.0, 1.0, 2.0, -1.0, -2.0, 0.5, -0.5, INF, -INF, NAN])
UNARY = {
    # name: (range, worst error in units of max(|value|, floor), floor)
    "gammaln": (-6.3, 60.0, 2e-6, 1.0),
    "digamma": (-6.3, 60.0, 3e-6, 1.0),
    "erfc": (-5.0, 9.0, 6e-6, 0.0),  # MLX's own exp(-80) is off by 3e-6
    "erfcx": (-8.0, 80.0, 6e-6, 0.0),
    "ndtr": (-6.0, 6.0, 6e-6, 0.0),  # the argument over sqrt(2) is rounded, then squared
    "log_ndtr": (-30.0, 6.0, 6e-6, 1e-3),
    "ndtri": (0.0001, 0.9997, 2e-6, 1.0),
    "entr": (0.0, 9.0, 2e-6, 1.0),
}
OURS = {"gammaln": sp.lgamma}


@pytest.mark.parametrize("name", sorted(UNARY))
def test_unary(name: str) -> None:
    low, high, rtol, floor = UNARY[name]
    x = torch.linspace(low, high, 3001) + 1e-4
    theirs, ours = getattr(torch.special, name), OURS.get(name, getattr(sp, name, None))
    want = theirs(x.double()).numpy()
    got = np.array(ours(to_mx(x)), dtype=np.float64)
    # Near a pole the function is as steep as it is high: allow for the argument's own rounding.
    steep = np.abs(np.gradient(want, x.double().numpy())) if name in ("gammaln", "digamma") else 0.0
    allowed = rtol * np.maximum(np.abs(want), floor) + 3e-7 * steep
    assert np.all(np.abs(got - want) <= allowed), np.max(np.abs(got - want) / allowed)
    assert_same(ours(to_mx(EDGES)), theirs(EDGES), 3e-6)
    ints = torch.tensor([1, 2, 4])
    assert_same(ours(to_mx(ints)), theirs(ints), 3e-6)
    half = torch.tensor([0.25, 0.5, 0.75], dtype=torch.bfloat16)
    if name not in ("erfcx", "log_ndtr", "ndtri"):
        assert_same(ours(to_mx(half)), theirs(half.float()).bfloat16())
    assert_same(ours(to_mx(x[:0])), theirs(x[:0]))


def test_small_lgamma_keeps_its_digits() -> None:
    x = torch.tensor([0.999, 1.0, 1.001, 1.999, 2.0, 2.001, 1e-3, 1e-10, 1e5, 1e30])
    want = torch.lgamma(x.double()).numpy()
    got = np.array(sp.lgamma(to_mx(x)), dtype=np.float64)
    np.testing.assert_allclose(got, want, rtol=3e-6)
    assert_same(sp.multigammaln(to_mx(x[3:6] + 3), 3), torch.special.multigammaln(x[3:6] + 3, 3))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
def test_polygamma(n: int) -> None:
    x = torch.tensor([0.1, 0.5, 1.0, 1.7, 3.0, 12.0, 100.0, -0.3, -1.6, -2.5])
    got = np.array(sp.polygamma(n, to_mx(x)), dtype=np.float64)
    want = torch.polygamma(n, x.double()).numpy()
    np.testing.assert_allclose(got, want, rtol=2e-5)  # powers near the poles at 0, -1, ...


def test_zeta() -> None:
    s = torch.tensor([1.1, 1.5, 2.0, 3.7, 12.0])[:, None]
    q = torch.tensor([0.3, 1.0, 2.5, 10.0, 80.0])[None]
    want = torch.special.zeta(s.double(), q.double()).numpy()
    got = np.array(sp.zeta(*to_mx((s, q))), dtype=np.float64)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    s, q = torch.tensor([1.0, 0.5, 2.0, 2.0, 2.5, NAN]), torch.tensor([2.0, 2, 0, -1, -1.5, 1])
    assert_same(sp.zeta(*to_mx((s, q))), torch.special.zeta(s, q))


def test_incomplete_gamma() -> None:
    a = torch.tensor([0.1, 0.7, 1.0, 3.0, 8.0, 9.0, 30.0, 150.0, 400.0])[:, None]
    x = torch.tensor([0.01, 0.5, 1.0, 2.5, 9.0, 29.0, 33.0, 140.0, 160.0, 399.0, 430.0])[None]
    for name in ("gammainc", "gammaincc"):
        want = getattr(torch.special, name)(a.double(), x.double()).numpy()
        got = np.array(getattr(sp, name)(*to_mx((a, x))), dtype=np.float64)
        assert np.max(np.abs(got - want)) < 5e-6, name
        edge_a, edge_x = (
            torch.tensor([0.0, 0, 1, 2, -1, 1, NAN]),
            torch.tensor([0.0, 1, 0, INF, 1, -1, 1]),
        )
        assert_same(
            getattr(sp, name)(*to_mx((edge_a, edge_x))),
            getattr(torch.special, name)(edge_a, edge_x),
        )


POLYNOMIALS = [f"chebyshev_polynomial_{k}" for k in "tuvw"]
POLYNOMIALS += ["hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l"]
POLYNOMIALS += ["legendre_polynomial_p"]


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials(name: str) -> None:
    x = torch.tensor([-1.0, -0.7, 0.0, 0.3, 0.99, 1.0, 1.5, -2.0])
    for degree in (-1, 0, 1, 2, 3, 7, 10):
        want = getattr(torch.special, name)(x.double(), degree)
        assert_same(getattr(po, name)(to_mx(x), degree), want, note=str(degree))
