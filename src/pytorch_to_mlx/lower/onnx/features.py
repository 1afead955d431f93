"""Features for classical models: n-gram counts, label maps, thresholds, trees."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dims import product
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._common import array, call_as, cast, table_size
from pytorch_to_mlx.lower.onnx._dtypes import storage
from pytorch_to_mlx.lower.onnx._values import Known
from pytorch_to_mlx.ops.features import count_ngrams, label_encode

ML = "ai.onnx.ml"


@lowers("TfIdfVectorizer")
def tfidf_vectorizer(
    X: Value,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: tuple[int, ...],
    ngram_indexes: tuple[int, ...],
    pool_int64s: tuple[int, ...] | None = None,
    pool_strings: tuple[str, ...] | None = None,
    weights: tuple[float, ...] | None = None,
) -> Value:
    """TfIdfVectorizer(T X, int max_gram_length, int max_skip_count, int min_gram_length, string
    mode, ints ngram_counts, ints ngram_indexes, ints pool_int64s, floats weights) -> float Y"""
    if pool_int64s is None:
        raise Unsupported("n-grams of strings, which no array holds")
    lead = X.dims[:-1]
    parts, owners, done = [], [], 0
    edges = (*ngram_counts, len(pool_int64s))
    for n, (first, end) in enumerate(pairwise(edges), start=1):
        grams = np.array(pool_int64s[first:end], np.int64).reshape(-1, n)
        if len(grams) and min_gram_length <= n <= max_gram_length:
            pool = array(Known(grams, "int64", f"ngrams_{n}"))
            skips = (max_skip_count,) if max_skip_count and n > 1 else ()
            dims = [((*lead, len(grams)), "float32")]
            parts.append(call_as(count_ngrams, dims, cast(X, "int64"), pool, *skips))
            owners += list(range(done, done + len(grams)))
        done += len(grams)
    size = max(ngram_indexes) + 1
    if not parts:
        return call(mx.zeros, (*lead, size))
    counts = parts[0] if len(parts) == 1 else call(mx.concatenate, tuple(parts), axis=-1)
    placed = _placed(counts, [ngram_indexes[o] for o in owners], size)
    if mode == "TF":
        return placed
    if mode == "IDF":
        placed = cast(call(mx.greater, placed, 0), "float32")
    if weights is None:
        return placed
    scale = np.zeros(size, np.float32)
    scale[list(ngram_indexes)] = weights
    return placed * array(Known(scale, "float32", "ngram_weights"))


def _placed(counts: Value, at: list[int], size: int) -> Value:
    """Columns moved to their places; the others are zero."""
    (size,) = table_size(size)
    if at == list(range(size)):
        return counts
    zero = call(mx.zeros, (*counts.dims[:-1], 1))
    wide = call(mx.concatenate, (counts, zero), axis=-1)
    column = {place: i for i, place in enumerate(at)}
    order = np.array([column.get(i, len(at)) for i in range(size)], np.int32)
    return call(mx.take, wide, array(Known(order, "int32", "ngram_places")), axis=-1)


@lowers("Binarizer", domain=ML)
def binarizer(X: Value, threshold: float = 0.0) -> Value:
    """Binarizer(T X, float threshold=0) -> T Y"""
    return cast(call(mx.greater, X, threshold), str(X.dtype))


@lowers("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(X: Value, Y: Value) -> Value:
    """ArrayFeatureExtractor(T X, int64 Y) -> T Z"""
    x = X if X.ndim > 1 else X.reshape(1, *X.dims)
    places = Y if Y.ndim == 1 else Y.reshape(product(Y.dims))
    return call(mx.take, x, places, axis=-1)


@lowers("LabelEncoder", domain=ML, since=2)
def label_encoder(
    X: Value,
    default_float: float = 0.0,
    default_int64: int = -1,
    default_string: str = "_Unused",
    default_tensor: Known | None = None,
    keys_floats: tuple[float, ...] | None = None,
    keys_int64s: tuple[int, ...] | None = None,
    keys_strings: tuple[str, ...] | None = None,
    keys_tensor: Known | None = None,
    values_floats: tuple[float, ...] | None = None,
    values_int64s: tuple[int, ...] | None = None,
    values_strings: tuple[str, ...] | None = None,
    values_tensor: Known | None = None,
) -> Value:
    """LabelEncoder(T1 X, floats keys_floats, ints keys_int64s, tensor keys_tensor, floats
    values_floats, ints values_int64s, tensor values_tensor, ...) -> T2 Y"""
    keys = _table(keys_floats, keys_int64s, keys_tensor, "label_keys")
    values = _table(values_floats, values_int64s, values_tensor, "label_values")
    if keys is None or values is None:
        raise Unsupported("labels that are strings, which no array holds")
    default: Any = default_float if values_floats is not None else default_int64
    if values_tensor is not None:
        whole = storage(values.element).is_integer
        default = default_tensor.item() if default_tensor else (-1 if whole else 0.0)
    result = [(X.dims, str(storage(values.element)))]
    out: Value = call_as(label_encode, result, X, array(keys), array(values), default)
    return out


def _table(
    floats: tuple[float, ...] | None, ints: tuple[int, ...] | None, tensor: Known | None, name: str
) -> Known | None:
    if tensor is not None:
        if tensor.element == "string":
            return None
        return Known(tensor.array.reshape(-1), tensor.element, name)
    if floats is not None:
        return Known(np.array(floats, np.float32), "float32", name)
    return None if ints is None else Known(np.array(ints, np.int64), "int64", name)
