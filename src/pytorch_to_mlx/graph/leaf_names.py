"""Dotted names of the leaves of nested inputs and outputs."""

from __future__ import annotations

from typing import Any


def key_text(key: Any) -> str:
    """A key as part of a dotted name: valid UTF-8, never empty, and no two keys alike.

    Dots, backslashes and lone surrogates are escaped, the empty key is written ``\\e``.
    """
    text = str(key).replace("\\", "\\\\").replace(".", "\\.")
    return text.encode("utf-8", "backslashreplace").decode("utf-8") or "\\e"


def join(name: str, key: Any) -> str:
    """The dotted name of what ``key`` reaches from ``name``."""
    return f"{name}.{key_text(key)}" if name else key_text(key)
