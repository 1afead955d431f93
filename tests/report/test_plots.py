"""Plots and charts: thinned without losing what matters, and honest about non-finite values."""

from __future__ import annotations

import base64
import re
import zlib
from typing import Any

import numpy as np
import pytest

from pytorch_to_mlx.report import charts, plots, png
from pytorch_to_mlx.report.words import byte_size, count, milliseconds, number, short


def line_plot(source: Any, mlx: Any, **more: Any) -> str:
    return plots.draw(
        {"title": "t", "kind": "line", "series": {"source": source, "mlx": mlx}, **more}
    )


def test_a_spike_among_a_million_points_is_drawn() -> None:
    source = np.zeros(1_000_000)
    mlx = source.copy()
    mlx[654_321] = 1.0
    html = line_plot(source, mlx)
    assert len(html) < 100_000
    (trace,) = re.findall(r'<path d="([^"]*)" class="trace mlx"', html)
    heights = [float(y) for _, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", trace)]
    assert min(heights) < max(heights) - 100


def test_nan_breaks_a_line() -> None:
    values = np.array([0.0, 1.0, np.nan, 1.0, 0.0])
    (trace,) = re.findall(r'<path d="([^"]*)" class="trace mlx"', line_plot(values * 0, values))
    assert trace.count("M") == 2
    long = np.zeros(10_000)
    long[5_000] = np.nan
    (trace,) = re.findall(r'<path d="([^"]*)" class="trace mlx"', line_plot(long * 0, long))
    assert trace.count("M") == 2


def test_constant_and_wholly_nan_outputs_can_be_drawn() -> None:
    line_plot(np.ones(4), np.ones(4))
    line_plot([np.nan] * 3, [np.nan] * 3)
    line_plot([1.0], [1.0])


def test_a_scatter_keeps_the_worst_point() -> None:
    source = np.zeros(100_000)
    mlx = source.copy()
    mlx[77_777] = 5.0
    html = plots.draw({"kind": "scatter", "series": {"source": source, "mlx": mlx}})
    heights = set(re.findall(r'cy="([\d.]+)"', html))
    assert len(heights) == 2
    assert html.count("<circle") <= plots.MAX_POINTS + 1


def test_an_image_keeps_the_worst_difference() -> None:
    source = np.zeros((1000, 30))
    mlx = source.copy()
    mlx[501, 7] = 2.0
    html = plots.draw({"kind": "image", "series": {"source": source, "mlx": mlx}})
    assert "at most 2" in html
    assert html.count("<img") == 3
    assert png.reduced(np.abs(mlx - source), np.max).max() == 2.0


def test_png_pixels() -> None:
    image = np.array([[0.0, 1.0], [np.nan, 0.5]])
    address = png.data_address(image, 0.0, 1.0)
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    assert data[16:24] == (2).to_bytes(4, "big") * 2
    start = data.index(b"IDAT") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big")
    rows = zlib.decompress(data[start : start + length])
    assert rows[1:7] == bytes((68, 1, 84, 253, 231, 37))
    assert rows[8:11] == bytes(png.NOT_FINITE)


@pytest.mark.parametrize(
    ("plot", "why"),
    [
        ({"kind": "pie", "series": {"source": [1]}}, "unknown kind"),
        ({"kind": "line", "series": {}}, "no data"),
        ({"kind": "line", "series": {"source": [1, 2], "mlx": [1]}}, "differ in length"),
        ({"kind": "scatter", "series": {"source": [1]}}, "needs the series"),
        ({"kind": "image", "series": {"source": [1], "mlx": [1]}}, "an image is"),
        ({"kind": "hist", "series": {"values": [float("nan")]}}, "no finite value"),
        ({"kind": "line", "series": {"source": ["a"]}}, "cannot show"),
    ],
)
def test_what_cannot_be_drawn_is_refused(plot: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        plots.draw(plot)


def test_layers_are_placed_by_the_log_of_their_error() -> None:
    layers: list[dict[str, Any]] = [
        {"path": "a", "class": "A", "relative": 1e-7},
        {"path": "b", "class": "B", "relative": 1e-6},
        {"path": "c", "class": "C", "relative": 1e-5},
        {"path": "d", "class": "D", "relative": "nan"},
        {"path": "e", "class": "E", "relative": 0.0},
    ]
    html = charts.layer_chart(layers, 2e-6)
    a, b, c, nan, zero = (float(y) for y in re.findall(r'cy="([\d.]+)"', html))
    assert a - b == pytest.approx(b - c, abs=0.05)
    assert nan < c < b < a < zero
    assert html.count('class="dot bad"') == 2


@pytest.mark.parametrize("relative", [[], [0.0], ["inf"], [1e-12] * 3, [5.0]])
def test_layer_charts_of_any_range(relative: list[Any]) -> None:
    layers = [{"path": str(i), "class": None, "relative": r} for i, r in enumerate(relative)]
    for tolerance in (None, 1e-4):
        assert "nan" not in re.sub(r"<title>.*?</title>", "", charts.layer_chart(layers, tolerance))


@pytest.mark.parametrize(("worst", "bad"), [(0.0, False), (1e-6, False), (3.0, True), (1e9, True)])
def test_headroom_marks_what_is_beyond(worst: float, bad: bool) -> None:
    assert ("dot big bad" in charts.headroom(worst, 1e-4)) == bad


def test_numbers_as_a_person_writes_them() -> None:
    assert [short(x) for x in (0, 0.25, 1500, 3.14e-7, 1e-4, 2e9)] == [
        "0", "0.25", "1,500", "3.1e-7", "1e-4", "2e9",
    ]  # fmt: skip
    assert [count(x) for x in (0, 999, 9999, 10_000, 1_234_567, 7 * 10**9)] == [
        "0", "999", "9,999", "10 k", "1.23 M", "7 B",
    ]  # fmt: skip
    assert [byte_size(x) for x in (None, 0, 1023, 1024, 3 * 2**30)] == [
        "–", "0 B", "1023 B", "1 KiB", "3 GiB",
    ]  # fmt: skip
    assert [milliseconds(x) for x in (0.0123, 35.14, 1240.0)] == ["12.3 µs", "35.1 ms", "1.24 s"]
    assert [number(x) for x in (None, "nan", 2e-6)] == ["–", "nan", "2e-6"]
