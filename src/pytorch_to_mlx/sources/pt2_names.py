"""Names in an exported program that torch would write into source: they must be names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

# Values of the graph: variables of the source that torch writes.
_VARIABLE = re.compile(r"[\w.]*")
# Weights, modules and keyword arguments: text in quotes there.
_QUOTED = re.compile(r"[^\"'\\\x00-\x1f\x7f\u2028\u2029]*")

_VARIABLES = {"name", "as_name", "user_input_name", "forward_arg_names"}
_TABLES = {"tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values"}
_PATHS = {"parameter_name", "buffer_name", "tensor_constant_name", "fqn", "user_input_target"}
# Never written as source: what the user's code was, and values that torch quotes itself.
_PROSE = {"metadata", "guards_code", "out_spec", "as_string", "as_strings", "expr_str", "target"}


def unsafe_names(value: Any, field: str = "") -> Iterator[str]:
    """Why the names of a program (its JSON) could become code when torch loads and runs it."""
    if isinstance(value, dict):
        for key, item in value.items():
            if field in _TABLES and not _VARIABLE.fullmatch(key):
                yield _said("a value", key)
            if key not in _PROSE:
                yield from unsafe_names(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from unsafe_names(item, field)
    elif isinstance(value, str):
        if field in _VARIABLES and not _VARIABLE.fullmatch(value):
            yield _said("a value", value)
        elif field in _PATHS and not _QUOTED.fullmatch(value):
            yield _said("a weight or module", value)
        elif field == "in_spec":
            yield from (_said("an argument", key) for key in _keys(_decoded(value)))


def _keys(spec: Any) -> Iterator[str]:
    """Keys of nested inputs that would end the quotes they are put into.

    A spec holds its keys as JSON within the JSON.
    """
    if isinstance(spec, dict):
        context = spec.get("context")
        if isinstance(context, str):
            yield from _keys(_decoded(context))
        yield from _keys(spec.get("children_spec"))
    elif isinstance(spec, list):
        for item in spec:
            yield from _keys(item)
    elif isinstance(spec, str) and not _QUOTED.fullmatch(spec):
        yield spec


def _decoded(text: str) -> Any:
    """JSON, or the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _said(what: str, name: str) -> str:
    return f"{what} is called {name[:60]!a}, which is no name"
