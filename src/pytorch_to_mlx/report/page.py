"""The report's page: one HTML file with its styles, script and drawings inside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from . import charts, plots, verdict
from .words import byte_size, count, finite, grouped_refusals, milliseconds, number, said, seconds

HERE = Path(__file__).parent


def render_page(data: Mapping[str, Any], plot_list: Sequence[Mapping[str, Any]] = ()) -> str:
    """The page of a report whose values are plain JSON. Names in it are foreign: all is escaped.

    Raises ValueError for a plot that cannot be drawn.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "count": count,
        "bytes": byte_size,
        "num": number,
        "ms": milliseconds,
        "seconds": seconds,
        "said": said,
        "grouped": grouped_refusals,
    }
    environment.filters |= filters
    script = (HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    validation = data.get("validation")
    return environment.get_template("page.html.j2").render(
        report=data,
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=digest,
        verdict=verdict.headline(data),
        tiles=verdict.tiles(data),
        headroom=_headroom(validation),
        layers=_layers(validation),
        cases=verdict.case_rows(validation),
        left_out=verdict.left_out(validation),
        drawings=[(plot, plots.draw(plot)) for plot in plot_list],
        sensitivity=_sensitivity(data.get("quantization")),
        speeds=_speeds(data.get("benchmark")),
        total=((data.get("model") or {}).get("tree") or {}).get("parameters") or 0,
    )


def _headroom(validation: Mapping[str, Any] | None) -> Markup | None:
    worst = verdict.worst_of_scale(validation)
    tolerance = finite((validation or {}).get("tolerance"))
    if worst is None or not tolerance:
        return None
    return charts.headroom(worst, tolerance)


def _layers(validation: Mapping[str, Any] | None) -> Markup | None:
    layers = (validation or {}).get("layers")
    if not layers:
        return None
    return charts.layer_chart(layers, finite((validation or {}).get("tolerance")))


def _sensitivity(quantization: Mapping[str, Any] | None) -> Markup | None:
    """The error that each layer alone makes at the fewer bits."""
    rows = ((quantization or {}).get("sensitivity") or {}).get("layers")
    if not rows:
        return None
    shown = [
        {"path": r["path"], "class": f"{r['bits']} bits", "relative": r["error_4"]} for r in rows
    ]
    return charts.layer_chart(shown, None)


def _speeds(benchmark: Mapping[str, Any] | None) -> list[tuple[str, Markup]]:
    """The bars of every size: (what was timed, drawing)."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in (benchmark or {}).get("rows") or []:
        shapes = ", ".join(f"{k} {'×'.join(map(str, v))}" for k, v in row["sizes"].items())
        label = f"batch {row['batch']} — {shapes}" if row.get("batch") else shapes
        groups.setdefault(label, []).append(row)
    return [(label, charts.speed_bars(rows)) for label, rows in groups.items()]
