"""Ops that ONNX had on trial before opset 10 and took back; old models hold them."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.lower.onnx import lowers
from pytorch_to_mlx.lower.onnx._common import getitem


@lowers("Affine")
def affine(X: Value, alpha: float = 1.0, beta: float = 0.0) -> Value:
    """Affine(T X, float alpha, float beta) -> T Y"""
    return X * alpha + beta


@lowers("Scale")
def scale_(input: Value, scale: float = 1.0) -> Value:
    """Scale(T input, float scale) -> T output"""
    return input * scale


@lowers("ScaledTanh")
def scaled_tanh(input: Value, alpha: float = 1.0, beta: float = 1.0) -> Value:
    """ScaledTanh(T input, float alpha, float beta) -> T output"""
    return call(mx.tanh, input * beta) * alpha


@lowers("ParametricSoftplus")
def parametric_softplus(X: Value, alpha: float = 1.0, beta: float = 1.0) -> Value:
    """ParametricSoftplus(T X, float alpha, float beta) -> T Y"""
    return call("nn.softplus", X * beta) * alpha


@lowers("ImageScaler")
def image_scaler(input: Value, scale: float = 1.0, bias: tuple[float, ...] = ()) -> Value:
    """ImageScaler(T input, float scale=1, floats bias) -> T output; a bias for each channel"""
    y = input * scale
    if not bias:
        return y
    offsets = call(mx.array, bias, dtype=y.dtype)
    return y + offsets.reshape(-1, 1, 1)


@lowers("Crop")
def crop(input: Value, border: tuple[int, ...], scale: tuple[int, ...] = ()) -> Value:
    """Crop(T input, ints border, ints scale) -> T output; left, top, right and bottom off, or the
    height and width to keep"""
    left, top, right, bottom = border
    height, width = input.dims[2:]
    end: tuple[Any, Any] = (height - bottom, width - right)
    if scale:
        end = (top + scale[0], left + scale[1])
    every = slice(None)
    return getitem(input, every, every, slice(top or None, end[0]), slice(left or None, end[1]))
