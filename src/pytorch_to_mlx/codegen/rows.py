"""Loops over lists whose elements are lists of one length: ``for attn, ff in self.layers``."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence

from pytorch_to_mlx.codegen.names import unique
from pytorch_to_mlx.codegen.runs import index_of, replace_in

Rows = Sequence[Sequence[str] | None]  # of a list, the paths in each element that is a list itself
Namer = Callable[[Sequence[Sequence[str]]], list[str] | None]

UNPACKED = 6  # variables of a loop at most


def unpack_rows(body: list[ast.stmt], lists: dict[str, Rows], names_of: Namer) -> None:
    """``layer[0]`` in a loop over equally long rows becomes a variable of its own (in place).

    ``lists`` are by their text (``self.layers``); ``names_of`` gives the variables of some rows.
    A loop that does not use all elements of its rows, or a row as a whole, stays as it is.
    """
    taken = {n.id for s in body for n in ast.walk(s) if isinstance(n, ast.Name)}
    for node in [n for s in body for n in ast.walk(s)]:
        if isinstance(node, ast.For):
            node.target = _unpacked(node.target, node.iter, node.body, lists, names_of, taken)
        elif isinstance(node, ast.ListComp):
            for part in node.generators:
                inner = [node.elt]
                part.target = _unpacked(part.target, part.iter, inner, lists, names_of, taken)


def _unpacked(
    target: ast.expr,
    source: ast.expr,
    inside: Sequence[ast.AST],
    lists: dict[str, Rows],
    names_of: Namer,
    taken: set[str],
) -> ast.expr:
    """A loop's target with tuples in place of rows; what is ``inside`` reads them."""
    if isinstance(target, ast.Tuple):
        if not isinstance(source, ast.Call) or ast.unparse(source.func) != "zip":
            return target
        pairs = zip(target.elts, source.args, strict=True)
        parts = [_unpacked(t, s, inside, lists, names_of, taken) for t, s in pairs]
        return ast.Tuple(parts, ast.Store())
    rows = _rows(source, lists)
    if not isinstance(target, ast.Name) or not rows or not 1 < len(rows[0]) <= UNPACKED:
        return target
    items = _items(target.id, inside)
    if items is None or {index_of(i) for i in items} != set(range(len(rows[0]))):
        return target
    wanted = names_of(rows)
    if wanted is None:
        return target
    names: list[str] = []
    for name in wanted:
        names.append(unique(name, {*taken, *names} - {target.id}))
    _replace(items, names, inside)
    return ast.Tuple([ast.Name(n, ast.Store()) for n in names], ast.Store())


def _rows(source: ast.expr, lists: dict[str, Rows]) -> list[Sequence[str]]:
    """The rows that a loop goes over; none if they are not all of one length."""
    part = slice(None)
    if isinstance(source, ast.Subscript) and isinstance(source.slice, ast.Slice):
        ends = (source.slice.lower, source.slice.upper)
        part = slice(*(e.value if isinstance(e, ast.Constant) else None for e in ends))
        source = source.value
    rows = lists.get(ast.unparse(source), ())[part]
    known = [r for r in rows if r is not None]
    return known if len(known) == len(rows) and len({len(r) for r in known}) == 1 else []


def _items(name: str, inside: Sequence[ast.AST]) -> list[ast.Subscript] | None:
    """All reads ``name[0]``, or none if the variable is read in another way."""
    nodes = [n for s in inside for n in ast.walk(s)]
    found = [
        n
        for n in nodes
        if isinstance(n, ast.Subscript)
        and isinstance(n.value, ast.Name)
        and n.value.id == name
        and isinstance(n.slice, ast.Constant)
    ]
    reads = [n for n in nodes if isinstance(n, ast.Name) and n.id == name]
    return found if len(found) == len(reads) else None


def _replace(items: list[ast.Subscript], names: list[str], inside: Sequence[ast.AST]) -> None:
    for parent in [n for s in inside for n in ast.walk(s)]:
        for item in items:
            replace_in(parent, item, ast.Name(names[index_of(item)], ast.Load()))


def variable_of(cls: str) -> str:
    """``feed_forward`` for a class ``FeedForward``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls)
    return words.lower().strip("_")
