"""ops.bessel against torch in float64: errors are of float32 size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytorch_to_mlx.ops import bessel as bs
from tests.ops.torch_parity import assert_same, to_mx

NAN, INF = float("nan"), float("inf")
NAMES = ["i0", "i0e", "i1", "i1e", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1"]
NAMES += ["modified_bessel_k0", "modified_bessel_k1", "spherical_bessel_j0"]
NAMES += ["scaled_modified_bessel_k0", "scaled_modified_bessel_k1"]


@pytest.mark.parametrize("name", NAMES)
def test_values(name: str) -> None:
    x = torch.cat([torch.linspace(0.01, 60, 1500), torch.tensor([1e-6, 2.0, 8.0, 8.000001])])
    if not name.startswith(("bessel_y", "modified", "scaled")):
        x = torch.cat([x, -x])
    want = getattr(torch.special, name)(x.double()).numpy()
    got = np.array(getattr(bs, name)(to_mx(x)))
    # Oscillating functions have zeros: their error is measured against the envelope x**-0.5.
    oscillating = name.startswith(("bessel", "spherical"))
    envelope = np.maximum(np.abs(want), 1 / np.sqrt(1 + np.abs(x.numpy())) if oscillating else 0)
    # The exponential of an argument of 60 alone carries 60 half-ulps.
    rtol = 6e-6 if name in ("i0", "i1", "modified_bessel_k0", "modified_bessel_k1") else 2e-6
    assert np.max(np.abs(got - want) / envelope) < rtol


@pytest.mark.parametrize("name", NAMES)
def test_special_values_and_dtypes(name: str) -> None:
    x = torch.tensor([0.0, -1.5, NAN, 1.0, 100.0])
    theirs, ours = getattr(torch.special, name), getattr(bs, name)
    assert_same(ours(to_mx(x[:4])), theirs(x[:4]), 2e-6)
    ints = torch.tensor([1, 2, 5])
    assert_same(ours(to_mx(ints)), theirs(ints), 3e-6)
    assert_same(ours(to_mx(x[:0])), theirs(x[:0]))
    if name in ("i0", "i0e", "i1", "i1e"):
        half = torch.tensor([0.5, 3.0, -2.0], dtype=torch.bfloat16)
        if name in ("i0",):
            assert_same(ours(to_mx(half)), theirs(half))
        huge = torch.tensor([100.0, -100.0, 88.0])
        assert_same(ours(to_mx(huge)), theirs(huge), 2e-5)
