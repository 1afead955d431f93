"""Output comparison plots: arrays of any length in, small inline drawings out.

A plot is ``{title, kind, series, x_label?, y_label?, note?}``; ``series`` maps names to arrays.
``source`` and ``mlx`` are the outputs that are compared. Every figure (the difference above all)
is taken from the whole arrays; only the drawing is thinned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from . import png
from .svg import line, nice_ticks, path, svg, tag, text
from .words import short

WIDTH, LEFT, RIGHT = 920.0, 64.0, 14.0
MAX_BUCKETS = 420
MAX_POINTS = 1500
TRACES = ("source", "mlx", "third", "fourth")

Plot = Mapping[str, Any]
Arrays = dict[str, np.ndarray]


def draw(plot: Plot) -> Markup:
    """One plot as markup.

    Raises ValueError for an unknown kind, or for series that are missing, empty, of differing
    shapes, or not numbers.
    """
    kinds = {"line": _line, "scatter": _scatter, "hist": _hist, "image": _image}
    kind = plot.get("kind")
    if kind not in kinds:
        raise ValueError(f"plot {plot.get('title')!r}: unknown kind {kind!r}")
    arrays = {str(name): _array(value) for name, value in (plot.get("series") or {}).items()}
    if not any(a.size for name, a in arrays.items() if name != "x"):
        raise ValueError(f"plot {plot.get('title')!r} has no data")
    with np.errstate(invalid="ignore"):  # infinities subtract to NaN, which is drawn as a gap
        return kinds[kind](plot, arrays)


def _array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind == "c":
        array = np.abs(array)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"a plot cannot show {array.dtype} values")
    return array.astype(np.float64)


def _pair(plot: Plot, arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    if "source" not in arrays or "mlx" not in arrays:
        raise ValueError(f"plot {plot.get('title')!r} needs the series 'source' and 'mlx'")
    if arrays["source"].shape != arrays["mlx"].shape:
        raise ValueError(f"plot {plot.get('title')!r}: source and mlx differ in shape")
    return arrays["source"], arrays["mlx"]


def _range(*arrays: np.ndarray, margin: float = 0.06) -> tuple[float, float]:
    """The finite values' least and greatest, widened by ``margin`` of their distance."""
    values = np.concatenate([a[np.isfinite(a)].ravel() for a in arrays])
    if values.size == 0:
        return -1.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = (high - low) * margin if high > low else abs(high) * 0.1 or 1.0
    return low - room, high + room


class _Panel:
    """Axes: data coordinates to drawing coordinates, with grid and labels."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], top: float, height: float
    ) -> None:
        self.x, self.y = x, y
        self.top, self.height = top, height

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1.0)
        left = LEFT + across * (WIDTH - LEFT - RIGHT)
        return float(left), float(self.top + (1 - up) * self.height)

    def frame(self, y_label: str = "") -> list[Markup]:
        parts: list[Markup] = []
        bottom = self.top + self.height
        for value in nice_ticks(*self.y, 4):
            y = self.at(self.x[0], value)[1]
            parts += [line(LEFT, y, WIDTH - RIGHT, y, "grid")]
            parts += [text(LEFT - 8, y + 4, short(value), anchor="end")]
        for value in nice_ticks(*self.x, 8):
            parts.append(text(self.at(value, 0)[0], bottom + 16, short(value), anchor="middle"))
        parts.append(line(LEFT, bottom, WIDTH - RIGHT, bottom, "axis"))
        if y_label:
            parts.append(text(LEFT, self.top - 6, y_label))
        return parts


def _line(plot: Plot, arrays: Arrays) -> Markup:
    given = arrays.pop("x", None)
    ys = {name: a.ravel() for name, a in arrays.items()}
    length = max(len(y) for y in ys.values())
    x = np.arange(length, dtype=np.float64) if given is None else given.ravel()
    if any(len(y) != len(x) for y in ys.values()):
        raise ValueError(f"plot {plot.get('title')!r}: its series differ in length")
    shown = _range(x, margin=0.0)
    panel = _Panel(shown, _range(*ys.values()), 20.0, 190.0)
    parts = panel.frame(str(plot.get("y_label") or "output"))
    for i, (name, y) in enumerate(ys.items()):
        trace = name if name in TRACES else TRACES[i % len(TRACES)]
        parts.append(path(_thin(panel, x, y), f"trace {trace}"))
    height = 236.0
    if "source" in ys and "mlx" in ys:
        difference = ys["mlx"] - ys["source"]
        below = _Panel(shown, _range(difference), 268.0, 84.0)
        parts += below.frame("difference, MLX − source")
        parts.append(path(_thin(below, x, difference), "trace difference"))
        height = 378.0
    if plot.get("x_label"):
        parts.append(text(WIDTH - RIGHT, height + 8, str(plot["x_label"]), anchor="end"))
        height += 14
    return svg(WIDTH, height, str(plot.get("title") or "line plot"), *parts)


def _thin(panel: _Panel, x: np.ndarray, y: np.ndarray) -> list[tuple[float, float] | None]:
    """Each bucket's least and greatest point, so that no spike is lost; NaN breaks the line."""
    keep = np.arange(len(x))
    if len(x) > 2 * MAX_BUCKETS:
        buckets = np.array_split(keep, MAX_BUCKETS)
        keep = np.unique(np.concatenate([_extremes(y, bucket) for bucket in buckets]))
    return [panel.at(x[i], y[i]) if np.isfinite(y[i]) else None for i in keep]


def _extremes(y: np.ndarray, bucket: np.ndarray) -> np.ndarray:
    part = y[bucket]
    finite = np.isfinite(part)
    kept = [] if finite.all() else [int(np.argmin(finite))]
    if finite.any():
        kept += [int(np.where(finite, part, np.inf).argmin())]
        kept += [int(np.where(finite, part, -np.inf).argmax())]
    return bucket[kept]


def _scatter(plot: Plot, arrays: Arrays) -> Markup:
    source, mlx = (a.ravel() for a in _pair(plot, arrays))
    good = np.flatnonzero(np.isfinite(source) & np.isfinite(mlx))
    chosen = good[:: max(1, -(-len(good) // MAX_POINTS))]
    if len(good):  # the worst one is always among them
        chosen = np.append(chosen, good[np.abs(mlx - source)[good].argmax()])
    both = _range(source, mlx)
    panel = _Panel(both, both, 20.0, 300.0)
    parts = panel.frame(str(plot.get("y_label") or "MLX"))
    parts.append(line(*panel.at(both[0], both[0]), *panel.at(both[1], both[1]), "diagonal"))
    for i in chosen:
        x, y = panel.at(source[i], mlx[i])
        parts.append(tag("circle", cx=x, cy=y, r=2.2, class_="point"))
    parts.append(text(WIDTH - RIGHT, 354.0, str(plot.get("x_label") or "source"), anchor="end"))
    return svg(WIDTH, 360.0, str(plot.get("title") or "scatter plot"), *parts)


def _hist(plot: Plot, arrays: Arrays) -> Markup:
    if "values" in arrays:
        values, label = arrays["values"].ravel(), "value"
    else:
        source, mlx = _pair(plot, arrays)
        values, label = (mlx - source).ravel(), "MLX − source"
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise ValueError(f"plot {plot.get('title')!r} has no finite value")
    bins = min(60, max(8, int(values.size**0.5)))
    counts, edges = np.histogram(values, bins=bins, range=_range(values))
    shown = float(edges[0]), float(edges[-1])
    panel = _Panel(shown, (0.0, float(counts.max()) * 1.06), 20.0, 190.0)
    parts = panel.frame(str(plot.get("y_label") or "count"))
    for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
        (x0, y0), (x1, y1) = panel.at(start, float(count)), panel.at(end, 0.0)
        parts.append(
            tag("rect", x=x0 + 0.5, y=y0, width=x1 - x0 - 1, height=y1 - y0, class_="bar mlx")
        )
    parts.append(text(WIDTH - RIGHT, 246.0, str(plot.get("x_label") or label), anchor="end"))
    return svg(WIDTH, 252.0, str(plot.get("title") or "histogram"), *parts)


def _image(plot: Plot, arrays: Arrays) -> Markup:
    source, mlx = _pair(plot, arrays)
    if source.ndim not in (2, 3) or (source.ndim == 3 and source.shape[2] != 3):
        raise ValueError(f"plot {plot.get('title')!r}: an image is [H, W] or [H, W, 3]")
    difference = np.abs(mlx - source)
    if difference.ndim == 3:
        difference = difference.max(axis=2)
    low, high = _range(source, mlx, margin=0.0)
    finite = difference[np.isfinite(difference)]
    worst = float(finite.max()) if finite.size else 0.0
    shots = [
        ("source", png.reduced(source, np.mean), low, high),
        ("MLX", png.reduced(mlx, np.mean), low, high),
        (f"|difference|, at most {short(worst)}", png.reduced(difference, np.max), 0.0, worst),
    ]
    figures = [
        tag(
            "figure",
            Markup('<img alt="{}" src="{}">').format(name, png.data_address(image, start, end)),
            tag("figcaption", name),
        )
        for name, image, start, end in shots
    ]
    return tag("div", *figures, class_="images")
