"""Images and detection against onnxruntime: settings that exporters write, at several sizes."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx.helper import make_node  # noqa: E402

from pytorch_to_mlx import onnx_backend  # noqa: E402


def compare(m, feeds, rtol=1e-4, atol=1e-5):
    """The emitted code of a model, having agreed with onnxruntime on every feed."""
    rep = onnx_backend.prepare(m)
    session = ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    for feed in feeds:
        wanted = session.run(None, dict(zip(names, feed, strict=True)))
        for got, want in zip(rep.run(feed), wanted, strict=True):
            assert got.shape == want.shape
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)
    return rep.declared.text


def images(*shapes):
    rng = np.random.default_rng(0)
    return [[rng.standard_normal(s).astype(np.float32)] for s in shapes]


DYNAMIC = ["N", 3, "H", "W"]


@pytest.mark.parametrize(
    ("settings", "scales", "call"),
    [
        (
            {
                "mode": "nearest",
                "coordinate_transformation_mode": "asymmetric",
                "nearest_mode": "floor",
            },
            [1, 1, 2, 2],
            "mx.repeat(",
        ),
        (
            {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
            [1, 1, 2, 3],
            "interpolate_linear(",
        ),
        (
            {"mode": "cubic", "coordinate_transformation_mode": "half_pixel"},
            [1, 1, 2, 2],
            "interpolate_cubic(",
        ),
        (
            {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
            [1, 1, 0.5, 1.5],
            "resize(",
        ),
        (
            {
                "mode": "cubic",
                "antialias": 1,
                "exclude_outside": 1,
                "cubic_coeff_a": -0.5,
            },
            [1, 1, 0.5, 0.5],
            "resize(",
        ),
    ],
)
def test_resize_by_scales_at_any_size(model, settings, scales, call):
    m = model(
        [make_node("Resize", ["x", "", "scales"], ["y"], **settings)],
        {"x": ("f", DYNAMIC)},
        {"y": ("f", ["N", 3, None, None])},
        {"scales": np.array(scales, np.float32)},
        opset=19,
    )
    text = compare(m, images((1, 3, 4, 6), (2, 3, 6, 10)))
    assert call in text


def test_resize_to_the_size_of_another_array(model):
    nodes = [
        make_node("Shape", ["skip"], ["size"], start=2),
        make_node("Shape", ["x"], ["lead"], end=2),
        make_node("Concat", ["lead", "size"], ["sizes"], axis=0),
        make_node(
            "Resize",
            ["x", "", "", "sizes"],
            ["y"],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        make_node("Add", ["y", "skip"], ["z"]),
    ]
    m = model(
        nodes,
        {"x": ("f", ["N", 2, "h", "w"]), "skip": ("f", ["N", 2, "H", "W"])},
        {"z": ("f", ["N", 2, "H", "W"])},
    )
    rng = np.random.default_rng(1)
    feeds = [
        [rng.standard_normal(s).astype(np.float32) for s in pair]
        for pair in (((1, 2, 3, 4), (1, 2, 6, 7)), ((2, 2, 5, 5), (2, 2, 4, 9)))
    ]
    assert ".item()" not in compare(m, feeds)


def test_whole_numbers_are_rounded_when_resized(model):
    m = model(
        [make_node("Upsample", ["x", "scales"], ["y"], mode="nearest")],
        {"x": ("i", [1, 1, 2, 2])},
        {"y": ("i", [1, 1, 4, 6])},
        {"scales": np.array([1, 1, 2, 3], np.float32)},
        opset=9,
    )
    x = np.arange(4).reshape(1, 1, 2, 2)
    (y,) = onnx_backend.prepare(m).run([x])
    np.testing.assert_array_equal(y, x.repeat(2, 2).repeat(3, 3))


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_grid_sample(model, padding, mode):
    m = model(
        [make_node("GridSample", ["x", "grid"], ["y"], mode=mode, padding_mode=padding)],
        {"x": ("f", ["N", 2, "H", "W"]), "grid": ("f", ["N", "h", "w", 2])},
        {"y": ("f", ["N", 2, "h", "w"])},
    )
    rng = np.random.default_rng(2)
    feeds = [
        [
            rng.standard_normal((n, 2, 5, 7)).astype(np.float32),
            rng.uniform(-1.3, 1.3, (n, 3, 4, 2)).astype(np.float32),
        ]
        for n in (1, 2)
    ]
    compare(m, feeds)


def boxes_and_scores(batch, count, classes, seed):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 4, (batch, count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.5, 3, (batch, count, 2))], -1)
    scores = rng.uniform(0, 1, (batch, classes, count))
    return [boxes.astype(np.float32), scores.astype(np.float32)]


@pytest.mark.parametrize("centered", [0, 1])
@pytest.mark.parametrize("limit", [3, 100])
def test_non_max_suppression_of_many_boxes(model, centered, limit):
    names = ["boxes", "scores", "limit", "overlap", "least"]
    m = model(
        [make_node("NonMaxSuppression", names, ["y"], center_point_box=centered)],
        {"boxes": ("f", ["N", "B", 4]), "scores": ("f", ["N", "K", "B"])},
        {"y": ("i", [None, 3])},
        {
            "limit": np.array([limit]),
            "overlap": np.array([0.4], np.float32),
            "least": np.array([0.3], np.float32),
        },
    )
    feeds = [boxes_and_scores(1, 20, 2, 0), boxes_and_scores(2, 70, 3, 1)]
    feeds.append([feeds[0][0], feeds[0][1] * 0.1])  # nothing is found
    compare(m, feeds)


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
def test_roi_align(model, ratio, coordinates):
    node = make_node(
        "RoiAlign",
        ["x", "regions", "batch"],
        ["y"],
        coordinate_transformation_mode=coordinates,
        output_height=3,
        output_width=2,
        sampling_ratio=ratio,
        spatial_scale=0.5,
    )
    m = model(
        [node],
        {"x": ("f", ["N", 2, "H", "W"]), "regions": ("f", ["R", 4]), "batch": ("i", ["R"])},
        {"y": ("f", ["R", 2, 3, 2])},
    )
    rng = np.random.default_rng(3)
    corner = rng.uniform(-2, 12, (6, 2))
    regions = np.concatenate([corner, corner + rng.uniform(1, 14, (6, 2))], -1)
    feed = [
        rng.standard_normal((2, 2, 8, 9)).astype(np.float32),
        regions.astype(np.float32),
        np.array([0, 1, 0, 1, 1, 0]),
    ]
    compare(m, [feed])


@pytest.mark.parametrize("ordered", [0, 1])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_unique(model, ordered, axis):
    options = {"sorted": ordered} if axis is None else {"sorted": ordered, "axis": axis}
    m = model(
        [make_node("Unique", ["x"], ["y", "first", "inverse", "counts"], **options)],
        {"x": ("f", ["M", "N"])},
        {
            "y": ("f", [None] * (1 if axis is None else 2)),
            "first": ("i", [None]),
            "inverse": ("i", [None]),
            "counts": ("i", [None]),
        },
    )
    rng = np.random.default_rng(4)
    compare(m, [[rng.integers(0, 2, s).astype(np.float32)] for s in ((5, 2), (3, 9))])


def test_batch_norm_of_volumes(model):
    weights = {n: np.linspace(0.5, 1.5, 3).astype(np.float32) for n in "sbmv"}
    m = model(
        [make_node("BatchNormalization", ["x", *"sbmv"], ["y"])],
        {"x": ("f", ["N", 3, "D", "H", "W"])},
        {"y": ("f", ["N", 3, "D", "H", "W"])},
        weights,
    )
    compare(m, images((1, 3, 2, 4, 3), (2, 3, 3, 2, 2)))
