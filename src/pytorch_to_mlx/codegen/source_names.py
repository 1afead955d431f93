"""Names that the source gives to values: the variable that the statement at a source line
assigns.
"""

from __future__ import annotations

import ast
import linecache
from functools import lru_cache
from pathlib import Path

Statement = tuple[int, int, tuple[str, ...]]


@lru_cache(maxsize=256)
def _index(file: str) -> tuple[list[Statement], list[tuple[int, int, str]]]:
    """Simple assignments as (first line, last line, names) and classes as (first, last, name)."""
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return [], []
    statements: list[Statement] = []
    classes: list[tuple[int, int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            classes.append((node.lineno, node.end_lineno or node.lineno, node.name))
        names = _targets(node)
        if names:
            statements.append((node.lineno, node.end_lineno or node.lineno, names))  # type: ignore[attr-defined]
    return statements, classes


def _targets(node: ast.AST) -> tuple[str, ...]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        if isinstance(target, ast.Name):
            return (target.id,)
        if isinstance(target, ast.Tuple) and all(isinstance(e, ast.Name) for e in target.elts):
            return tuple(e.id for e in target.elts if isinstance(e, ast.Name))
    if isinstance(node, (ast.AugAssign, ast.AnnAssign)) and isinstance(node.target, ast.Name):
        return (node.target.id,)
    return ()


@lru_cache(maxsize=65536)
def assigned_names(file: str, line: int) -> tuple[str, ...]:
    """The names that the innermost assignment covering a line binds; none when it is no
    assignment.
    """
    best: Statement | None = None
    for first, last, names in _index(file)[0]:
        if first <= line <= last and (best is None or last - first <= best[1] - best[0]):
            best = (first, last, names)
    return best[2] if best else _of_line(file, line)


def _of_line(file: str, line: int) -> tuple[str, ...]:
    """The same for a file of which only some lines are known (an archive quotes them)."""
    if Path(file).exists():
        return ()
    try:
        (statement,) = ast.parse(linecache.getline(file, line).strip()).body
    except (SyntaxError, ValueError):
        return ()
    return _targets(statement)


@lru_cache(maxsize=65536)
def loop_targets(file: str, line: int) -> tuple[tuple[str, ...], ...]:
    """The tuples of variables of the ``for`` loops around a line, the innermost loop first."""
    around = [(last - first, names) for first, last, names in _loops(file) if first <= line <= last]
    return tuple(names for _, names in sorted(around))


@lru_cache(maxsize=256)
def _loops(file: str) -> list[Statement]:
    """The tuples of names among the targets of loops, with the loops' first and last lines."""
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return []
    return [
        (node.lineno, node.end_lineno or node.lineno, names)
        for node in ast.walk(tree)
        if isinstance(node, ast.For)
        for target in ast.walk(node.target)
        if isinstance(target, ast.Tuple)
        and (names := tuple(e.id if isinstance(e, ast.Name) else "_" for e in target.elts))
    ]


@lru_cache(maxsize=65536)
def enclosing_class(file: str, line: int) -> str:
    """The innermost class whose body covers a line."""
    best = ("", 1 << 30)
    for first, last, name in _index(file)[1]:
        if first <= line <= last and last - first < best[1]:
            best = (name, last - first)
    return best[0]


def class_line(file: str, name: str) -> int:
    """The line where a class is defined in a file, or 0."""
    return next((first for first, _, n in _index(file)[1] if n == name), 0)
