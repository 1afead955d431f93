"""The report's schema with every object closed: a field that it does not name is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytorch_to_mlx as p2m


def closed_schema() -> dict[str, Any]:
    path = Path(p2m.__file__).parent / "report" / "schema.json"
    return dict(_closed(json.loads(path.read_text(encoding="utf-8"))))


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    out = {k: _closed(v) for k, v in schema.items()}
    if isinstance(out.get("properties"), dict) and out.get("type") == "object":
        out["additionalProperties"] = False
    return out
