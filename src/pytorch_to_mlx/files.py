"""Text files that are whole or not there, whatever the names in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 beside ``path`` and renames, so that a reader never meets half a file.

    Lone surrogates, which UTF-8 cannot hold, are written as escapes. Raises ``OSError``.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_bytes(text.encode("utf-8", "backslashreplace"))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def json_text(data: Mapping[str, Any], *, strict: bool = False) -> str:
    """Indented JSON that stays readable (no escapes but those of lone surrogates).

    ``strict`` refuses numbers that are not finite, with ``ValueError``.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=not strict)
    return _SURROGATE.sub(lambda m: f"\\u{ord(m[0]):04x}", text) + "\n"


def printable(text: str, limit: int = 80) -> str:
    """A foreign name in one line of text: what does not print (or turns text round) is escaped."""
    shown = "".join(c if c.isprintable() else _escape(c) for c in text)
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def markdown(text: str) -> str:
    """A foreign name in Markdown: no markup, no HTML, one line."""
    shown = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|])", r"\\\1", shown)


def code_span(text: str) -> str:
    """A foreign name as code in a Markdown table, whatever it holds."""
    shown = printable(text)
    if re.search("[`|<>&]", shown):
        return f"<code>{markdown(shown)}</code>"
    return f"`{shown}`"
