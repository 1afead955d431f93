"""Copies what a model needs of ``ops`` into its file: functions and layers, and what they call."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from pytorch_to_mlx.ops import registry


@dataclass(frozen=True)
class Entry:
    """A function, class or constant of the library: its source and the other entries it names."""

    name: str
    source: str
    needs: tuple[str, ...]
    order: tuple[str, int]


@cache
def _module_entries(module: ModuleType) -> dict[str, Entry]:
    source = inspect.getsource(module)
    tree = ast.parse(source)
    lines = source.splitlines()
    entries: dict[str, Entry] = {}
    for node in tree.body:
        names: list[str] = []
        first = node.lineno
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = [node.name]
            first = min([d.lineno for d in node.decorator_list], default=first)
        elif isinstance(node, ast.Assign):
            names = [t.id for t in node.targets if isinstance(t, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        text = "\n".join(lines[first - 1 : node.end_lineno])
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        for name in names:
            entries[name] = Entry(
                name, text, tuple(sorted(used - {name})), (module.__name__, node.lineno)
            )
    return entries


def _all_entries() -> dict[str, Entry]:
    """The library's entries, and those that were added to it (by ``--ops``, say)."""
    added = {name: Entry(name, a.source, a.needs, a.order) for name, a in registry.added().items()}
    return library_entries() | added


@cache
def library_entries() -> dict[str, Entry]:
    """Every function, class and constant of the modules of ``ops``, by name."""
    found: dict[str, Entry] = {}
    for fn in registry.library().values():
        module = inspect.getmodule(fn)
        if module is not None:
            found.update(_module_entries(module))
    return found


def library_classes() -> set[str]:
    """Names of the layers of ``ops``, which no class of a model may take."""
    return {name for name, thing in registry.library().items() if isinstance(thing, type)}


def library_source(names: Iterable[str]) -> tuple[list[str], set[str]]:
    """Sources of the named functions and of all they need (in file order), and the names they take
    up.

    Raises:
        KeyError: a function is not in the library.
    """
    entries = _all_entries()
    wanted: dict[str, Entry] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in wanted:
            continue
        wanted[name] = entries[name]
        todo.extend(n for n in wanted[name].needs if n in entries)
    ordered = sorted(wanted.values(), key=lambda e: e.order)
    return list(dict.fromkeys(e.source for e in ordered)), set(wanted)
