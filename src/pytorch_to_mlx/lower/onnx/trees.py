"""Decision trees and linear models of the ai.onnx.ml domain."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import numpy as np

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.lower.onnx import Unsupported, lowers
from pytorch_to_mlx.lower.onnx._common import array, call_as, cast, getitem, table_size
from pytorch_to_mlx.lower.onnx._values import Known
from pytorch_to_mlx.ops.features import leaf_totals, softmax_of_nonzero, tree_leaves

ML = "ai.onnx.ml"
MODES = ("LEQ", "LT", "GTE", "GT", "EQ", "NEQ", "MEMBER")
COMBINE = ("average", "sum", "min", "max")
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


@dataclass
class Forest:
    """Interior nodes in order, children numbered on through the leaves that come after them;
    ``table`` holds the weights of each leaf [leaves, targets]."""

    features: list[int]
    splits: np.ndarray
    modes: list[int]
    true_branches: list[int]
    false_branches: list[int]
    missing: list[bool]
    roots: list[int]
    table: np.ndarray
    members: list[list[float]] = field(default_factory=list)

    @property
    def depth(self) -> int:
        """The most nodes on a way from a root to a leaf."""
        level, depth = set(self.roots), 0
        while level := {n for n in level if n < len(self.features)}:
            if depth > len(self.features):
                raise Unsupported("trees with a cycle")
            depth += 1
            level = {b[n] for n in level for b in (self.true_branches, self.false_branches)}
        return depth


def blank(leaves: int, targets: int, dtype: Any, combine: str) -> np.ndarray:
    """Weights of leaves before any is given: what changes no result."""
    info = np.finfo(dtype)
    fill = {"min": info.max, "max": info.min}.get(combine, 0)
    return np.full(table_size(leaves, targets), fill, dtype)


def totals(x: Value, forest: Forest, combine: str) -> Value:
    """What the trees give for each row of ``x`` [N, F]: [N, targets]."""

    def held(values: Any, dtype: str, name: str) -> Value:
        return array(Known(np.asarray(values, dtype), dtype, f"tree_{name}"))

    options: dict[str, Any] = {}
    if forest.members:
        longest = max(len(m) for m in forest.members)
        rows = [m + [math.nan] * (longest - len(m)) for m in forest.members]
        options["members"] = held(rows, str(x.dtype), "members")
    leaves = call_as(
        tree_leaves,
        [((x.dims[0], len(forest.roots)), "int32")],
        x,
        held(forest.roots, "int32", "roots"),
        held(forest.features, "int32", "features"),
        held(forest.splits, str(x.dtype), "splits"),
        held(forest.modes, "int32", "modes"),
        held(forest.true_branches, "int32", "true_branches"),
        held(forest.false_branches, "int32", "false_branches"),
        held(forest.missing, "bool", "missing"),
        forest.depth,
        **options,
    )
    dtype = str(forest.table.dtype)
    weights = held(forest.table, dtype, "weights")
    extra = () if combine == "sum" else (combine,)
    result = [((x.dims[0], forest.table.shape[1]), dtype)]
    out: Value = call_as(leaf_totals, result, leaves, weights, *extra)
    return out


def transformed(x: Value, transform: str) -> Value:
    """The scores after ``post_transform``."""
    if transform == "SOFTMAX":
        return call(mx.softmax, x, axis=-1)
    if transform == "LOGISTIC":
        return call(mx.sigmoid, x)
    if transform == "SOFTMAX_ZERO":
        out: Value = call_as(softmax_of_nonzero, [(x.dims, x.dtype)], x)
        return out
    if transform == "PROBIT":
        return call(mx.erfinv, x * 2 - 1) * math.sqrt(2)
    return x


def _sets(values: Known | None, modes: list[int]) -> list[list[float]]:
    """The members of each node's set, which NaNs end."""
    if values is None:
        return []
    ends: list[list[float]] = [[]]
    for v in values.array.reshape(-1).tolist():
        if v != v:
            ends.append([])
        else:
            ends[-1].append(v)
    given = iter(ends)
    return [next(given) if mode == MODES.index("MEMBER") else [] for mode in modes]


@lowers("TreeEnsemble", domain=ML)
def tree_ensemble(
    X: Value,
    nodes_splits: Known,
    nodes_featureids: tuple[int, ...],
    nodes_modes: Known,
    nodes_truenodeids: tuple[int, ...],
    nodes_falsenodeids: tuple[int, ...],
    nodes_trueleafs: tuple[int, ...],
    nodes_falseleafs: tuple[int, ...],
    leaf_targetids: tuple[int, ...],
    leaf_weights: Known,
    tree_roots: tuple[int, ...],
    n_targets: int = 1,
    aggregate_function: int = 1,
    post_transform: int = 0,
    nodes_hitrates: Known | None = None,
    nodes_missing_value_tracks_true: tuple[int, ...] | None = None,
    membership_values: Known | None = None,
) -> Value:
    """TreeEnsemble(T X, int aggregate_function=1, ints leaf_targetids, tensor leaf_weights, ints
    nodes_falseleafs, ints nodes_falsenodeids, ints nodes_featureids, ...) -> T Y"""
    count, combine = len(nodes_featureids), COMBINE[aggregate_function]
    leaves = leaf_weights.array.reshape(-1)
    table = blank(len(leaves), n_targets, leaves.dtype, combine)
    table[np.arange(len(leaves)), list(leaf_targetids)] = leaves
    modes = [int(m) for m in nodes_modes.items()]

    def children(ids: tuple[int, ...], leaf: tuple[int, ...]) -> list[int]:
        return [i + count if is_leaf else i for i, is_leaf in zip(ids, leaf, strict=True)]

    forest = Forest(
        list(nodes_featureids),
        nodes_splits.array,
        modes,
        children(nodes_truenodeids, nodes_trueleafs),
        children(nodes_falsenodeids, nodes_falseleafs),
        [bool(m) for m in nodes_missing_value_tracks_true or (0,) * count],
        list(tree_roots),
        table,
        _sets(membership_values, modes),
    )
    return transformed(totals(X, forest, combine), TRANSFORMS[post_transform])


def _forest(given: dict[str, Any], prefix: str, targets: int, combine: str) -> Forest:
    """Trees as TreeEnsembleRegressor and TreeEnsembleClassifier write them: leaves among the nodes,
    each with a weight for any number of targets."""

    def numbers(name: str) -> Any:
        tensor = given.get(f"{name}_as_tensor")
        return tensor.array if tensor is not None else np.asarray(given.get(name) or (), np.float32)

    names = list(zip(given["nodes_treeids"], given["nodes_nodeids"], strict=True))
    modes = [m.removeprefix("BRANCH_") for m in given["nodes_modes"]]
    inner = [i for i, m in enumerate(modes) if m != "LEAF"]
    ends = [i for i, m in enumerate(modes) if m == "LEAF"]
    place = {names[i]: k for k, i in enumerate((*inner, *ends))}
    values = numbers("nodes_values")
    weights = numbers(f"{prefix}_weights")
    table = blank(len(ends), targets, weights.dtype, combine)
    owners = (given[f"{prefix}_{k}"] for k in ("treeids", "nodeids", "ids"))
    for tree, node, target, weight in zip(*owners, weights, strict=True):
        row = place[tree, node] - len(inner)
        table[row, target] = weight if combine in ("min", "max") else table[row, target] + weight
    pairs = zip(
        given["nodes_treeids"], given["nodes_truenodeids"], given["nodes_falsenodeids"], strict=True
    )
    below = {i: (tree, yes, no) for i, (tree, yes, no) in enumerate(pairs) if modes[i] != "LEAF"}
    children = {place[t, n] for t, yes, no in below.values() for n in (yes, no)}
    missing = given.get("nodes_missing_value_tracks_true") or (0,) * len(modes)
    return Forest(
        [given["nodes_featureids"][i] for i in inner] or [0],
        values[inner] if inner else np.zeros(1, values.dtype),
        [MODES.index(modes[i]) for i in inner] or [0],
        [place[below[i][0], below[i][1]] for i in inner] or [1],
        [place[below[i][0], below[i][2]] for i in inner] or [1],
        [bool(missing[i]) for i in inner] or [False],
        [k + (not inner) for k in sorted(place.values()) if k not in children],
        table,
    )


def _based(y: Value, given: dict[str, Any]) -> Value:
    """Totals with ``base_values`` added."""
    tensor = given.get("base_values_as_tensor")
    base = tensor.array if tensor is not None else np.asarray(given.get("base_values") or ())
    if not base.size or not base.any():
        return y
    dtype = str(y.dtype)
    return y + array(Known(base.astype(dtype), dtype, "base_values"))


def _features(x: Value) -> Value:
    return x if DType(str(x.dtype)).is_floating else cast(x, "float32")


@lowers("TreeEnsembleRegressor", domain=ML)
def tree_ensemble_regressor(X: Value, **given: Any) -> Value:
    """TreeEnsembleRegressor(T X, string aggregate_function="SUM", floats base_values, int
    n_targets, ints nodes_falsenodeids, ..., string post_transform="NONE") -> float Y"""
    combine = given.get("aggregate_function", "SUM").lower()
    forest = _forest(given, "target", given["n_targets"], combine)
    y = _based(totals(_features(X), forest, combine), given)
    return cast(transformed(y, given.get("post_transform", "NONE")), "float32")


@lowers("TreeEnsembleClassifier", domain=ML)
def tree_ensemble_classifier(X: Value, **given: Any) -> tuple[Value, Value]:
    """TreeEnsembleClassifier(T1 X, floats base_values, ints class_ids, floats class_weights, ints
    classlabels_int64s, ..., string post_transform="NONE") -> (int64 Y, float Z)"""
    labels = given.get("classlabels_int64s")
    if not labels:
        raise Unsupported("class labels that are strings, which no array holds")
    transform = given.get("post_transform", "NONE")
    ids = set(given["class_ids"])
    if len(labels) == 2 and len(ids) == 1:
        given = {**given, "class_ids": (0,) * len(given["class_ids"])}
        forest = _forest(given, "class", 1, "sum")
        y = _based(totals(_features(X), forest, "sum"), given)
        return _binary(y, bool((forest.table >= 0).all()), labels, transform)
    y = _based(totals(_features(X), _forest(given, "class", len(labels), "sum"), "sum"), given)
    return _labelled(y, labels), cast(transformed(y, transform), "float32")


def _binary(y: Value, positive: bool, labels: Any, transform: str) -> tuple[Value, Value]:
    """Two classes from the score of one. Weights that are all positive make a probability."""
    chosen = getitem(call(mx.greater, y, 0.5 if positive else 0), slice(None), 0)
    label = call(mx.where, chosen, int(labels[1]), int(labels[0])).astype(DType("int64"))
    if transform not in ("NONE", "LOGISTIC"):
        raise Unsupported(f"{transform} of the score of one class")
    logistic = transform == "LOGISTIC"
    if positive and logistic:
        raise Unsupported("LOGISTIC of a probability")
    pair = (1 - y, y) if positive else (-y, y)
    scores = call(mx.concatenate, pair, axis=1)
    return label, cast(call(mx.sigmoid, scores) if logistic else scores, "float32")


def _labelled(scores: Value, labels: Any) -> Value:
    """The label of the best score of each row."""
    best = call(mx.argmax, scores, axis=1)
    if tuple(labels) == tuple(range(len(labels))):
        return cast(best, "int64")
    return call(mx.take, array(Known(np.array(labels, np.int64), "int64", "labels")), best)


@lowers("LinearRegressor", domain=ML)
def linear_regressor(
    X: Value,
    coefficients: tuple[float, ...],
    intercepts: tuple[float, ...] | None = None,
    post_transform: str = "NONE",
    targets: int = 1,
) -> Value:
    """LinearRegressor(T X, floats coefficients, floats intercepts, string post_transform="NONE",
    int targets=1) -> float Y"""
    return transformed(_linear(X, coefficients, intercepts, targets), post_transform)


@lowers("LinearClassifier", domain=ML)
def linear_classifier(
    X: Value,
    coefficients: tuple[float, ...],
    classlabels_ints: tuple[int, ...] | None = None,
    classlabels_strings: tuple[str, ...] | None = None,
    intercepts: tuple[float, ...] | None = None,
    multi_class: int = 0,
    post_transform: str = "NONE",
) -> tuple[Value, Value]:
    """LinearClassifier(T1 X, ints classlabels_ints, floats coefficients, floats intercepts, string
    post_transform="NONE") -> (int64 Y, float Z)"""
    if not classlabels_ints:
        raise Unsupported("class labels that are strings, which no array holds")
    if len(coefficients) // int(X.dims[1]) != len(classlabels_ints):
        raise Unsupported("a linear classifier without coefficients for every class")
    scores = _linear(X, coefficients, intercepts, len(classlabels_ints))
    return _labelled(scores, classlabels_ints), transformed(scores, post_transform)


def _linear(x: Value, coefficients: Any, intercepts: Any, rows: int) -> Value:
    weight = np.array(coefficients, np.float32).reshape(rows, -1)
    bias = None
    if intercepts:
        bias = array(Known(np.array(intercepts, np.float32), "float32", "intercepts"))
    wide = cast(x, "float32")
    return call("ops.linear", wide, array(Known(weight, "float32", "coefficients")), bias)


@lowers("Scaler", domain=ML)
def scaler(
    X: Value, offset: tuple[float, ...] | None = None, scale: tuple[float, ...] | None = None
) -> Value:
    """Scaler(T X, floats offset, floats scale) -> float Y"""
    y = cast(X, "float32")
    if offset:
        y = y - array(Known(np.array(offset, np.float32), "float32", "offset"))
    return y * array(Known(np.array(scale, np.float32), "float32", "scale")) if scale else y


@lowers("Normalizer", domain=ML)
def normalizer(X: Value, norm: str = "MAX") -> Value:
    """Normalizer(T X, string norm="MAX") -> float Y; rows whose norm is 0 stay."""
    x = cast(X, "float32")
    if norm == "MAX":
        size = call(mx.max, x, axis=-1, keepdims=True)
    elif norm == "L1":
        size = call(mx.sum, call(mx.abs, x), axis=-1, keepdims=True)
    else:
        size = call(mx.sqrt, call(mx.sum, call(mx.square, x), axis=-1, keepdims=True))
    return call(mx.where, call(mx.equal, size, 0), x, x / size)
