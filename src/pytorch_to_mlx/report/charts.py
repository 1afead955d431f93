"""The page's charts of errors and speeds, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from .svg import line, path, superscript, svg, tag, text
from .words import ORIGINALS, finite, milliseconds, short

WIDTH = 920.0


def layer_chart(layers: Sequence[dict[str, Any]], tolerance: float | None) -> Markup:
    """Relative error of every module in execution order, on a log scale, under the tolerance.

    A layer whose error is NaN or infinite stands at the top in the colour of failure; one that is
    exactly equal stands on the floor.
    """
    height, left, right, top, bottom = 300.0, 58.0, 16.0, 16.0, 34.0
    known = [finite(layer.get("relative")) for layer in layers]
    positive = [v for v in known if v is not None and v > 0] + ([tolerance] if tolerance else [])
    low = math.floor(math.log10(min(positive, default=1e-8)) - 0.3) if positive else -8
    high = math.ceil(math.log10(max(positive, default=1.0)) + 0.2)
    low, high = min(low, high - 2), high
    span = height - top - bottom

    def y_of(value: float | None) -> float:
        if value is None:
            return top
        if value <= 0:
            return height - bottom
        return height - bottom - (math.log10(value) - low) / (high - low) * span

    step = (WIDTH - left - right) / max(len(layers), 1)
    xs = [left + (i + 0.5) * step for i in range(len(layers))]
    parts: list[Any] = []
    for exponent in range(low, high + 1, max(1, (high - low) // 6)):
        y = y_of(10.0**exponent)
        parts += [line(left, y, WIDTH - right, y, "grid")]
        parts += [text(left - 8, y + 4, superscript(exponent), anchor="end")]
    if tolerance:
        y = y_of(tolerance)
        parts += [
            tag("rect", x=left, y=top, width=WIDTH - left - right, height=y - top, class_="beyond")
        ]
        parts += [line(left, y, WIDTH - right, y, "limit")]
        label = f"tolerance {short(tolerance)}"
        parts += [text(WIDTH - right - 4, y - 6, label, "limit-label", "end")]
    if len(layers) <= 200:
        parts += [
            line(x, height - bottom, x, y_of(v), "stem") for x, v in zip(xs, known, strict=True)
        ]
    parts.append(path(zip(xs, map(y_of, known), strict=True), "trace"))
    radius = max(1.6, min(5.0, step * 0.3))
    for x, value, layer in zip(xs, known, layers, strict=True):
        bad = value is None or bool(tolerance and value > tolerance)
        shown = f"{layer.get('relative')}" if value is None else f"{value:.3g}"
        title = f"{layer['path'] or '(model)'} · {layer.get('class') or ''} · relative {shown}"
        parts.append(
            tag(
                "circle",
                tag("title", title),
                cx=x,
                cy=y_of(value),
                r=radius,
                class_="dot bad" if bad else "dot",
            )
        )
    parts.append(line(left, height - bottom, WIDTH - right, height - bottom, "axis"))
    parts += [
        text(left, height - 10, "first layer"),
        text(WIDTH - right, height - 10, "last layer", anchor="end"),
    ]
    return svg(WIDTH, height, f"Relative error of {len(layers)} modules along depth", *parts)


def headroom(worst: float, tolerance: float) -> Markup:
    """Where the worst error lies between float32's own rounding and the tolerance, log scale."""
    width, height, y = 460.0, 64.0, 26.0
    low = math.floor(math.log10(min(max(worst, 1e-9), tolerance, 1e-7)))
    high = math.ceil(math.log10(max(min(worst, 1e6), tolerance)) + 0.5)

    def x_of(value: float) -> float:
        share = (math.log10(max(value, 10.0**low)) - low) / (high - low)
        return 10 + min(max(share, 0.0), 1.0) * (width - 20)

    limit, at = x_of(tolerance), x_of(worst)
    parts = [
        tag("rect", x=10.0, y=y, width=limit - 10, height=8.0, rx=4.0, class_="allowed"),
        tag("rect", x=limit, y=y, width=width - 10 - limit, height=8.0, rx=4.0, class_="refused"),
        line(limit, y - 7, limit, y + 15, "limit"),
        tag("circle", cx=at, cy=y + 4, r=8.0, class_="dot big" + (" bad" if at > limit else "")),
        text(at, y - 10, f"worst {short(worst)}", "label", _anchor(at, width)),
        text(limit, y + 30, f"allowed {short(tolerance)}", "tick", _anchor(limit, width)),
    ]
    return svg(width, height, f"Worst error {short(worst)}, tolerance {short(tolerance)}", *parts)


def speed_bars(rows: Sequence[dict[str, Any]]) -> Markup:
    """Median times of one size as bars (HTML, so that they fit a phone), with lines to p95.

    Every label but the original's own says how many times faster than the original it is.
    """
    times = [(row["name"], float(row["median_ms"]), finite(row.get("p95_ms"))) for row in rows]
    longest = max(max(median, p95 or 0.0) for _, median, p95 in times)
    base = next(((name, median) for name, median, _ in times if name in ORIGINALS), None)
    parts: list[Markup] = []
    for name, median, p95 in times:
        side = "mlx" if name.startswith("mlx") else "source"
        width = 100 * median / longest
        bar = [tag("i", class_=f"bar {side}", style=f"width:{width:.2f}%")]
        if p95 is not None and p95 > median:
            beyond = 100 * (p95 - median) / longest
            place = f"left:{width:.2f}%;width:{beyond:.2f}%"
            bar.append(tag("i", class_="p95", style=place, title=f"p95 {milliseconds(p95)}"))
        ratio = ""
        if base is not None and name != base[0]:
            ratio = f"{base[1] / median:.2f}× {base[0]}"
        parts += [
            tag("span", name, class_="side"),
            tag("span", tag("b", milliseconds(median)), " ", ratio, class_="figure"),
            tag("span", *bar, class_="track"),
        ]
    return tag("div", *parts, class_="bars")


def _anchor(x: float, width: float) -> str:
    return "start" if x < width * 0.2 else "end" if x > width * 0.8 else "middle"
