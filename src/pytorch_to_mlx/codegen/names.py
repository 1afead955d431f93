"""Identifiers: what a foreign name becomes so that it can never be anything but a name.

An ``mlx.nn.Module`` is a dict, so attributes called like its own or a dict's methods would break
it; names
that start with an underscore are left out of ``parameters()``. Both are renamed, and so is whatever
is no
plain ASCII identifier.
"""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterable

import mlx.nn as nn

_RESERVED = frozenset(dir(nn.Module)) | frozenset(dir(dict)) | {"training", "self"}
_GLOBALS = frozenset({"mx", "nn", "math", "load", "Path", "np"})
_TAKEN = frozenset(dir(builtins)) | _GLOBALS


def identifier(name: str, fallback: str = "x") -> str:
    """A valid ASCII identifier that reads like ``name``; no keyword, no dunder, no leading
    underscore.
    """
    plain = name.isascii() and name.isidentifier() and not name.startswith("_")
    if plain and not (keyword.iskeyword(name) or keyword.issoftkeyword(name)):
        return name
    text = unicodedata.normalize("NFKD", name)
    text = re.sub(r"[^0-9A-Za-z_]+", "_", text).strip("_")
    if not text:
        return fallback
    if text[0].isdigit():
        text = f"{fallback}_{text}"
    if keyword.iskeyword(text) or keyword.issoftkeyword(text):
        text += "_"
    return text


def attribute(name: str) -> str:
    """An attribute name for a child or parameter of an ``mlx.nn.Module``."""
    text = identifier(name, "m")
    return f"{text}_" if text in _RESERVED else text


def class_name(name: str, fallback: str = "Module") -> str:
    """A class name; those of ``nn`` layers are fine because emitted code says ``nn.Linear``."""
    text = identifier(name, fallback)
    if text in _TAKEN or not text[0].isalpha():
        text = f"{text}Module"
    return text[0].upper() + text[1:]


def argument(name: str) -> str:
    """A name for an argument or local variable."""
    text = identifier(name, "x")
    return f"{text}_" if text in _TAKEN and text != "input" else text


def unique(name: str, taken: Iterable[str]) -> str:
    """``name``, or the first of ``name_2``, ``name_3``, ... that is free."""
    used = set(taken)
    if name not in used:
        return name
    n = 2
    while f"{name}_{n}" in used:
        n += 1
    return f"{name}_{n}"
