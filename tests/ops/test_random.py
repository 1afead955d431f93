"""ops.random by shape, dtype, repeatability and distribution (the generators differ from torch's).

Moments are held to five standard errors of the sample; the seed is fixed.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
import torch

from pytorch_to_mlx.ops import random as rn

N = 40_000
KEY = mx.random.key(7)


def moments(x: mx.array, mean: float, variance: float, kurtosis: float = 3.0) -> None:
    host = np.array(x.astype(mx.float32)).astype(np.float64).ravel()
    n = host.size
    assert abs(host.mean() - mean) < 5 * np.sqrt(variance / n), (host.mean(), mean)
    spread = variance * np.sqrt(max(kurtosis - 1, 0.1) / n)
    assert abs(host.var() - variance) < 5 * spread, (host.var(), variance)


def test_shapes_dtypes_and_keys() -> None:
    for dtype in (mx.float32, mx.bfloat16, mx.float16):
        x = mx.full((3, 4), 0.5, dtype=dtype)
        for draw in (
            rn.bernoulli(x),
            rn.dropout(x, 0.5),
            rn.exponential(x),
            rn.geometric(x, 0.3),
            rn.cauchy(x),
            rn.log_normal(x),
            rn.poisson(x),
            rn.normal(x, x),
        ):
            assert draw.shape == (3, 4)
            assert draw.dtype == dtype
    for function in (rn.bernoulli, rn.exponential, rn.cauchy, rn.log_normal, rn.poisson):
        x = mx.full((50,), 0.5)
        assert mx.array_equal(function(x, key=KEY), function(x, key=KEY))
        mx.random.seed(3)
        first = function(x)
        assert not mx.array_equal(first, function(x)) or function is rn.bernoulli
        mx.random.seed(3)
        assert mx.array_equal(first, function(x))
    assert rn.randint(0, 5, (2, 0)).shape == (2, 0)
    assert rn.randint(0, 5, (2,)).dtype == mx.int64


def test_distributions() -> None:
    ones = mx.ones((N,))
    moments(rn.bernoulli(ones * 0.3, KEY), 0.3, 0.21, 2)
    moments(rn.exponential(ones, 2.0, KEY), 0.5, 0.25, 9)
    moments(rn.geometric(ones, 0.25, KEY), 4.0, 12.0, 9.1)
    moments(rn.normal(ones * 3, ones * 2, KEY), 3.0, 4.0)
    moments(mx.log(rn.log_normal(ones, 1.0, 2.0, KEY)), 1.0, 4.0)
    moments(rn.randint(-3, 7, (N,), key=KEY), 1.5, 8.25, 1.8)
    dropped = rn.dropout(ones, 0.25, KEY)
    moments(dropped, 1.0, 1 / 0.75 - 1, 3)
    assert set(np.unique(np.array(dropped)).round(5)) == {0.0, np.float32(1 / 0.75).round(5)}
    assert mx.array_equal(rn.dropout(ones, 1.0), ones * 0)
    # A Cauchy draw has no moments: a quarter lies below median - sigma, a quarter above + sigma.
    wild = np.array(rn.cauchy(ones, 2.0, 3.0, KEY))
    np.testing.assert_allclose(np.quantile(wild, [0.25, 0.5, 0.75]), [-1, 2, 5], atol=0.15)


@pytest.mark.parametrize("rate", [0.0, 0.3, 4.0, 9.9, 10.0, 31.0, 500.0])
def test_poisson(rate: float) -> None:
    counts = rn.poisson(mx.full((N,), rate), KEY)
    if rate == 0:
        assert not mx.any(counts)
        return
    moments(counts, rate, rate, 3 + 1 / rate)
    host = np.array(counts)
    assert np.all(host == np.floor(host))
    # Every count's share, against the mass function, by its own standard error.
    values = torch.arange(0.0, 2 * rate + 12, dtype=torch.float64)
    log_mass = values * np.log(rate) - rate - torch.lgamma(values + 1)
    mass = log_mass.exp().numpy()
    shares = np.bincount(host.astype(int), minlength=len(values))[: len(values)] / N
    common = mass * N > 20
    error = np.abs(shares - mass)[common] / np.sqrt(mass[common] / N)
    assert error.max() < 5


def test_indices() -> None:
    order = np.array(rn.randperm(50, key=KEY))
    assert sorted(order) == list(range(50))
    assert not np.array_equal(order, np.arange(50))
    weights = mx.array([0.1, 0.0, 0.6, 0.3])
    draws = rn.multinomial(weights, N, True, KEY)
    assert draws.dtype == mx.int64
    shares = np.bincount(np.array(draws), minlength=4) / N
    np.testing.assert_allclose(shares, [0.1, 0, 0.6, 0.3], atol=0.015)
    rows = np.array(rn.multinomial(mx.broadcast_to(weights, (9000, 4)), 3, False, KEY))
    assert np.all(np.sort(rows, axis=1) == [0, 2, 3])
    first = np.bincount(rows[:, 0], minlength=4) / 9000
    np.testing.assert_allclose(first, [0.1, 0, 0.6, 0.3], atol=0.03)
    # Given that 2 came first, 3 comes second with chance 0.3 / 0.4.
    np.testing.assert_allclose((rows[rows[:, 0] == 2, 1] == 3).mean(), 0.75, atol=0.03)
    batch = rn.multinomial(mx.ones((2, 3)), 5, True)
    assert batch.shape == (2, 5)
