"""Detection: non-maximum suppression and features of regions."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytorch_to_mlx.graph import Value
from pytorch_to_mlx.lower._channels import to_first, to_last
from pytorch_to_mlx.lower.onnx import lowers
from pytorch_to_mlx.lower.onnx._common import Ints, call_as, floats, fresh
from pytorch_to_mlx.lower.onnx._values import Known
from pytorch_to_mlx.ops.detection import non_max_suppression, roi_align


def first_float(x: Any) -> Any:
    """The number in a tensor with one element, which may have rank 0; it is read at run time."""
    if isinstance(x, Known):
        return floats(Known(x.array.reshape(-1), x.element))[0]
    return floats(x.reshape(1))[0]


@lowers("NonMaxSuppression")
def nms(
    boxes: Value,
    scores: Value,
    max_output_boxes_per_class: Ints | None = None,
    iou_threshold: Any = None,
    score_threshold: Any = None,
    center_point_box: int = 0,
) -> Any:
    """NonMaxSuppression(float boxes, float scores, int64? max_output_boxes_per_class, float?
    iou_threshold, float? score_threshold, int center_point_box=0) -> int64 selected_indices"""
    if not max_output_boxes_per_class:  # none are asked for
        return Known(np.zeros((0, 3), np.int64), "int64")
    options: dict[str, Any] = {}
    if iou_threshold is not None:
        options["iou_threshold"] = first_float(iou_threshold)
    if score_threshold is not None:
        options["score_threshold"] = first_float(score_threshold)
    if center_point_box:
        options["centered"] = True
    rows = [((fresh("count"), 3), "int64")]
    limit = max_output_boxes_per_class[0]
    return call_as(non_max_suppression, rows, boxes, scores, limit, **options)


def _roi_align(
    x: Value, rois: Value, batch: Value, size: tuple[int, int], settings: dict[str, Any]
) -> Value:
    plain = {"sampling_ratio": 0, "scale": 1.0, "half_pixel": True, "largest": False}
    options = {k: v for k, v in settings.items() if v != plain[k]}
    dims = (rois.dims[0], *size, x.dims[1])
    return to_first(call_as(roi_align, [(dims, x.dtype)], to_last(x), rois, batch, size, **options))


@lowers("RoiAlign", since=16)
def roi_align_16(
    X: Value,
    rois: Value,
    batch_indices: Value,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Value:
    """RoiAlign(T1 X, T1 rois, T2 batch_indices, string coordinate_transformation_mode="half_pixel",
    string mode="avg", int output_height=1, int output_width=1, ...) -> T1 Y"""
    settings = {
        "sampling_ratio": sampling_ratio,
        "scale": spatial_scale,
        "half_pixel": coordinate_transformation_mode == "half_pixel",
        "largest": mode == "max",
    }
    return _roi_align(X, rois, batch_indices, (output_height, output_width), settings)


@lowers("RoiAlign")
def roi_align_10(
    X: Value,
    rois: Value,
    batch_indices: Value,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Value:
    """RoiAlign(T1 X, T1 rois, T2 batch_indices, string mode="avg", int output_height=1, ...)
    -> T1 Y"""
    settings = {
        "sampling_ratio": sampling_ratio,
        "scale": spatial_scale,
        "half_pixel": False,
        "largest": mode == "max",
    }
    return _roi_align(X, rois, batch_indices, (output_height, output_width), settings)
