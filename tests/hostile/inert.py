"""Whether a package's files hold foreign names as data only."""

from __future__ import annotations

import ast
import json
from html.parser import HTMLParser
from pathlib import Path

#: What emitted code may name besides what it defines itself.
KNOWN = frozenset(
    "mx nn math Path self super sorted str list dict tuple bool int float range len min max "
    "enumerate zip abs sum isinstance round reversed print annotations __file__ object".split()
)
IMPORTS = {
    "from __future__ import annotations",
    "from pathlib import Path",
    "import math",
    "import mlx.core as mx",
    "import mlx.nn as nn",
}
DUNDERS = {"__init__", "__call__", "__file__"}


def assert_inert(folder: Path) -> None:
    """Every name in ``model.py`` is its own or known, and no page holds foreign markup."""
    text = (folder / "model.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    own = set(_defined(tree))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            assert ast.unparse(node) in IMPORTS, ast.unparse(node)
        elif isinstance(node, ast.Name):
            assert node.id in KNOWN | own, node.id
        for name in _identifiers(node):
            assert name.isascii(), name
            assert name.isidentifier(), name
            assert not name.startswith("__") or name in DUNDERS, name
    for page in ("report.html", "README.md"):
        assert_no_markup((folder / page).read_text(encoding="utf-8"), page)
    for file in ("config.json", "report.json"):
        json.loads((folder / file).read_text(encoding="utf-8"))


def _defined(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.append(node.name)
        elif isinstance(node, ast.arg):
            found.append(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.append(node.id)
    return found


def _identifiers(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return [node.name]
    if isinstance(node, (ast.arg, ast.keyword)):
        return [node.arg] if node.arg else []
    return []


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [name for name, _ in attrs]))


def assert_no_markup(text: str, page: str) -> None:
    """No tag, attribute or script that a name could have brought (see ``names.MARKUP``)."""
    parser = _Tags()
    parser.feed(text)
    tags = {tag for tag, _ in parser.found}
    assert not tags & {"img", "iframe", "p2m", "object", "embed", "base", "form"} - (
        {"img"} if page == "report.html" else set()
    ), tags
    attributes = {name for _, names in parser.found for name in names}
    assert not {a for a in attributes if a.startswith("on")}, attributes
    scripts = sum(tag == "script" for tag, _ in parser.found)
    assert scripts == (1 if page == "report.html" else 0), f"{page} has {scripts} scripts"
