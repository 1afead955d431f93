"""Norms, activations and products as ONNX Runtime's own ops have them (com.microsoft)."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._common import call_as, cast, getitem
from pytorch_to_mlx.lower.onnx.conv import conv
from pytorch_to_mlx.lower.onnx.linear import gemm, product_of
from pytorch_to_mlx.lower.onnx.norms import layer_normalization, rms_normalization
from pytorch_to_mlx.ops.layers import embedding

MICROSOFT = "com.microsoft"


def _gelu(x: Value, how: str = "nn.gelu") -> Value:
    return cast(call_as(how, [(x.dims, x.dtype)], x), str(x.dtype))


@lowers("SkipLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(
    input: Value,
    skip: Value,
    gamma: Value,
    beta: Value | None = None,
    bias: Value | None = None,
    epsilon: float = 1e-12,
) -> tuple[Any, ...]:
    """com.microsoft.SkipLayerNormalization -> (output, mean, inv_std_var, input_skip_bias_sum)"""
    x = input + skip if bias is None else input + skip + bias
    return call("mx.fast.layer_norm", x, gamma, beta, epsilon), None, None, x


@lowers("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_simplified_layer_normalization(
    input: Value, skip: Value, gamma: Value, bias: Value | None = None, epsilon: float = 1e-12
) -> tuple[Any, ...]:
    """com.microsoft.SkipSimplifiedLayerNormalization: the same without a mean"""
    x = input + skip if bias is None else input + skip + bias
    return call("mx.fast.rms_norm", x, gamma, epsilon), None, None, x


@lowers("SimplifiedLayerNormalization")
@lowers("SimplifiedLayerNormalization", domain=MICROSOFT)
def simplified_layer_normalization(
    X: Value, scale: Value, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """SimplifiedLayerNormalization(T X, V scale): RMSNormalization before it was standard"""
    return rms_normalization(X, scale, axis, epsilon, stash_type)


@lowers("LayerNormalization", domain=MICROSOFT)
def layer_normalization_(X: Value, Scale: Value, B: Value | None = None, **options: Any) -> Any:
    """The standard op, as older graphs name it."""
    return layer_normalization(X, Scale, B, **options)


@lowers("EmbedLayerNormalization", domain=MICROSOFT)
def embed_layer_normalization(
    input_ids: Value,
    segment_ids: Value | None,
    word_embedding: Value,
    position_embedding: Value,
    segment_embedding: Value | None,
    gamma: Value,
    beta: Value,
    mask: Value | None = None,
    position_ids: Value | None = None,
    epsilon: float = 1e-12,
    mask_index_type: int = 1,
) -> tuple[Any, ...]:
    """com.microsoft.EmbedLayerNormalization -> (output, mask_index, embedding_sum)"""
    x = call(embedding, word_embedding, input_ids)
    if position_ids is None:
        x = x + getitem(position_embedding, slice(None, input_ids.dims[1]))
    else:
        x = x + call(embedding, position_embedding, position_ids)
    if segment_embedding is not None and segment_ids is not None:
        x = x + call(embedding, segment_embedding, segment_ids)
    if mask is None:
        lengths = call(mx.zeros, (input_ids.dims[0],), DType("int32"))
    else:
        lengths = cast(call(mx.sum, mask, axis=1), "int32")
    return call("mx.fast.layer_norm", x, gamma, beta, epsilon), lengths, x


@lowers("FastGelu", domain=MICROSOFT)
def fast_gelu(X: Value, bias: Value | None = None) -> Value:
    """com.microsoft.FastGelu(T X, T? bias) -> T Y"""
    return _gelu(X if bias is None else X + bias, "nn.gelu_approx")


@lowers("BiasGelu", domain=MICROSOFT)
def bias_gelu(A: Value, B: Value) -> Value:
    """com.microsoft.BiasGelu(T A, T B) -> T C"""
    return _gelu(A + B)


@lowers("Gelu", domain=MICROSOFT)
def gelu_(X: Value) -> Value:
    """com.microsoft.Gelu(T X) -> T Y"""
    return _gelu(X)


@lowers("QuickGelu", domain=MICROSOFT)
def quick_gelu(X: Value, alpha: float = 1.702) -> Value:
    """com.microsoft.QuickGelu(T X, float alpha=1.702) -> T Y"""
    return X * call(mx.sigmoid, X * alpha)


@lowers("BiasSplitGelu", domain=MICROSOFT)
def bias_split_gelu(X: Value, bias: Value) -> Value:
    """com.microsoft.BiasSplitGelu(T X, T bias) -> T Y: one half times the gelu of the other"""
    left, right = call(mx.split, X + bias, 2, axis=-1)
    return left * _gelu(right)


@lowers("BiasAdd", domain=MICROSOFT)
def bias_add(X: Value, bias: Value, skip: Value) -> Value:
    """com.microsoft.BiasAdd(T X, T bias, T skip) -> T Y"""
    return X + bias + skip


@lowers("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(
    A: Value,
    B: Value,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
) -> Value:
    """com.microsoft.FusedMatMul(T A, T B, float alpha=1, int transA=0, int transB=0) -> T Y"""
    y = product_of(_turned(A, transA, transBatchA), _turned(B, transB, transBatchB))
    return y if alpha == 1.0 else y * alpha


def _turned(x: Value, last: int, batch: int) -> Value:
    """``batch``: the first axis goes behind the batch's; ``last``: the last two change places."""
    if batch and x.ndim > 2:
        x = x.transpose(*range(1, x.ndim - 1), 0, x.ndim - 1)
    if last and x.ndim > 1:
        x = x.transpose(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)
    return x


def _activated(x: Value, activation: str, given: tuple[float, ...]) -> Value:
    """Raises: Unsupported for an activation that fused ops do not have."""
    if activation == "Relu":
        return call("nn.relu", x)
    if activation in ("Tanh", "Sigmoid"):
        return call(mx.tanh if activation == "Tanh" else mx.sigmoid, x)
    if activation == "LeakyRelu":
        return call("nn.leaky_relu", x, *(given[:1] or (0.01,)))
    if activation == "Clip":
        return call(mx.clip, x, *given)
    if activation == "HardSigmoid":
        return call(mx.clip, x * given[0] + given[1], 0.0, 1.0)
    raise Unsupported(f"the activation {activation}")


@lowers("FusedConv", domain=MICROSOFT)
def fused_conv(
    X: Value,
    W: Value,
    B: Value | None = None,
    Z: Value | None = None,
    activation: str = "",
    activation_params: tuple[float, ...] = (),
    **window: Any,
) -> Value:
    """com.microsoft.FusedConv: a convolution, the sum with ``Z``, an activation"""
    y = conv(X, W, B, **window)
    y = y if Z is None else y + Z
    return _activated(y, activation, activation_params) if activation else y


@lowers("FusedGemm", domain=MICROSOFT)
def fused_gemm(
    A: Value,
    B: Value,
    C: Any = None,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    **options: Any,
) -> Value:
    """com.microsoft.FusedGemm: Gemm and an activation"""
    y = gemm(A, B, C, **options)
    numbers = (activation_alpha, activation_beta, activation_gamma)
    given = tuple(n for n in numbers if n is not None)
    return _activated(y, activation, given) if activation else y
