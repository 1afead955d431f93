"""Numbers as a person writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

#: Rows of a benchmark that are the original as it is, which the others are compared with.
ORIGINALS = ("torch eager", "onnxruntime")


def finite(value: Any) -> float | None:
    """A report's number as a float, or ``None`` if it is absent or not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def short(value: float) -> str:
    """A number in few characters: 0.25, 1,500, 3.1e-7."""
    if value == 0:
        return "0"
    if 1e3 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    if 1e-3 <= abs(value) < 1e3:
        return f"{value:.4g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def milliseconds(value: float) -> str:
    """A duration as a person writes it: 1.24 s, 35.1 ms, 820 µs."""
    if value >= 1000:
        return f"{value / 1000:.3g} s"
    return f"{value:.3g} ms" if value >= 1 else f"{value * 1000:.3g} µs"


def count(value: int) -> str:
    """1234567 as 1.23 M."""
    for limit, unit in ((10**9, "B"), (10**6, "M"), (10**4, "k")):
        if value >= limit:
            return f"{value / (limit if unit != 'k' else 1000):.3g} {unit}"
    return f"{value:,}"


def byte_size(value: int | None) -> str:
    """Bytes in binary units, an absent figure as a dash."""
    if value is None:
        return "–"
    size = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}" if size < 999.5 else f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"


def number(value: Any) -> str:
    """A measured number, an absent one as a dash; ``nan`` and ``inf`` as they are spelled."""
    if value is None:
        return "–"
    return short(value) if finite(value) is not None else str(value)


def seconds(value: Any) -> str:
    """A duration in seconds as a person writes it."""
    known = finite(value)
    return number(value) if known is None else milliseconds(known * 1000)


def said(value: Any) -> str:
    """A value of an open section in one line of text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {said(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(said(item) for item in value)
    return value if isinstance(value, str) else number(value)


def grouped_refusals(refusals: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Refusals for one reason at places that differ in numbers only (layers) as one row: the first
    place, and how many there are.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for refusal in refusals:
        where, reason = str(refusal.get("where", "")), str(refusal.get("reason", ""))
        key = (re.sub(r"\d+", "#", where), reason)
        row = found.setdefault(key, {"where": where, "reason": reason, "places": 0})
        row["places"] += 1
    return list(found.values())
