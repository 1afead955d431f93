"""Resampling: Resize and Upsample."""

from __future__ import annotations

from typing import Any

from pytorch_to_mlx.graph import Value, call
from pytorch_to_mlx.graph.dims import as_dim, is_static
from pytorch_to_mlx.lower._channels import spatial
from pytorch_to_mlx.lower.onnx import lowers
from pytorch_to_mlx.lower.onnx._common import Ints, call_as, floats, fresh
from pytorch_to_mlx.ops.interpolate import (
    interpolate_cubic,
    interpolate_linear,
    interpolate_nearest,
)
from pytorch_to_mlx.ops.resize import resize as resize_axes
from pytorch_to_mlx.ops.resize import resized_sizes

DEFAULTS: dict[str, Any] = {
    "mode": "nearest",
    "coordinates": "half_pixel",
    "rounding": "round_prefer_floor",
    "cubic_a": -0.75,
    "antialias": False,
    "exclude_outside": False,
    "policy": "stretch",
    "roi": None,
    "outside": 0.0,
}


@lowers("Resize", since=11)
def resize(
    X: Value,
    roi: Any = None,
    scales: Any = None,
    sizes: Ints | None = None,
    antialias: int = 0,
    axes: tuple[int, ...] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Value:
    """Resize(T1 X, T2? roi, float? scales, int64? sizes, ints axes, string mode="nearest", ...)
    -> T1 Y"""
    at = tuple(a % X.ndim for a in axes) if axes is not None else tuple(range(X.ndim))
    cropped = coordinate_transformation_mode == "tf_crop_and_resize"
    settings = {
        "mode": mode,
        "coordinates": coordinate_transformation_mode,
        "rounding": nearest_mode if mode == "nearest" else "round_prefer_floor",
        "cubic_a": round(cubic_coeff_a, 7) if mode == "cubic" else -0.75,
        "antialias": bool(antialias),
        "exclude_outside": bool(exclude_outside),
        "policy": keep_aspect_ratio_policy if sizes is not None else "stretch",
        "roi": floats(roi) if cropped and roi is not None else None,
        "outside": extrapolation_value if cropped else 0.0,
    }
    factors = None if sizes is not None else floats(scales)
    return _resized(X, at, None if factors is not None else sizes, factors, settings)


@lowers("Resize", since=10)
def resize_10(X: Value, scales: Any, mode: str = "nearest") -> Value:
    """Resize(T X, float scales, string mode="nearest") -> T Y"""
    settings = {**DEFAULTS, "mode": mode, "coordinates": "asymmetric", "rounding": "floor"}
    if mode != "nearest":
        settings["rounding"] = DEFAULTS["rounding"]
    return _resized(X, tuple(range(X.ndim)), None, floats(scales), settings)


@lowers("Upsample", since=9)
def upsample(X: Value, scales: Any, mode: str = "nearest") -> Value:
    """Upsample(T X, float scales, string mode="nearest") -> T Y"""
    return resize_10(X, scales, mode)


@lowers("Upsample", since=7)
def upsample_7(X: Value, scales: tuple[float, ...], mode: str = "nearest") -> Value:
    """Upsample(T X, floats scales, string mode="nearest") -> T Y"""
    return resize_10(X, scales, mode)


@lowers("Upsample")
def upsample_1(X: Value, height_scale: float, width_scale: float, mode: str = "nearest") -> Value:
    """Upsample(T X, float height_scale, float width_scale, string mode="nearest") -> T Y"""
    plain = "linear" if mode == "bilinear" else mode
    return resize_10(X, (1.0, 1.0, height_scale, width_scale), plain)


def _resized(
    x: Value, axes: tuple[int, ...], sizes: Any, scales: Any, settings: dict[str, Any]
) -> Value:
    if settings["roi"] is None:
        axes, sizes, scales = _moving(x, axes, sizes, scales, settings["policy"])
    if not axes:
        return x
    dims = _dims(x, axes, sizes, scales, settings["policy"])
    options = {k: v for k, v in settings.items() if v != DEFAULTS[k]}
    plain = _plain(x, axes, sizes, scales, dims, settings)
    if plain is not None:
        return plain
    amount = {"sizes": sizes} if sizes is not None else {"scales": scales}
    out: Value = call_as(resize_axes, [(dims, x.dtype)], x, axes, **amount, **options)
    return out


def _moving(x: Value, axes: tuple[int, ...], sizes: Any, scales: Any, policy: str) -> Any:
    """Only the axes that change, where that is known."""
    if policy != "stretch":
        return axes, sizes, scales
    keep = []
    for i, axis in enumerate(axes):
        same = scales[i] == 1 if scales is not None else sizes[i] == x.dims[axis]
        if not same:
            keep.append(i)

    def pick(values: Any) -> Any:
        return None if values is None else tuple(values[i] for i in keep)

    return pick(axes), pick(sizes), pick(scales)


def _dims(x: Value, axes: tuple[int, ...], sizes: Any, scales: Any, policy: str) -> tuple[Any, ...]:
    """Sizes of the result; those that depend on what only the running model knows are new."""
    dims = list(x.dims)
    shape = [x.dims[a] for a in axes]
    known = all(is_static(v) for v in (*shape, *(sizes or ()))) and (
        scales is None or all(isinstance(s, float) for s in scales)
    )
    if known:
        counts, _ = resized_sizes([int(s) for s in shape], sizes, scales, policy)
        for axis, count in zip(axes, counts, strict=True):
            dims[axis] = count
        return tuple(dims)
    for i, axis in enumerate(axes):
        if sizes is not None:
            sure = policy == "stretch" and (is_static(sizes[i]) or _is_size(sizes[i]))
            dims[axis] = sizes[i] if sure else fresh()
        else:
            whole = isinstance(scales[i], float) and scales[i].is_integer()
            dims[axis] = as_dim(dims[axis] * int(scales[i])) if whole else fresh()
    return tuple(dims)


def _is_size(d: Any) -> bool:
    return all(s.is_positive for s in d.free_symbols)


def _plain(
    x: Value,
    axes: tuple[int, ...],
    sizes: Any,
    scales: Any,
    dims: tuple[Any, ...],
    settings: dict[str, Any],
) -> Value | None:
    """The call of torch's rules, channels-last, where ONNX's mean the same."""
    space = tuple(range(2, x.ndim))
    special = settings["antialias"] or settings["exclude_outside"] or settings["cubic_a"] != -0.75
    if not 3 <= x.ndim <= 5 or not set(axes) <= set(space) or special:
        return None
    if settings["policy"] != "stretch" or x.dtype not in ("float32", "float16", "bfloat16"):
        return None
    whole = scales is not None and all(isinstance(s, float) and s.is_integer() for s in scales)
    if scales is not None and not whole:
        return None
    size = tuple(dims[a] for a in space)
    mode, coordinates = settings["mode"], settings["coordinates"]
    if mode == "nearest":
        exact = coordinates == "asymmetric" and settings["rounding"] == "floor"
        if not exact or not (whole or _whole_growth(x, size)):
            return None
        return spatial(x, len(space), lambda v: call(interpolate_nearest, v, size))
    grows = whole or all(is_static(d) and int(d) > 1 for d in size)
    half = coordinates == "half_pixel" or (coordinates == "pytorch_half_pixel" and grows)
    corners = coordinates == "align_corners"
    if not half and not corners:
        return None
    if mode == "cubic" and x.ndim != 4:
        return None
    fn = interpolate_cubic if mode == "cubic" else interpolate_linear
    return spatial(x, len(space), lambda v: call(fn, v, size, corners))


def _whole_growth(x: Value, size: tuple[Any, ...]) -> bool:
    """Whether every axis grows by a whole factor, so that all ways of rounding agree."""
    pairs = zip(x.dims[2:], size, strict=True)
    return all(is_static(a) and is_static(b) and int(b) % int(a) == 0 for a, b in pairs)
