"""ONNX Runtime's own ops (com.microsoft), judged by ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
from tests.onnx_frontend.against_runtime import check, floats, rng

B, T, H, D = 2, 5, 4, 16
C = H * D


def test_norms():
    x, skip, gamma, beta, bias = floats(B, T, C), floats(B, T, C), floats(C), floats(C), floats(C)
    given = {"x": x, "skip": skip, "gamma": gamma, "beta": beta}
    check("SkipLayerNormalization", given, weights=("gamma", "beta"))
    check("SkipLayerNormalization", {**given, "bias": bias}, wanted=(0, 3), epsilon=1e-5)
    given = {"x": x, "skip": skip, "gamma": gamma}
    check("SkipSimplifiedLayerNormalization", given, wanted=(0, 3), epsilon=1e-6)
    check("SimplifiedLayerNormalization", {"x": x, "scale": gamma}, domain="", epsilon=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_embeddings(masked):
    given: dict[str, Any] = {
        "ids": rng.integers(0, 11, (B, T)).astype(np.int32),
        "segments": rng.integers(0, 2, (B, T)).astype(np.int32),
        "word": floats(11, C),
        "position": floats(16, C),
        "segment": floats(2, C),
        "gamma": floats(C),
        "beta": floats(C),
    }
    if masked:
        given["mask"] = np.array([[1] * T, [1, 1, 1, 0, 0]], np.int32)
    weights = ("word", "position", "segment", "gamma", "beta")
    check("EmbedLayerNormalization", given, outputs=2, weights=weights)


def test_activations():
    x, b = floats(B, T, C), floats(C)
    check("FastGelu", {"x": x, "b": b})
    check("FastGelu", {"x": x})
    check("BiasGelu", {"x": x, "b": b})
    check("Gelu", {"x": x})
    check("QuickGelu", {"x": x}, alpha=1.5)


def test_products():
    a, b = floats(3, 4, 5), floats(3, 5, 6)
    check("FusedMatMul", {"a": a, "b": b}, alpha=0.5)
    check("FusedMatMul", {"a": a.swapaxes(1, 2), "b": b.swapaxes(1, 2)}, transA=1, transB=1)
    turned = np.ascontiguousarray(a.transpose(1, 0, 2))
    check("FusedMatMul", {"a": turned, "b": b}, transBatchA=1)
    check(
        "FusedGemm", {"a": a[0], "b": b[0], "c": floats(6)}, activation="LeakyRelu",
        activation_alpha=0.2,
    )  # fmt: skip
    x, w = floats(1, 3, 6, 6), floats(4, 3, 3, 3)
    check("FusedConv", {"x": x, "w": w, "b": floats(4)}, activation="Relu", pads=[1, 1, 1, 1])


MASKS = {
    "lengths": np.array([5, 3], np.int32),
    "keys": np.array([[1] * T, [1, 1, 1, 0, 0]], np.int32),
    "rows": np.tril(np.ones((B, T, T), np.int32)),
}


@pytest.mark.parametrize("mask", [None, *MASKS])
@pytest.mark.parametrize("dynamic", [False, True])
def test_attention(mask, dynamic):
    given = {
        "x": floats(B, T, C),
        "w": floats(C, 3 * C) / 4,
        "b": floats(3 * C),
        "mask": MASKS.get(mask),
    }
    check("Attention", given, outputs=2, weights=("w", "b"), num_heads=H, dynamic=dynamic)


def test_attention_that_is_causal_with_a_past_and_a_bias():
    given = {
        "x": floats(B, T, C),
        "w": floats(C, 3 * C) / 4,
        "b": floats(3 * C),
        "mask": None,
        "past": floats(2, B, H, 3, D),
    }
    options = {"num_heads": H, "unidirectional": 1, "scale": 0.3}
    check("Attention", given, outputs=2, **options)
    masked = {**given, "mask": np.array([[1] * 8, [0, 0, 1, 1, 1, 1, 1, 1]], np.int32)}
    check("Attention", masked, outputs=2, **options)
    biased = {**given, "past": None, "bias": floats(B, H, T, T)}
    check("Attention", biased, **options)


def test_multi_head_attention():
    q, k, v = floats(B, T, C), floats(B, 7, C), floats(B, 7, C)
    given: dict[str, Any] = {"q": q, "k": k, "v": v, "b": None, "mask": None}
    check("MultiHeadAttention", given, num_heads=H)
    check("MultiHeadAttention", {**given, "b": floats(3 * C)}, num_heads=H)
    masked = {**given, "mask": np.array([[1] * 7, [1] * 4 + [0] * 3], np.int32)}
    check("MultiHeadAttention", masked, num_heads=H, scale=0.2)
    check("MultiHeadAttention", {**given, "bias": floats(1, H, T, 7)}, num_heads=H)
    past = {"bias": None, "pk": floats(B, H, 3, D), "pv": floats(B, H, 3, D)}
    check("MultiHeadAttention", {**given, **past}, outputs=3, num_heads=H)
    check("MultiHeadAttention", {**given, **past}, outputs=3, num_heads=H, dynamic=True)
    heads = {"q": q, "k": floats(B, H, 7, D), "v": floats(B, H, 7, D)}
    check("MultiHeadAttention", heads, num_heads=H)
    causal = {"q": q, "k": q, "v": q}
    check("MultiHeadAttention", causal, num_heads=H, unidirectional=1)


def angles(count: int, pairs: int) -> dict[str, np.ndarray]:
    at = np.outer(np.arange(count), 0.7 ** np.arange(pairs)).astype(np.float32)
    return {"cos": np.cos(at), "sin": np.sin(at)}


@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embedding(interleaved):
    rows = np.array([[0, 1, 2, 3, 4], [3, 4, 5, 6, 7]], np.int64)
    table = angles(16, D // 2)
    options = {"interleaved": interleaved, "weights": ("cos", "sin")}
    check("RotaryEmbedding", {"x": floats(B, T, C), "at": rows, **table}, **options)
    check("RotaryEmbedding", {"x": floats(B, H, T, D), "at": rows, **table}, **options)
    first = np.array([3], np.int64)
    check("RotaryEmbedding", {"x": floats(B, T, C), "at": first, **table}, **options)
    half = {"num_heads": H, "rotary_embedding_dim": D // 2, **options}
    check("RotaryEmbedding", {"x": floats(B, T, C), "at": rows, **angles(16, D // 4)}, **half)


GROUPS = {"num_heads": H, "kv_num_heads": 2}


def grouped(length: int, past: int, lengths: list[int]) -> dict[str, Any]:
    keys = 2 * D
    return {
        "q": floats(B, length, C),
        "k": floats(B, length, keys),
        "v": floats(B, length, keys),
        "pk": floats(B, 2, past, D),
        "pv": floats(B, 2, past, D),
        "lengths": np.array(lengths, np.int32) - 1,
        "total": np.array(max(lengths), np.int32),
    }


@pytest.mark.parametrize("dynamic", [False, True])
def test_group_query_attention(dynamic):
    both = {"outputs": 3, "dynamic": dynamic, **GROUPS}
    check("GroupQueryAttention", grouped(T, 0, [T, T]), **both)
    check("GroupQueryAttention", grouped(1, 6, [7, 7]), **both)
    check("GroupQueryAttention", grouped(1, 6, [7, 7]), local_window_size=3, **both)
    check("GroupQueryAttention", grouped(1, 6, [7, 7]), softcap=5.0, scale=0.4, **both)
    turned = {**grouped(1, 6, [7, 7]), **angles(16, D // 2)}
    check("GroupQueryAttention", turned, do_rotary=1, **both)
    check("GroupQueryAttention", turned, do_rotary=1, rotary_interleaved=1, **both)
    first = {**grouped(T, 0, [T, T]), **angles(16, D // 2)}
    check("GroupQueryAttention", first, do_rotary=1, **both)


def test_group_query_attention_with_a_bias_or_sinks():
    none = {"cos": None, "sin": None, "at": None}
    biased = {**grouped(1, 6, [7, 7]), **none, "bias": floats(1, H, 1, 7)}
    check("GroupQueryAttention", biased, outputs=3, **GROUPS)
    sinks = {**grouped(1, 6, [7, 7]), **none, "bias": None, "sink": floats(H)}
    check("GroupQueryAttention", sinks, outputs=3, **GROUPS)


def test_group_query_attention_of_rows_with_lengths_of_their_own():
    both = {"outputs": 3, **GROUPS}
    check("GroupQueryAttention", grouped(1, 6, [7, 4]), compared=1, **both)
    packed = grouped(T, 0, [T, T])
    packed["q"] = np.concatenate([packed[n] for n in "qkv"], axis=-1)
    check("GroupQueryAttention", {**packed, "k": None, "v": None}, **both)


def test_ops_taken_back():
    x = floats(2, 3, 6, 7)
    old: dict[str, Any] = {"domain": "", "opset": 9}
    check("Affine", {"x": x}, **old, alpha=2.0, beta=0.5)
    check("ScaledTanh", {"x": x}, **old, alpha=2.0, beta=0.5)
    check("ParametricSoftplus", {"x": x}, **old, alpha=2.0, beta=0.5)
    check("ImageScaler", {"x": x}, **old, scale=2.0, bias=[0.1, 0.2, 0.3])
    check("Crop", {"x": x}, **old, border=[1, 2, 1, 1])
    check("Crop", {"x": x}, **old, border=[1, 2, 1, 1], scale=[3, 4])
