"""Random numbers of torch's distributions, shapes and dtypes.

The numbers themselves differ from torch's: the generators do. ``key`` (``mx.random.key``) makes a
draw repeatable; without it the global state of ``mx.random.seed`` is used.
"""

from __future__ import annotations

import math

import mlx.core as mx

from pytorch_to_mlx.ops.special import gamma_density


def open_uniform(shape: tuple[int, ...], key: mx.array | None = None) -> mx.array:
    """float32 uniform in (0, 1]: its logarithm is finite."""
    return 1 - mx.random.uniform(shape=shape, key=key)


def bernoulli(p: mx.array, key: mx.array | None = None) -> mx.array:
    """``torch.bernoulli``: 0 or 1 in the dtype of ``p``, its chance of a 1."""
    draw = mx.random.uniform(shape=p.shape, key=key)
    return (draw < p.astype(mx.float32)).astype(p.dtype)


def dropout(x: mx.array, p: float, key: mx.array | None = None) -> mx.array:
    """``dropout`` in training: zero with chance ``p``, the rest scaled by ``1 / (1 - p)``."""
    if p == 1:
        return mx.zeros_like(x)
    kept = mx.random.uniform(shape=x.shape, key=key) >= p
    return mx.where(kept, x * (1 / (1 - p)), mx.zeros_like(x))


def multinomial(
    weights: mx.array, num_samples: int, replacement: bool = False, key: mx.array | None = None
) -> mx.array:
    """``torch.multinomial``: int64 [..., num_samples] indices drawn by ``weights`` [..., n]."""
    logits = mx.log(weights.astype(mx.float32))
    if replacement:
        shape = weights.shape[:-1] + (num_samples,)
        rows = mx.random.categorical(mx.expand_dims(logits, -2), axis=-1, shape=shape, key=key)
        return rows.astype(mx.int64)
    # The largest of logits plus Gumbel noise are a draw without replacement.
    noisy = logits + mx.random.gumbel(shape=weights.shape, key=key)
    order = mx.argsort(-noisy, axis=-1)
    return order[..., :num_samples].astype(mx.int64)


def normal(mean: mx.array, std: mx.array, key: mx.array | None = None) -> mx.array:
    """``torch.normal``: ``mean`` and ``std`` broadcast."""
    mean, std = mx.broadcast_arrays(mean, std)
    return mean + std * mx.random.normal(shape=mean.shape, dtype=mean.dtype, key=key)


def randint(
    low: int,
    high: int,
    shape: tuple[int, ...],
    dtype: mx.Dtype = mx.int64,
    key: mx.array | None = None,
) -> mx.array:
    """``torch.randint``: integers in [low, high)."""
    return mx.random.randint(low, high, shape, dtype=mx.int64, key=key).astype(dtype)


def randperm(n: int, dtype: mx.Dtype = mx.int64, key: mx.array | None = None) -> mx.array:
    """``torch.randperm``: 0 .. n - 1, shuffled."""
    return mx.argsort(mx.random.uniform(shape=(n,), key=key)).astype(dtype)


def exponential(x: mx.array, rate: float = 1.0, key: mx.array | None = None) -> mx.array:
    """``torch.Tensor.exponential_``: shape and dtype of ``x``."""
    return (-mx.log(open_uniform(x.shape, key)) / rate).astype(x.dtype)


def geometric(x: mx.array, p: float, key: mx.array | None = None) -> mx.array:
    """``torch.Tensor.geometric_``: trials up to the first success, at least 1."""
    trials = mx.ceil(mx.log(open_uniform(x.shape, key)) / math.log1p(-p))
    return mx.maximum(trials, 1).astype(x.dtype)


def cauchy(
    x: mx.array, median: float = 0.0, sigma: float = 1.0, key: mx.array | None = None
) -> mx.array:
    """``torch.Tensor.cauchy_``: shape and dtype of ``x``."""
    draw = mx.random.uniform(shape=x.shape, key=key)
    return (median + sigma * mx.tan(math.pi * (draw - 0.5))).astype(x.dtype)


def log_normal(
    x: mx.array, mean: float = 1.0, std: float = 2.0, key: mx.array | None = None
) -> mx.array:
    """``torch.Tensor.log_normal_``: exponential of a normal draw."""
    return mx.exp(mx.random.normal(shape=x.shape, key=key) * std + mean).astype(x.dtype)


def poisson(rate: mx.array, key: mx.array | None = None) -> mx.array:
    """``torch.poisson``: counts in the dtype of ``rate``.

    Below 10 the number of exponential waits that fit into ``rate``; above, rejection by
    Hoermann's PTRS (1993), 16 rounds of which leave one draw in 10**10 unaccepted.
    """
    wide = rate.astype(mx.float32)
    keys = [None] * 33 if key is None else list(mx.random.split(key, 33))
    waits = -mx.log(open_uniform((50, *rate.shape), keys[0]))
    few = mx.sum((mx.cumsum(waits, axis=0) <= wide).astype(mx.float32), axis=0)
    mu = mx.maximum(wide, 10)
    b = 0.931 + 2.53 * mx.sqrt(mu)
    a = -0.059 + 0.02483 * b
    steep, sure = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2)
    many = mx.floor(mu)
    pending = mx.ones(rate.shape, dtype=mx.bool_)
    for trial in range(16):
        u = open_uniform(rate.shape, keys[1 + 2 * trial]) - 0.5
        v = open_uniform(rate.shape, keys[2 + 2 * trial])
        edge = mx.maximum(0.5 - mx.abs(u), 1e-7)
        count = mx.floor((2 * a / edge + b) * u + mu + 0.43)
        possible = (count >= 0) & mx.logical_not((edge < 0.013) & (v > edge))
        density = gamma_density(mx.maximum(count, 1e-6), mu)
        below = v * steep / (a / (edge * edge) + b) <= density
        taken = ((edge >= 0.07) & (v <= sure)) | (possible & below)
        many = mx.where(pending & taken, count, many)
        pending = pending & mx.logical_not(taken)
    return mx.where(wide < 10, few, many).astype(rate.dtype)
