"""Orthogonal polynomials whose degree is given element by element, against torch."""

from __future__ import annotations

import pytest
import torch

from pytorch_to_mlx.ops.polynomials import orthogonal_polynomial
from tests.ops.torch_parity import assert_same, to_mx

X = torch.linspace(-1.5, 1.5, 13)[:, None]
DEGREES = torch.tensor([-1.0, 0, 1, 2, 3.7, 5])
KINDS = "chebyshev_t chebyshev_u chebyshev_v chebyshev_w hermite_h hermite_he laguerre_l legendre_p"


@pytest.mark.parametrize("kind", KINDS.split())
def test_polynomials(kind: str) -> None:
    family, letter = kind.split("_")
    reference = getattr(torch.special, f"{family}_polynomial_{letter}")
    want = reference(X, DEGREES)
    assert_same(orthogonal_polynomial(to_mx(X), to_mx(DEGREES), kind), want, 1e-5)
    if family == "chebyshev":
        shifted = getattr(torch.special, f"shifted_{family}_polynomial_{letter}")(X, DEGREES)
        got = orthogonal_polynomial(to_mx(X), to_mx(DEGREES), kind, shifted=True)
        assert_same(got, shifted, 1e-5)
