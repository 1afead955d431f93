"""Random arrays and dropout in training: ONNX's distributions, drawn by MLX's generator.

ONNX leaves the generator open, so that a ``seed`` names no numbers; ``mx.random.seed`` makes runs
repeatable.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.onnx import lowers
from pytorch_to_mlx.lower.onnx._casts import convert
from pytorch_to_mlx.lower.onnx._common import array, cast, element, number
from pytorch_to_mlx.lower.onnx._dtypes import element_name
from pytorch_to_mlx.lower.onnx._values import Known


def _uniform(dims: Any, low: float = 0.0, high: float = 1.0) -> Value:
    bounds = {} if (low, high) == (0.0, 1.0) else {"low": low, "high": high}
    return call(mx.random.uniform, shape=tuple(dims), **bounds)


def _normal(dims: Any, mean: float, scale: float) -> Value:
    given = {} if (mean, scale) == (0.0, 1.0) else {"loc": mean, "scale": scale}
    return call(mx.random.normal, shape=tuple(dims), **given)


def _kind(x: Any, dtype: int | None) -> str:
    return element(x) if dtype is None else element_name(dtype)


@lowers("RandomUniform")
def random_uniform(
    shape: tuple[int, ...], dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float = 0.0
) -> Any:
    """RandomUniform(ints shape, int dtype, float high, float low, float seed) -> T output"""
    return convert(_uniform(shape, low, high), element_name(dtype))


@lowers("RandomUniformLike")
def random_uniform_like(
    input: Any, dtype: int | None = None, high: float = 1.0, low: float = 0.0, seed: float = 0.0
) -> Any:
    """RandomUniformLike(T1 input, int dtype, float high, float low, float seed) -> T2 output"""
    return convert(_uniform(input.dims, low, high), _kind(input, dtype))


@lowers("RandomNormal")
def random_normal(
    shape: tuple[int, ...], dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float = 0.0
) -> Any:
    """RandomNormal(ints shape, int dtype, float mean, float scale, float seed) -> T output"""
    return convert(_normal(shape, mean, scale), element_name(dtype))


@lowers("RandomNormalLike")
def random_normal_like(
    input: Any, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float = 0.0
) -> Any:
    """RandomNormalLike(T1 input, int dtype, float mean, float scale, float seed) -> T2 output"""
    return convert(_normal(input.dims, mean, scale), _kind(input, dtype))


@lowers("Bernoulli", since=15)
def bernoulli(input: Value, dtype: int | None = None, seed: float = 0.0) -> Any:
    """Bernoulli(T1 input, int dtype, float seed) -> T2 output"""
    drawn = call(mx.less, _uniform(input.dims), cast(input, "float32"))
    return convert(drawn, _kind(input, dtype))


@lowers("Multinomial", since=7)
def multinomial(input: Value, dtype: int = 6, sample_size: int = 1, seed: float = 0.0) -> Any:
    """Multinomial(T1 input, int dtype, int sample_size, float seed) -> T2 output; the input holds
    logarithms of chances, one row a draw."""
    rows, _ = input.dims
    logits = call(mx.expand_dims, cast(input, "float32"), 1)
    drawn = call(mx.random.categorical, logits, axis=-1, shape=(rows, sample_size))
    return convert(drawn, element_name(dtype))


def training_dropout(data: Value, ratio: Any, training: Any) -> tuple[Value, Value]:
    """``data`` with some elements zero and the rest scaled, and which are kept; whether it trains
    may be data."""
    share = 0.5 if ratio is None else number(ratio)
    kept = call(mx.greater_equal, _uniform(data.dims), share)
    scale: Any = 1.0 / (1.0 - share) if not isinstance(share, Value) and share < 1 else None
    if scale is None:
        scale = call(mx.divide, 1.0, 1.0 - array(ratio))
    if not isinstance(training, Known):
        on = array(training)
        kept = call(mx.logical_or, kept, call(mx.logical_not, on))
        scale = call(mx.where, on, scale, 1.0)
    if isinstance(scale, Value):
        scale = cast(scale, str(data.dtype))
    dropped = call(mx.where, kept, call(mx.multiply, data, scale), 0.0)
    return cast(dropped, DType(str(data.dtype))), kept
