"""Classical models of the ai.onnx.ml domain against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx.helper import make_node, make_operatorsetid  # noqa: E402

from pytorch_to_mlx import onnx_backend  # noqa: E402

ML = "ai.onnx.ml"
FEATURES = 4


def compare(model, node, outputs, feeds, opset=3, dtype="f"):
    m = model(
        [node],
        {"x": (dtype, ["N", FEATURES])},
        outputs,
        opsets=(make_operatorsetid(ML, opset),),
    )
    session = ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"])
    rep = onnx_backend.prepare(m)
    for x in feeds:
        for got, want in zip(rep.run([x]), session.run(None, {"x": x}), strict=True):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def rows(seed=0):
    rng = np.random.default_rng(seed)
    feeds = [rng.standard_normal((n, FEATURES)).astype(np.float32) for n in (3, 8)]
    feeds[1][0, 1] = np.nan
    return feeds


def forest(prefix, targets, depths, weight):
    """Full binary trees with random thresholds; a depth of 0 is a tree that is one leaf."""
    rng = np.random.default_rng(5)
    nodes = {k: [] for k in ("treeids", "nodeids", "featureids", "values", "modes")}
    nodes |= {k: [] for k in ("truenodeids", "falsenodeids", "missing_value_tracks_true")}
    ends = {k: [] for k in ("treeids", "nodeids", "ids", "weights")}
    for tree, depth in enumerate(depths):
        inner = 2**depth - 1
        for node in range(2 * inner + 1):
            leaf = node >= inner
            nodes["treeids"].append(tree)
            nodes["nodeids"].append(node)
            nodes["featureids"].append(0 if leaf else int(rng.integers(FEATURES)))
            nodes["values"].append(0.0 if leaf else float(np.float32(rng.normal())))
            nodes["modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            nodes["truenodeids"].append(0 if leaf else 2 * node + 1)
            nodes["falsenodeids"].append(0 if leaf else 2 * node + 2)
            nodes["missing_value_tracks_true"].append(int(rng.integers(2)))
            for target in range(targets) if leaf else ():
                ends["treeids"].append(tree)
                ends["nodeids"].append(node)
                ends["ids"].append(target)
                ends["weights"].append(float(np.float32(weight(rng))))
    return {f"nodes_{k}": v for k, v in nodes.items()} | {
        f"{prefix}_{k}": v for k, v in ends.items()
    }


@pytest.mark.parametrize("combine", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("depths", [(2, 3, 1), (2, 0)])
def test_regression_trees(model, combine, depths):
    node = make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain=ML,
        n_targets=2,
        aggregate_function=combine,
        base_values=[0.5, -1.0],
        **forest("target", 2, depths, lambda rng: rng.normal()),
    )
    compare(model, node, {"y": ("f", ["N", 2])}, rows())


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_classification_trees(model, transform):
    node = make_node(
        "TreeEnsembleClassifier",
        ["x"],
        ["label", "y"],
        domain=ML,
        classlabels_int64s=[3, 5, 8],
        post_transform=transform,
        **forest("class", 3, (2, 2), lambda rng: rng.normal()),
    )
    compare(model, node, {"label": ("i", ["N"]), "y": ("f", ["N", 3])}, rows(1))


@pytest.mark.parametrize(
    ("transform", "positive"), [("NONE", True), ("NONE", False), ("LOGISTIC", False)]
)
def test_two_classes_of_one_score(model, transform, positive):
    def weight(rng):
        return abs(rng.normal()) / 4 if positive else rng.normal()

    node = make_node(
        "TreeEnsembleClassifier",
        ["x"],
        ["label", "y"],
        domain=ML,
        classlabels_int64s=[0, 1],
        post_transform=transform,
        **forest("class", 1, (2, 3), weight),
    )
    compare(model, node, {"label": ("i", ["N"]), "y": ("f", ["N", 2])}, rows(2))


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_linear_models(model, transform):
    rng = np.random.default_rng(3)
    weights = {
        "coefficients": rng.normal(size=3 * FEATURES).astype(np.float32).tolist(),
        "intercepts": [0.1, 0.2, -0.3],
    }
    feeds = [rows(4)[0]]
    node = make_node(
        "LinearClassifier",
        ["x"],
        ["label", "y"],
        domain=ML,
        classlabels_ints=[2, 0, 1],
        post_transform=transform,
        **weights,
    )
    compare(model, node, {"label": ("i", ["N"]), "y": ("f", ["N", 3])}, feeds)
    node = make_node("LinearRegressor", ["x"], ["y"], domain=ML, targets=3, **weights)
    compare(model, node, {"y": ("f", ["N", 3])}, feeds)


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_normalizer(model, norm):
    node = make_node("Normalizer", ["x"], ["y"], domain=ML, norm=norm)
    x = rows(6)[0]
    x[0] = 0
    compare(model, node, {"y": ("f", ["N", FEATURES])}, [x], dtype="f")


def test_scaler_and_labels(model):
    node = make_node("Scaler", ["x"], ["y"], domain=ML, offset=[1.0, 2, 3, 4], scale=[0.5, 1, 2, 3])
    compare(model, node, {"y": ("f", ["N", FEATURES])}, rows(7)[:1])
    node = make_node(
        "LabelEncoder",
        ["x"],
        ["y"],
        domain=ML,
        keys_int64s=[7, 3, 5],
        values_floats=[0.5, 1.5, 2.5],
        default_float=-2.0,
    )
    feeds = [np.array([[3, 7, 5, 4], [5, 5, 0, 3]])]
    compare(model, node, {"y": ("f", ["N", FEATURES])}, feeds, dtype="i")


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
def test_ngrams(model, mode):
    node = make_node(
        "TfIdfVectorizer",
        ["x"],
        ["y"],
        mode=mode,
        min_gram_length=1,
        max_gram_length=2,
        max_skip_count=1,
        ngram_counts=[0, 2],
        ngram_indexes=[3, 0, 1, 4],
        pool_int64s=[1, 2, 1, 2, 2, 2],
        weights=[0.5, 2.0, 3.0, 4.0],
    )
    rng = np.random.default_rng(8)
    feeds = [rng.integers(0, 4, (n, FEATURES)) for n in (2, 5)]
    compare(model, node, {"y": ("f", ["N", 5])}, feeds, dtype="i")
